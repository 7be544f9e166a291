// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/quantized.h"

#include "core/run/run.h"

#include <QtGlobal>

namespace nibble::test {

QuantizedTensor quantized(const Tensor& tensor, const std::string& choice) {
  const auto parsed = Choice::parse(choice);
  if (!parsed) qFatal("%s", parsed.error().message.c_str());
  const auto outcome = run(tensor, *parsed, Context{}, {.percentile = false});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *outcome->quantized;
}

}  // namespace nibble::test
