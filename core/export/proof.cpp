// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/proof.h"

#include "core/formats/proof_container.h"
#include "core/quant/decode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = 1 << 16;

// As the proof container says it.
std::string typeOf(const RawTensor& array) {
  if (array.block) return "ggml " + std::to_string(static_cast<unsigned>(*array.block));
  return std::string(info(array.type).name);
}

Status sameBytes(const proof::Container& file, const RawTensor& array) {
  const auto written = file.read(array.name);
  if (!written) return fail(written.error());
  if (file.isGguf() && written->type != typeOf(array)) return fail(array.name + ": the type read back differs from that written");
  const std::span<const std::byte> wanted = array.bytes();
  const bool same = written->shape == array.shape && written->bytes.size() == wanted.size() &&
                    (wanted.empty() || std::memcmp(written->bytes.data(), wanted.data(), wanted.size()) == 0);
  if (!same) return fail(array.name + ": the bytes read back differ from those written");
  return {};
}

double difference(float shown, float decoded) {
  if (shown == decoded) return 0;
  const double gap = std::fabs(static_cast<double>(shown) - static_cast<double>(decoded));
  return std::isnan(gap) ? std::numeric_limits<double>::infinity() : gap;
}

}  // namespace

Result<double> proveLayer(const Format& format, const std::filesystem::path& file, const ExportLayer& layer,
                          const std::vector<RawTensor>& arrays, const Context& context) {
  const auto container = proof::Container::open(file);
  if (!container) return fail(container.error());
  for (const RawTensor& array : arrays)
    if (auto same = sameBytes(*container, array); !same) return fail(same.error().within(layer.name));
  if (context.stopRequested()) return cancelled();
  const auto decoded = format.proofDecodeAs(file, layer.name, layer.tensor->shape);
  if (!decoded) return fail(decoded.error().within(layer.name));
  const QuantizedTensor& tensor = *layer.tensor;
  // A format may fill up the outputs: what comes after the last one must be 0.
  const bool filled =
      decoded->size() > tensor.weightCount() && decoded->size() % std::max<std::uint64_t>(tensor.columns, 1) == 0;
  if (decoded->size() != tensor.weightCount() && !filled)
    return fail(layer.name + ": the proof decoder finds another number of weights");
  double largest = 0;
  for (std::uint64_t i = tensor.weightCount(); i < decoded->size(); ++i)
    largest = std::max(largest, difference(0, (*decoded)[i]));
  const std::uint64_t columns = std::max<std::uint64_t>(tensor.columns, 1);
  const std::uint64_t step = std::max<std::uint64_t>(stripWeights / columns, 1) * columns;
  std::vector<float> shown(std::min(step, tensor.weightCount()));
  for (std::uint64_t begin = 0; begin < tensor.weightCount(); begin += step) {
    if (context.stopRequested()) return cancelled();
    const std::span<float> strip(shown.data(), std::min(step, tensor.weightCount() - begin));
    decode(tensor, begin, strip);
    for (std::uint64_t i = 0; i < strip.size(); ++i) largest = std::max(largest, difference(strip[i], (*decoded)[begin + i]));
  }
  return largest;
}

Status proveCopies(const std::filesystem::path& file, const std::vector<RawTensor>& copies, std::size_t arrayCount,
                   const Context& context) {
  const auto container = proof::Container::open(file);
  if (!container) return fail(container.error());
  if (container->names().size() != arrayCount)
    return fail(file.filename().string() + ": another number of arrays than was written");
  for (const RawTensor& copy : copies) {
    if (context.stopRequested()) return cancelled();
    if (auto same = sameBytes(*container, copy); !same) return fail(same.error());
  }
  return {};
}

}  // namespace nibble
