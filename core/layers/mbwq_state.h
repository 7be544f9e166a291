// SPDX-License-Identifier: GPL-3.0-or-later
// What an MBWQ layer is made from: its settings, the buffers of its state by the reference's names, and how they become a
// description of quantized weights. K inputs, N outputs, G groups, b bits:
//   qweight       I32 [rows, N]    rows = K b / 32 (uniform) or as q_groups says (mixed)
//   scales, zeros F16 [G, N]       the zero is scaled already: w = half(q scale - zero), one rounding
//   q_perm        I16 [K]          stored input k is input q_perm[k], unsigned; all 0 means none
//   channel_scale F16 [1, 1, K]
//   q_groups      I16 [2 G]        mixed; q_group_map I16 [2 K] follows from it
//   bias          F16 [N]
//   qstatistic U8 [G, ceil(N / D), D], qscales_zeros, qscales_scales, qzeros_zeros, qzeros_scales F16 [G, ceil(N / D), 1]
//     the compressed state of uniform groups below 256: scale = (code >> 4 - zeros) scales, zero = (code & 15 - zeros) scales,
//     each step rounded to half. dq_mode 1: qscales_* are [1, N, 1]
//   g_idx I32 [K], wf I32 [1, 32 / b]   follow from the settings
// Source: bitorch-engine 0.2.6, MBWQLinearCuda and MPQLinearBase; spec mbwq 1.2 to 1.6.
#pragma once
#include "core/base/result.h"
#include "core/io/safetensors_writer.h"
#include "core/quant/quantized_tensor.h"
#include "core/quant/width_groups.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace nibble {

// The constructor's arguments, with its defaults.
struct MbwqSettings {
  std::uint64_t inputs = 0, outputs = 0;
  int activationBits = 16, weightBits = 4;
  FloatType type = FloatType::F16;
  std::int64_t groupSize = -1;        // -1: all inputs
  std::int64_t doubleGroupSize = -1;  // -1: all outputs
  int doubleMode = 2;
  bool bias = false;
  bool asymmetric = false;  // integer zeros: those of another layer
  bool trains = true;
  bool mixed = true;
  std::uint64_t groups = 64, packedRows = 64;  // mixed
  [[nodiscard]] std::uint64_t uniformGroup() const { return groupSize < 0 ? inputs : static_cast<std::uint64_t>(groupSize); }
  [[nodiscard]] std::uint64_t doubleGroup() const {
    return doubleGroupSize < 0 ? outputs : static_cast<std::uint64_t>(doubleGroupSize);
  }
};

namespace mbwq {

using Buffers = std::map<std::string, RawTensor>;

std::optional<std::string> refusalOf(const MbwqSettings& settings);
// What the constructor makes: scales 1, zeros 0 (of mixed layers: 0), no permutation, channel scale 1.
Buffers freshBuffers(const MbwqSettings& settings);
// Whether a buffer may come in another shape than the settings say, because another number of groups or rows is meant.
bool isReplaceable(const std::string& key);

struct Parts {
  QuantizedTensor tensor;  // with its order, without a channel scale
  std::vector<WidthGroup> groups;
  std::vector<float> channelScale;  // by input of the model
  std::vector<float> bias;          // empty: none
};
// Checks every constraint of the layer. `given`: the buffers that were loaded or set. Errors name the buffer.
Result<Parts> partsOf(const MbwqSettings& settings, const Buffers& buffers, const std::set<std::string>& given);

RawTensor halves(std::string name, Shape shape, std::span<const float> values);
RawTensor shorts(std::string name, Shape shape, std::span<const std::uint16_t> values);
std::vector<float> floatsOf(const RawTensor& array);
std::vector<std::uint16_t> shortsOf(const RawTensor& array);

}  // namespace mbwq
}  // namespace nibble
