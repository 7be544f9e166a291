// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/diode_mix.h"

#include "core/base/text.h"
#include "core/quant/decode.h"
#include "core/quant/encode.h"
#include "core/train/random.h"
#include "kernels/backend.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>

namespace nibble {
namespace {

constexpr std::uint64_t pieceRows = 4;
constexpr std::uint64_t roundingStream = 0xD10DE;

Status check(const DiodeMixSettings& settings) {
  if (!(settings.learningRate >= 0 && std::isfinite(settings.learningRate)))
    return fail("a learning rate of " + text::number(settings.learningRate));
  for (const double beta : {settings.beta1, settings.beta2})
    if (!(beta >= 0 && beta < 1)) return fail("a beta of " + text::number(beta) + " is not in [0, 1)");
  if (!(settings.epsilon > 0)) return fail("an epsilon of " + text::number(settings.epsilon) + " is not positive");
  return {};
}

}  // namespace

// What a step makes, put in place when all of it is there.
struct DiodeMix::Next {
  State state;
  std::vector<float> zeros;  // [groups, outputs]
  std::vector<std::uint8_t> codes;
  std::atomic<std::uint64_t> flipped{0}, lost{0}, movedZeros{0};
};

void DiodeMix::updateRow(const MbwqLayer& layer, std::span<const float> gradient, std::uint64_t row, double size,
                         Next& next) const {
  const QuantizedTensor& weights = layer.stored();
  const std::uint64_t inputs = weights.columns, outputs = weights.rows, groups = layer.groups().size();
  const train::Random random(m_settings.seed, roundingStream + next.state.number);
  std::vector<double> move(inputs);
  for (std::uint64_t k = 0; k < inputs; ++k) {
    const std::uint64_t at = row * inputs + k, input = layer.order().empty() ? k : layer.order()[k];
    const double g = gradient[input * outputs + row];
    const double m = m_settings.beta1 * m_state.first[at] + (1 - m_settings.beta1) * g;
    const double v = m_settings.beta2 * m_state.second[at] + (1 - m_settings.beta2) * g * g;
    next.state.first[at] = static_cast<float>(m);
    next.state.second[at] = static_cast<float>(v);
    move[k] = size * m / (std::sqrt(v) + m_settings.epsilon);
  }
  std::vector<float> decoded(inputs);
  decode(weights, row * inputs, decoded);
  std::uint64_t flipped = 0, lost = 0, movedZeros = 0, k = 0;
  for (std::uint64_t g = 0; g < groups; ++g) {
    const std::uint64_t end = k + layer.groups()[g].inputs;
    const float scale = weights.scale->values[row * groups + g], before = 0 - weights.zero->values[row * groups + g];
    float zero = before;
    if (m_settings.zeroEvery != 0 && next.state.number % m_settings.zeroEvery == 0) {
      double sum = 0;
      for (std::uint64_t i = k; i < end; ++i) sum += move[i];
      zero = kernels::roundTo(FloatType::F16, static_cast<float>(before + sum / static_cast<double>(end - k)));
      movedZeros += zero != before ? 1 : 0;
    }
    next.zeros[g * outputs + row] = zero;
    const double largest = (1 << layer.groups()[g].bits) - 1;
    for (; k < end; ++k) {
      const std::uint64_t at = row * inputs + k;
      if (scale == 0 || (move[k] == 0 && zero == before)) continue;
      const double latent = static_cast<double>(decoded[k]) + (m_settings.residual ? m_state.residual[at] : 0.0f) - move[k];
      const double level = (latent + static_cast<double>(zero)) / static_cast<double>(scale);
      const double code =
          std::clamp(m_settings.stochastic ? std::floor(level + random.uniform(at)) : std::nearbyint(level), 0.0, largest);
      const bool flips = static_cast<std::uint8_t>(code) != next.codes[at];
      flipped += flips ? 1 : 0;
      lost += !flips && !m_settings.residual && !m_settings.stochastic ? 1 : 0;
      next.codes[at] = static_cast<std::uint8_t>(code);
      if (m_settings.residual)
        next.state.residual[at] =
            static_cast<float>(latent - static_cast<double>(applyRule(weights.rule, weights.arithmetic, true,
                                                                      static_cast<float>(code), scale, 0 - zero)));
    }
  }
  next.flipped += flipped;
  next.lost += lost;
  next.movedZeros += movedZeros;
}

Result<DiodeMix::Step> DiodeMix::step(MbwqLayer& layer, std::span<const float> gradient, const Context& context) try {
  const auto refuse = [&](const std::string& problem) { return fail(layer.name() + ": " + problem); };
  if (auto status = check(m_settings); !status) return fail(status.error().within(layer.name()));
  if (!layer.isPrepared()) return refuse("is not prepared");
  const std::uint64_t count = layer.stored().weightCount(), groups = layer.groups().size();
  if (gradient.size() != count) return refuse("has no privileged gradient yet");
  if (const std::size_t bad = context.backend->firstNonFinite(gradient.data(), gradient.size()); bad != gradient.size())
    return refuse("the gradient of weight " + text::number(std::uint64_t{bad}) + " is not finite");
  const auto fits = [count](const std::vector<float>& numbers) { return numbers.size() == count; };
  if (m_state.number != 0 &&
      (!fits(m_state.first) || !fits(m_state.second) || (m_settings.residual && !fits(m_state.residual))))
    return refuse("is not the layer that was trained before");
  if (m_state.number == 0) {
    m_state.first.assign(count, 0.0f);
    m_state.second.assign(count, 0.0f);
    if (m_settings.residual) m_state.residual.assign(count, 0.0f);
  }
  Next next;
  next.state.number = m_state.number + 1;
  next.state.first.resize(count);
  next.state.second.resize(count);
  next.state.residual = m_state.residual;
  next.zeros.resize(groups * layer.stored().rows);
  next.codes = *layer.stored().codes.as<std::uint8_t>();
  const auto t = static_cast<double>(next.state.number);
  const double correction = std::sqrt(1 - std::pow(m_settings.beta2, t)) / (1 - std::pow(m_settings.beta1, t));
  const double size = m_settings.learningRate * (m_settings.correctBias ? correction : 1.0);
  NIBBLE_TRY(forEachPiece(layer.stored().rows, pieceRows, layer.stored().columns, context,
                          [&](std::uint64_t begin, std::uint64_t end) -> Status {
                            for (std::uint64_t row = begin; row < end; ++row) updateRow(layer, gradient, row, size, next);
                            return {};
                          }));
  NIBBLE_TRY(layer.repack(std::move(next.codes), next.zeros));
  m_state = std::move(next.state);
  return Step{m_state.number, next.flipped, next.lost, next.movedZeros, size};
} catch (const std::bad_alloc&) {
  return fail(layer.name() + ": not enough memory for a step");
}

}  // namespace nibble
