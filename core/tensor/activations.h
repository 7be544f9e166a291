// SPDX-License-Identifier: GPL-3.0-or-later
// What is known about the inputs of linear layers, by tensor name: samples [tokens, in], their Gram matrix X^T X [in, in], or only
// the mean square E[x^2] of each input channel (importance weights). Schemes that can use such data find it in the Context.
// Filled once, then read-only and safe to use from many threads.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct LayerInputs {
  std::uint64_t channels = 0;       // input channels, the columns of the weight
  std::uint64_t tokens = 0;         // rows of `samples`, or the count behind `gram` and `meanSquares` where it is known
  std::vector<float> samples;       // [tokens, channels], row-major; empty: not given
  std::vector<double> gram;         // [channels, channels], sum over tokens of x x^T; empty: not given
  std::vector<float> meanSquares;   // [channels], E[x^2]; empty: not given

  [[nodiscard]] bool empty() const { return samples.empty() && gram.empty() && meanSquares.empty(); }
};

class ActivationData {
 public:
  // Merges what is given into what is known of `name`; an empty name stands for every tensor with that many columns that has
  // no entry of its own. Derives meanSquares (in double, rounded once) from samples, or from gram where tokens are known.
  // Errors: sizes that contradict each other, non-finite or (E[x^2], the Gram matrix's diagonal)
  // negative numbers, a Gram matrix that is not symmetric, with the first bad index.
  Status add(const std::string& name, LayerInputs inputs);
  // None: nothing is known of this tensor. A size that does not fit `columns` counts as nothing.
  [[nodiscard]] const LayerInputs* find(std::string_view name, std::uint64_t columns) const;
  [[nodiscard]] bool empty() const { return m_layers.empty(); }

 private:
  std::map<std::string, LayerInputs, std::less<>> m_layers;
};

}  // namespace nibble
