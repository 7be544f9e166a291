// SPDX-License-Identifier: GPL-3.0-or-later
// The mixed-bit-width linear layer of reference document 002 (bitorch-engine's MBWQLinearCuda) on the CPU, and EXL2 layers,
// which are the same with zeros scale x 2^(b-1). Uniform: 2 or 4 bits in groups of one size; mixed: 8, 6, 5, 4, 3 and 2 bits
// along the stored inputs. With x' = half(x * channel_scale), W [in, out] = half(q scale - zero) in the model's order of
// inputs:
//   y  = half(x' W + bias)              sums in float32, one order, one rounding (core/layers/packed_linear.h)
//   dx = half((dY W^T) * channel_scale)
//   privileged gradient [in, out] += x'^T dY      float32
// A backend with products of its own (kernels/products.h: a CUDA device) holds the weights, and does the first two from its own
// packed bytes, in its own order of sums; what it does not do, the CPU does.
// Where the reference differs from this it is wrong (spec mbwq 1.9); tests/core/test_mbwq_bugs.cpp has each case. Errors name
// the layer and the buffer. A prepared layer is safe to read from many threads.
#pragma once
#include "core/layers/mbwq_state.h"
#include "core/layers/packed_linear.h"

#include <array>
#include <memory>
#include <optional>

namespace nibble {

namespace kernels {
class ColumnProducts;
}

enum class MbwqPath : std::uint8_t {
  Packed,         // decode tile by tile
  Reconstructed,  // the whole matrix first, then one product in the model's order of inputs (upstream's use_cublas)
};

class MbwqLayer {
 public:
  struct Loaded {
    std::vector<std::string> replaced, missing, ignored;  // keys: came in another shape; not there; not the layer's
  };

  static Result<MbwqLayer> create(std::string name, const MbwqSettings& settings);
  // Prepared, from weights in groups along the input: those of MBWQ and EXL2 exactly; integer zeros become half(scale x zero),
  // which may change values in their last bit (`converted` says so). Refused: what the layer cannot hold.
  static Result<MbwqLayer> of(std::string name, const QuantizedTensor& weights, std::vector<float> bias = {});

  [[nodiscard]] const std::string& name() const { return m_name; }
  [[nodiscard]] const MbwqSettings& settings() const { return m_settings; }
  [[nodiscard]] bool converted() const { return m_converted; }

  // float16 numbers [groups, outputs], before the layer is prepared or after.
  Status setScales(std::span<const float> scales);
  Status setZeros(std::span<const float> zeros);
  // Keys may stand alone or behind "NAME.". Codes, scales, zeros and the group table may have another number of groups or rows
  // than the layer was made for: they replace it. Any other shape or type is refused. Strict: every key must be the layer's,
  // and what is needed must be there. All or nothing. The layer is then to be prepared (again).
  Result<Loaded> loadState(const std::vector<RawTensor>& state, bool strict = true);
  // By the reference's names behind `prefix`. A prepared layer has no compressed state, g_idx and wf.
  [[nodiscard]] std::vector<RawTensor> state(const std::string& prefix = {}) const;
  // Checks everything and makes the layer ready; harmless when it is.
  Status prepare();
  [[nodiscard]] bool isPrepared() const { return m_linear.has_value(); }

  // Of a prepared layer.
  [[nodiscard]] const std::vector<WidthGroup>& groups() const { return m_groups; }
  [[nodiscard]] std::array<std::uint64_t, 7> rows() const { return widthRows(m_groups); }
  [[nodiscard]] std::vector<std::uint16_t> groupMap() const { return nibble::groupMap(m_groups); }
  [[nodiscard]] const QuantizedTensor& stored() const { return m_linear->storedWeights(); }
  [[nodiscard]] const std::vector<std::uint32_t>& order() const { return m_order; }  // of stored inputs; empty: as they are
  [[nodiscard]] QuantizedTensor description() const;                                 // with order and channel scale
  // W [in, out], rows in the model's order.
  [[nodiscard]] std::vector<float> weights() const;

  // x [..., in] to [..., out].
  [[nodiscard]] Result<Tensor> forward(const Tensor& x, const Context& context, MbwqPath path = MbwqPath::Packed) const;
  // dx [..., in]; adds to the privileged gradient of a layer that trains, or overwrites it.
  Result<Tensor> backward(const Tensor& x, const Tensor& dy, const Context& context, bool accumulate = true);
  [[nodiscard]] const std::vector<float>& privilegedGradient() const { return m_gradient; }  // [in, out]; empty: none yet
  void clearGradient() { m_gradient.clear(); }

  // New codes [out, in] in stored order, each within its width, and zeros [groups, outputs]: what training does. A new bias,
  // float16 numbers, where the layer has one; empty: it stays.
  Status repack(std::vector<std::uint8_t> codes, std::span<const float> zeros, std::span<const float> bias = {});

 private:
  MbwqLayer() = default;
  Status refuse(const std::string& problem) const { return fail(m_name + ": " + problem); }
  Status setNumbers(const char* key, std::span<const float> values);
  [[nodiscard]] Result<std::vector<float>> scaledInputs(const Tensor& x) const;
  [[nodiscard]] Result<std::vector<float>> reconstructedProduct(const std::vector<float>& x, const Context& context) const;
  [[nodiscard]] std::shared_ptr<const kernels::ColumnProducts> heldBy(const kernels::Backend& backend) const;
  // Nothing: no device did it.
  [[nodiscard]] std::optional<std::vector<float>> deviceProduct(const std::vector<float>& x, const Context& context,
                                                                MbwqPath path) const;
  [[nodiscard]] Result<std::vector<float>> inputGradient(const std::vector<float>& dy, const Context& context) const;
  void adopt(mbwq::Parts parts);

  std::string m_name;
  MbwqSettings m_settings;
  mbwq::Buffers m_buffers;  // once prepared: without codes
  std::set<std::string> m_given;
  bool m_converted = false;
  std::vector<WidthGroup> m_groups;
  std::vector<std::uint32_t> m_order;
  std::vector<float> m_channelScale, m_bias, m_gradient;
  std::optional<PackedLinear> m_linear;
  struct Held;
  std::shared_ptr<Held> m_held;  // by a device, once it is asked to; copies have the same weights and share it
};

// The reference's static functions: W [in, out] as float16 numbers from the buffers alone.
Result<std::vector<float>> uniformToWeights(const RawTensor& qweight, const RawTensor& scales, const RawTensor& zeros,
                                            std::uint64_t groupSize, int bits, const RawTensor& perm);
Result<std::vector<float>> mixedToWeights(const RawTensor& qweight, const RawTensor& scales, const RawTensor& zeros,
                                          const RawTensor& perm, const RawTensor& groups);

}  // namespace nibble
