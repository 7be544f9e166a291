// SPDX-License-Identifier: GPL-3.0-or-later
// DiodeMix: training of quantized weights that stay quantized (bitorch-engine 0.2.6 optim/diode_beta.py; spec mbwq 1.8), for
// uniform and mixed layers alike. With the privileged gradient g [in, out], per weight, in double:
//   m = b1 m + (1 - b1) g    v = b2 v + (1 - b2) g^2    u = m / (sqrt(v) + eps)    step = lr sqrt(1 - b2^t) / (1 - b1^t)
//   w = half(q scale - zero) [+ residual] - step u
//   every fifth t, for each group:  zero = half(zero + step mean u)       dW/dzero = -1
//   q = clamp(rne((w + zero) / scale), 0, 2^b - 1)
// Faithful, a change below scale / 2 is lost at every step. `residual` keeps what rounding took, in float32; `stochastic`
// rounds down or up with the chance that makes the mean right (train/random.h: the same on every run and thread count). m and v
// are float32. There is no weight decay: the reference ignores it for such weights. Where nothing moves, the code stays.
#pragma once
#include "core/layers/mbwq_layer.h"

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace nibble {

struct DiodeMixSettings {
  double learningRate = 1e-4, beta1 = 0.99, beta2 = 0.9999, epsilon = 1e-6;
  bool correctBias = true;
  std::uint64_t zeroEvery = 5;  // 0: zeros stay
  bool residual = false, stochastic = false;
  std::uint64_t seed = 0;
};

class DiodeMix {
 public:
  struct Step {
    std::uint64_t number = 0;   // t = 1, 2, ...
    std::uint64_t flipped = 0;  // codes that changed
    std::uint64_t lost = 0;     // weights that were to change and whose code stayed, with nothing kept of it
    std::uint64_t movedZeros = 0;
    double size = 0;  // `step` above
  };
  // What a later step depends on besides the layer: [out, in] in stored order, empty before the first.
  struct State {
    std::uint64_t number = 0;  // steps done
    std::vector<float> first, second, residual;
  };

  explicit DiodeMix(const DiodeMixSettings& settings = {}) : m_settings(settings) {}
  DiodeMix(const DiodeMixSettings& settings, State state) : m_settings(settings), m_state(std::move(state)) {}
  [[nodiscard]] const DiodeMixSettings& settings() const { return m_settings; }
  [[nodiscard]] const State& state() const { return m_state; }

  // One update of the layer from its privileged gradient, which stays. All or nothing. Errors: settings that cannot be, no
  // gradient, one that is not finite, another layer than before, a zero beyond float16, cancelled.
  Result<Step> step(MbwqLayer& layer, const Context& context) { return step(layer, layer.privilegedGradient(), context); }
  // The same from another gradient [in, out], inputs in the model's order.
  Result<Step> step(MbwqLayer& layer, std::span<const float> gradient, const Context& context);
  // What rounding has taken, [out, in] in stored order; empty where it is not kept.
  [[nodiscard]] const std::vector<float>& residual() const { return m_state.residual; }

 private:
  struct Next;
  void updateRow(const MbwqLayer& layer, std::span<const float> gradient, std::uint64_t row, double size, Next& next) const;

  DiodeMixSettings m_settings;
  State m_state;
};

}  // namespace nibble
