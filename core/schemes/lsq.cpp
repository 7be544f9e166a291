// SPDX-License-Identifier: GPL-3.0-or-later
// LSQ's quantizer: one scale for the tensor, a step size that training has found, or the one it starts at:
//
//   s = 2 * mean|w| / sqrt(2^(bits - 1)), index = rne(clamp(w / s, -2^(bits-1), 2^(bits-1) - 1)), code = index + 2^(bits-1)
//   w ~ s * (code - 2^(bits-1))
//
// Weights beyond the range saturate: the step size is for training to move. The mean is a double sum in row-major order.
// Storage: a dense string of codes and the scale. Reference: diffq 0.2.4 lsq.py (spec uniform 5.8).
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/learned.h"
#include "core/schemes/scheme.h"
#include "kernels/backend.h"

#include <cmath>

namespace nibble {
namespace {

struct Settings {
  std::int64_t bits = 4;
  std::string params = "f16";
  double step = 0;
};

const SettingTable<Settings>& table() {
  static const auto settings = SettingTable<Settings>{}
                                   .integer("bits", &Settings::bits, "Bits",
                                            {.low = 2,
                                             .high = 8,
                                             .offers = {std::int64_t{2}, std::int64_t{3}, std::int64_t{4}, std::int64_t{8}},
                                             .unit = "bits",
                                             .help = "Bits per code."})
                                   .text("params", &Settings::params, "Parameters",
                                         {.choices = {std::string("f16"), std::string("f32"), std::string("bf16")},
                                          .help = "Stored type of the scale."})
                                   .real("step", &Settings::step, "Step",
                                         {.low = 0,
                                          .high = 1e30,
                                          .offers = {0.0},
                                          .help = "Step size that training has found; 0: where training starts."});
  return settings;
}

// The mean magnitude: sums of rows, added in order, so that threads do not matter.
Result<double> meanMagnitude(const Tensor& tensor, const Context& context) {
  std::vector<double> sums(tensor.rows());
  const std::uint64_t columns = tensor.columns();
  NIBBLE_TRY(forEachStrip(tensor, columns, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    for (std::size_t i = 0; i < weights.size(); ++i) sums[(begin + i) / columns] += std::fabs(static_cast<double>(weights[i]));
    return {};
  }));
  double sum = 0;
  for (const double row : sums) sum += row;
  return sum / static_cast<double>(tensor.size());
}

Result<QuantizedTensor> quantizeBy(const Tensor& tensor, int bits, float step, Stored stored, const Context& context) {
  const auto middle = static_cast<float>(1 << (bits - 1));
  const int maxCode = (1 << bits) - 1;
  std::vector<float> scale{step};
  if (Status fits = roundScales(scale, stored, 0); !fits) return fail(fits.error().within(tensor.name()));
  std::vector<std::uint8_t> codes(tensor.size());
  NIBBLE_TRY(forEachStrip(tensor, 1, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    context.backend->encodeAffine(kernels::GroupView::contiguous(weights.data(), 1, weights.size()),
                                  kernels::CodeRule::DivideRoundAdd, scale.data(), &middle, maxCode, codes.data() + begin);
    return {};
  }));
  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = Codes(std::move(codes));
  result.width.uniform = static_cast<std::uint8_t>(bits);
  result.rule = ValueRule::ScaleMinusZero;
  const Grouping grouping = Grouping::tensor(tensor.rows(), tensor.columns());
  result.scale = Plane::numbers(grouping, std::move(scale), stored);
  result.zero = Plane::implied(grouping, middle);
  result.layout = denseLayout(tensor.size(), bits);
  return result;
}

class LsqScheme final : public Scheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const override {
    static const SchemeInfo about{"lsq", "LSQ", "learned step size, at its start", "diffq 0.2.4 lsq.py", Family::Learned};
    return about;
  }
  [[nodiscard]] const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  [[nodiscard]] std::vector<Promise> promises(const SettingValues&) const override {
    return {Promise::Deterministic, Promise::ZeroStaysZero, Promise::NearestLevel};
  }
  [[nodiscard]] std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }
  [[nodiscard]] Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values,
                                                 const Context& context) const override {
    const Settings settings = table().read(values);
    const int bits = static_cast<int>(settings.bits);
    double step = settings.step;
    if (step == 0) {
      const auto mean = meanMagnitude(tensor, context);
      if (!mean) return fail(mean.error());
      step = firstStep(*mean, bits);
    }
    return quantizeBy(tensor, bits, static_cast<float>(step), storedFromName(settings.params), context);
  }
};

}  // namespace

Result<QuantizedTensor> quantizeByStep(const Tensor& tensor, int bits, float step, const Context& context) {
  return quantizeBy(tensor, bits, step, Stored::F32, context);
}

std::string stepChoice(int bits, float step) {
  return "lsq:bits=" + std::to_string(bits) + ",params=f32,step=" + text::number(step);
}

double firstStep(double meanMagnitude, int bits) {
  return 2.0 * meanMagnitude / std::sqrt(static_cast<double>(1 << (bits - 1)));
}

const Scheme& lsqScheme() {
  static const LsqScheme scheme;
  return scheme;
}

}  // namespace nibble
