// SPDX-License-Identifier: GPL-3.0-or-later
// One tensor under DiffQ's noise, forward and backward (spec section 5.3, 5.4). With R = max - min over the whole tensor, v_g
// the noise scale of a weight's group and e its noise,
//   p~_i = p_i + R v_g e_i
// and, for gradients q_i of p~_i, with S = sum q_i v_g e_i shared equally among weights that tie,
//   dp_i += q_i + [i = argmax] S - [i = argmin] S,   dlogit_g += (sum over g of q_i e_i) R dv/dlogit
// Groups are consecutive weights of the flattened tensor. Sums are double, in one order whatever the number of threads.
#pragma once
#include "core/base/context.h"
#include "core/train/bit_scale.h"

#include <span>
#include <vector>

namespace nibble::train {

template <class T>
class NoisyTensor {
 public:
  // `group` 0: one for the tensor; else it divides `size`.
  NoisyTensor(const BitScale& scale, std::uint64_t size, std::uint64_t group);
  [[nodiscard]] std::uint64_t length() const { return m_length; }  // weights in a group
  [[nodiscard]] std::uint64_t groups() const { return m_groups; }

  // The noise of the next forward, to be filled in.
  [[nodiscard]] std::span<T> noise() { return m_noise; }
  [[nodiscard]] std::span<const T> noise() const { return m_noise; }
  void forward(std::span<const double> weights, std::span<const double> logits, std::span<T> noisy, const Context& context);
  // `factor` times the gradients of the last forward are added.
  void backward(std::span<const T> gradient, double factor, std::span<double> ofWeights, std::span<double> ofLogits,
                const Context& context) const;

 private:
  void findRange(std::span<const double> weights, const Context& context);
  // body(piece, group, begin, end) for pieces of groups, in parallel.
  template <class Body>
  void eachPiece(const Context& context, const Body& body) const;

  BitScale m_scale;
  std::uint64_t m_size, m_length, m_groups, m_piece, m_pieces;  // weights in a piece; pieces in a group
  double m_range = 0;
  std::vector<std::uint64_t> m_lowest, m_highest;  // where the smallest and the largest weights are
  std::vector<double> m_noiseScale, m_noiseSlope;  // of each group
  std::vector<T> m_noise;
};

extern template class NoisyTensor<float>;
extern template class NoisyTensor<double>;

}  // namespace nibble::train
