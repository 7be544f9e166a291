// SPDX-License-Identifier: GPL-3.0-or-later
// FP8 weights with float32 scales: per tensor, per row, per group along the input, or per square tile.
//
//   s = absmax / largest (448 for E4M3, 57344 for E5M2; 1 where absmax is 0), code = rne(w / s) saturating, w ~ s * float8(code)
//
// A scale below the smallest normal float32 is raised to it, so that a tile of denormal weights keeps its codes in range.
// Tiles at the edges are smaller. Storage: one byte a code, one float32 a group.
// Reference: OCP 8-bit floats, torch 2.15 casts (spec uniform 6.4, 9.9).
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

struct Settings {
  std::string element = "e4m3", granularity = "channel";
  std::int64_t group = 128;
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .text("element", &Settings::element, "Element",
                {.choices = {std::string("e4m3"), std::string("e5m2")}, .help = "Type of the codes."})
          .text("granularity", &Settings::granularity, "Granularity",
                {.choices = {std::string("channel"), std::string("tensor"), std::string("group"), std::string("block")},
                 .help = "Which weights share a scale; block: square tiles."})
          .integer("group", &Settings::group, "Group",
                   {.low = 1,
                    .high = 1 << 20,
                    .offers = {std::int64_t{32}, std::int64_t{64}, std::int64_t{128}},
                    .unit = "weights",
                    .help = "Weights along the input that share a scale; the side of a tile.",
                    .onlyKey = "granularity",
                    .onlyValues = {std::string("group"), std::string("block")}});
  return settings;
}

Grouping groupingOf(const Settings& settings, const Tensor& tensor) {
  const auto side = static_cast<std::uint64_t>(settings.group), rows = tensor.rows(), columns = tensor.columns();
  if (settings.granularity == "tensor") return Grouping::tensor(rows, columns);
  if (settings.granularity == "channel") return Grouping::blocks(rows, columns, 1, 0);
  return Grouping::blocks(rows, columns, settings.granularity == "block" ? side : 1, side);
}

// Calls run(group, from, to) for the runs of one group within weights [begin, begin + count).
template <class Run>
void forEachRun(const Grouping& grouping, std::uint64_t begin, std::uint64_t count, const Run& run) {
  for (std::uint64_t at = 0; at < count;) {
    const std::uint64_t length = std::min(grouping.runLength(begin + at), count - at);
    run(grouping.groupOf(begin + at), at, at + length);
    at += length;
  }
}

// Largest magnitude of every group. A strip is whole rows of tiles where groups span rows, so that no two threads share one;
// the one group of a tensor is merged from the rows.
Result<std::vector<float>> absMaxima(const Tensor& tensor, const Grouping& grouping, const Context& context) {
  const std::uint64_t tileRows = std::min(grouping.tileRows(), tensor.rows());
  const bool whole = grouping.groupCount() == 1;
  std::vector<float> largest(whole ? tensor.rows() : grouping.groupCount());
  const std::uint64_t unit = tensor.columns() * (whole ? 1 : tileRows);
  NIBBLE_TRY(forEachStrip(tensor, unit, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    const Grouping rows = Grouping::blocks(tensor.rows(), tensor.columns(), 1, 0);
    forEachRun(whole ? rows : grouping, begin, weights.size(), [&](std::uint64_t group, std::uint64_t from, std::uint64_t to) {
      float absMax = largest[group];
      for (std::uint64_t i = from; i < to; ++i) absMax = std::max(absMax, std::fabs(weights[i]));
      largest[group] = absMax;
    });
    return {};
  }));
  if (whole) return std::vector<float>{*std::max_element(largest.begin(), largest.end())};
  return largest;
}

class Fp8Scheme final : public Scheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const override {
    static const SchemeInfo about{"fp8", "FP8", "8-bit floats with float32 scales", "OCP 8-bit floats, torch 2.15", Family::Micro};
    return about;
  }
  [[nodiscard]] const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  [[nodiscard]] std::vector<Promise> promises(const SettingValues&) const override {
    return {Promise::Deterministic, Promise::ZeroStaysZero, Promise::NearestLevel};
  }
  [[nodiscard]] std::optional<std::string> refusal(const SettingValues&, MatrixSize) const override { return std::nullopt; }
  [[nodiscard]] Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values,
                                                 const Context& context) const override;
};

Result<QuantizedTensor> Fp8Scheme::quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const {
  const Settings settings = table().read(values);
  const FloatType type = settings.element == "e4m3" ? FloatType::F8E4M3 : FloatType::F8E5M2;
  const Grouping grouping = groupingOf(settings, tensor);
  auto scale = absMaxima(tensor, grouping, context);
  if (!scale) return fail(scale.error());
  for (float& value : *scale) value = value == 0.0f ? 1.0f : std::max(value / kernels::largestOf(type), 0x1p-126f);
  std::vector<std::uint8_t> codes(tensor.size());
  NIBBLE_TRY(forEachStrip(tensor, 1, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    forEachRun(grouping, begin, weights.size(), [&](std::uint64_t group, std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t i = from; i < to; ++i) codes[begin + i] = kernels::floatToSmall(type, weights[i] / (*scale)[group]);
    });
    return {};
  }));
  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = Codes(std::move(codes));
  result.width.uniform = 8;
  result.levels = Levels::floats(type);
  result.scale = Plane::numbers(grouping, *std::move(scale), Stored::F32);
  result.layout = denseLayout(tensor.size(), 8);
  return result;
}

}  // namespace

const Scheme& fp8Scheme() {
  static const Fp8Scheme scheme;
  return scheme;
}

}  // namespace nibble
