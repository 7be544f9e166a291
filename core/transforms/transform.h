// SPDX-License-Identifier: GPL-3.0-or-later
// A transform makes weights easier to quantize and is no scheme itself: it stands before one in the text of a choice
// (`smooth:alpha=0.5/hadamard:block=128,seed=0/uniform:...`), changes the weights the scheme sees, and leaves with the quantized
// tensor what the one decoder needs to undo it (channel scale, rotation). One file each, with formula, settings and reference;
// the catalogue is generated and its order is the order of the decoder's undoing: they stand in it, each at most once.
#pragma once
#include "core/schemes/scheme.h"
#include "core/tensor/activations.h"

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct TransformInfo {
  std::string_view id;  // "hadamard"
  std::string_view title, summary, reference;
  Needs needs = Needs::Nothing;
};

// Weights on their way to the scheme, with what must be undone and what is known of the inputs they now meet.
struct Transformed {
  std::string name;                 // of the tensor
  Shape shape;
  std::uint64_t rows = 0, columns = 0;
  std::vector<float> weights;       // [rows, columns]
  std::vector<float> channelScale;  // weights were multiplied by this; empty: 1
  std::optional<Rotation> rotation; // after that
  LayerInputs inputs;               // of the transformed layer; empty: nothing known
};

// The rest of the choice on changed weights: what a search tries.
using QuantizeTrial = std::function<Result<QuantizedTensor>(const Transformed& changed)>;

class Transform {
 public:
  virtual ~Transform() = default;
  [[nodiscard]] virtual const TransformInfo& info() const = 0;
  [[nodiscard]] virtual const std::vector<SettingInfo>& settings() const = 0;
  // Why this matrix cannot be transformed so before this scheme; none: it can, as far as can be said without data.
  [[nodiscard]] virtual std::optional<std::string> refusal(const SettingValues& values, MatrixSize size,
                                                           const SchemeInfo& scheme) const = 0;
  // Errors: cancelled, data that the transform needs and nobody gave.
  [[nodiscard]] virtual Status apply(Transformed& layer, const SettingValues& values, const QuantizeTrial& quantize,
                                     const Context& context) const = 0;
};

std::span<const Transform* const> allTransforms();
const Transform* findTransform(std::string_view id);

}  // namespace nibble
