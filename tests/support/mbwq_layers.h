// SPDX-License-Identifier: GPL-3.0-or-later
// MBWQ layers for tests: hand-written ones (exl2_layers.h) made into layers, and what they should compute, in double, from the
// weights the independent proof decoder finds.
#pragma once
#include "core/layers/mbwq_layer.h"
#include "tests/support/exl2_layers.h"

namespace nibble::test {

// Pseudo-random codes and 4-bit scales of common size; permuted or in order.
HandLayer handLayer(std::uint64_t outputs, std::vector<HandGroup> groups, std::uint64_t seed, bool permuted);
// Without the table of groups: what a uniform layer loads.
std::vector<RawTensor> uniformState(const HandLayer& hand, const std::string& module);
// Prepared; the settings say as much as the state does.
MbwqLayer mixedLayer(const HandLayer& hand, const std::string& name = "m");
MbwqLayer uniformLayer(const HandLayer& hand, const std::string& name = "m");

// Numbers that are halves, about `size` large.
std::vector<float> someHalves(std::size_t count, std::uint64_t seed, float size = 1);
// W [in, out] of the hand-written layer, as the proof decoder has it, without a channel scale.
std::vector<float> provenWeights(const HandLayer& hand);

// The numbers of an output; stops the test's program where there is none.
std::vector<float> valuesOf(const Result<Tensor>& tensor);

struct DoubleModel {
  std::vector<double> y, bound;  // [tokens, out]; bound: what float32 sums and one rounding to half may change
};
DoubleModel forwardInDouble(const std::vector<float>& scaledInputs, const std::vector<float>& weights, std::uint64_t inputs,
                            std::uint64_t outputs, const std::vector<float>& bias = {});

}  // namespace nibble::test
