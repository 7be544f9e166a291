// SPDX-License-Identifier: GPL-3.0-or-later
// What the Explore page and the scheme dock show, computed off the GUI thread: facts of one tensor, and what one choice makes of it.
// Above `sampleAbove` weights a first answer comes from every 16th block of rows; it is always marked as sampled.
#pragma once
#include "core/quant/layout.h"
#include "core/report/statistics.h"
#include "core/report/step_error.h"
#include "core/run/run.h"
#include "ui/session/matrix_source.h"
#include "ui/session/session_state.h"

#include <memory>
#include <string>

namespace nibble {

// Facts of the weights themselves. Weights that are not finite are left out.
struct TensorFacts {
  Tensor tensor;
  TensorStatistics statistics;
  std::vector<RowSpread> rows;
  Histogram weights;
  Cell largest;              // place of the largest |w|, the first of equals
};

struct Exploration {
  std::shared_ptr<const TensorFacts> facts;   // null: the tensor could not be read
  std::optional<Choice> choice;
  std::shared_ptr<const QuantizedTensor> quantized;  // null in a sampled answer and where there is a problem
  ErrorReport report;
  StepErrors steps;
  StorageSize size;
  double bitsPerWeight = 0;
  double seconds = 0;
  unsigned sampledEvery = 1;  // 1: exact
  std::string problem;        // why there is no answer: a refused choice, a weight that is not finite

  [[nodiscard]] bool ok() const { return problem.empty() && facts != nullptr; }
  [[nodiscard]] bool exact() const { return sampledEvery == 1; }
};

inline constexpr std::uint64_t sampleAbove = std::uint64_t{1} << 22;
inline constexpr unsigned sampleEvery = 16;

Result<std::shared_ptr<const TensorFacts>> readFacts(const OpenedFile& file, const std::string& tensor, const Context& context);
// `every` > 1: of a sample of the rows. Errors other than cancellation become `problem`.
Result<std::shared_ptr<const Exploration>> explore(std::shared_ptr<const TensorFacts> facts, const Choice& choice, unsigned every,
                                                   const Context& context);

}  // namespace nibble
