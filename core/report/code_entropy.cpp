// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/code_entropy.h"

#include "core/quant/decode.h"
#include "kernels/backend.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <span>

namespace nibble {
namespace {

constexpr std::size_t mostShownCodes = 4096;

// Sum over symbols of count * -log2(share): bits for the whole source.
double sourceBits(std::span<const std::uint64_t> counts) {
  double total = 0, bits = 0;
  for (const std::uint64_t count : counts) total += static_cast<double>(count);
  for (const std::uint64_t count : counts)
    if (count != 0) bits -= static_cast<double>(count) * std::log2(static_cast<double>(count) / total);
  return std::max(0.0, bits);
}

// Runs of equal codes: signed ones have no natural table.
std::vector<std::uint64_t> countSigned(std::vector<std::int32_t> codes) {
  std::vector<std::uint64_t> counts;
  std::sort(codes.begin(), codes.end());
  for (std::size_t i = 0; i < codes.size(); ++i)
    i == 0 || codes[i] != codes[i - 1] ? counts.push_back(1) : static_cast<void>(++counts.back());
  return counts;
}

template <class Code>
double bitsByWidth(const QuantizedTensor& tensor, const std::vector<Code>& codes) {
  std::map<int, std::vector<std::uint64_t>> sources;  // by width
  const std::uint64_t dimension = tensor.levels.dimension;
  for (std::size_t i = 0; i < codes.size();) {
    const std::uint64_t place = i * dimension;
    auto& counts = sources[tensor.width.at(place)];
    counts.resize(std::size_t{1} << (8 * sizeof(Code)));
    const std::uint64_t run = std::max<std::uint64_t>(1, tensor.width.grouping->runLength(place) / dimension);
    for (const std::size_t end = std::min<std::size_t>(codes.size(), i + run); i < end; ++i) ++counts[codes[i]];
  }
  double bits = 0;
  for (const auto& [width, counts] : sources) bits += sourceBits(counts);
  return bits;
}

double signBits(const QuantizedTensor& tensor) {
  if (tensor.signs.empty()) return 0;
  std::uint64_t negative = 0;
  for (const std::uint8_t byte : tensor.signs) negative += static_cast<std::uint64_t>(std::popcount(byte));
  const std::uint64_t weights = tensor.weightCount();
  const std::uint64_t counts[] = {std::min(negative, weights), weights - std::min(negative, weights)};
  return sourceBits(counts);
}

}  // namespace

CodeCounts countCodes(const QuantizedTensor& tensor, const Context& context) {
  CodeCounts result;
  const bool mixed = !tensor.width.bits.empty();
  double bits = 0;
  if (const auto* bytes = tensor.codes.as<std::uint8_t>()) {
    result.occupancy.resize(256);
    context.backend->occupancy(bytes->data(), bytes->size(), result.occupancy);
    bits = mixed ? bitsByWidth(tensor, *bytes) : sourceBits(result.occupancy);
  } else if (const auto* words = tensor.codes.as<std::uint16_t>()) {
    result.occupancy.resize(65536);
    for (const std::uint16_t code : *words) ++result.occupancy[code];
    bits = mixed ? bitsByWidth(tensor, *words) : sourceBits(result.occupancy);
  } else {
    bits = sourceBits(countSigned(*tensor.codes.as<std::int32_t>()));
  }
  if (!mixed && !tensor.codes.isSigned()) result.occupancy.resize(codeCountAt(tensor, 0));
  if (result.occupancy.size() > mostShownCodes) result.occupancy.clear();
  const double weights = static_cast<double>(tensor.weightCount());
  result.bitsPerWeight = weights == 0 ? 0 : (bits + signBits(tensor)) / weights;
  return result;
}

}  // namespace nibble
