// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/column_sums.h"
#include "kernels/cuda/large_product.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

// Decoded weights first, activations from the next multiple of 16 bytes on.
std::uint16_t* behindWeights(const PackedColumns& packed, std::uint16_t* halves) {
  return halves + ceilDiv(packed.inputs() * packed.outputs, 8) * 8;
}

Outcome prepare(const PackedColumns& packed, const float* x, std::size_t rows, std::size_t columns, std::uint16_t* halves,
                Stream stream) {
  if (rows > mostLargeRows || packed.tileCount == 0)
    return Outcome::failed(Fault::BadCall, "a product of " + std::to_string(rows) + " rows");
  if (!isAligned(halves, 16)) return Outcome::failed(Fault::BadCall, "scratch that is not aligned");
  Outcome outcome = launchDecodeColumns(packed, halves, stream);
  if (!outcome.ok()) return outcome;
  return launchHalves(x, rows, columns, rows, columns, nullptr, behindWeights(packed, halves), stream);
}

}  // namespace

std::size_t largeHalves(const PackedColumns& packed, std::size_t rows) {
  const std::size_t longest = packed.inputs() > packed.outputs ? packed.inputs() : packed.outputs;
  return ceilDiv(packed.inputs() * packed.outputs, 8) * 8 + rows * longest;
}

Outcome launchLargeProduct(const PackedColumns& packed, const float* x, std::size_t rows, const float* bias, DeviceGemm& gemm,
                           std::uint16_t* halves, float* parts, float* y, Stream stream) {
  if (rows == 0) return {};
  Outcome outcome = prepare(packed, x, rows, packed.inputs(), halves, stream);
  if (!outcome.ok()) return outcome;
  outcome = gemm.multiply(behindWeights(packed, halves), rows, halves, packed.inputs(), packed.outputs, false,
                          bias != nullptr ? parts : y, stream);
  if (!outcome.ok() || bias == nullptr) return outcome;
  return launchAddParts(parts, 1, rows, packed.outputs, bias, nullptr, y, stream);
}

Outcome launchLargeBackward(const PackedColumns& packed, const float* dy, std::size_t rows, DeviceGemm& gemm,
                            std::uint16_t* halves, float* dx, Stream stream) {
  if (rows == 0) return {};
  Outcome outcome = prepare(packed, dy, rows, packed.outputs, halves, stream);
  if (!outcome.ok()) return outcome;
  return gemm.multiply(behindWeights(packed, halves), rows, halves, packed.outputs, packed.inputs(), true, dx, stream);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
