// SPDX-License-Identifier: GPL-3.0-or-later
// A rotation of the input dimension that spreads outliers: random signs d_j, then an orthonormal Walsh-Hadamard transform H of
// each run of `block` columns:  W -> W D H,  and the inputs the layer then meets are H D x. What is lost in rounding keeps its
// length on the way back, so the mean squared error is that of the rotated weights.
// d_j is bit 63 of SplitMix64's finalizer over `seed` and j (0: +1). float32, sums in one order (quant/hadamard.h).
// A rotated group no longer belongs to single weights: zeros do not stay zero. Of the inputs, E[x^2] alone does not survive it.
// Source: Ashkboos et al. 2024 (QuaRot, arXiv 2404.00456).
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/hadamard.h"
#include "core/transforms/transform.h"

#include <bit>

namespace nibble {
namespace {

struct Settings {
  std::int64_t block = 128, seed = 0;
};

const SettingTable<Settings>& table() {
  using Int = std::int64_t;
  static const auto settings =
      SettingTable<Settings>{}
          .integer("block", &Settings::block, "Block",
                   {.choices = {Int{2}, Int{4}, Int{8}, Int{16}, Int{32}, Int{64}, Int{128}, Int{256}, Int{512}, Int{1024}, Int{2048},
                                Int{4096}, Int{8192}},
                    .offers = {Int{32}, Int{64}, Int{128}, Int{256}},
                    .unit = "columns",
                    .help = "Columns that are rotated together; it divides the columns."})
          .integer("seed", &Settings::seed, "Seed", {.low = 0, .high = 0x7FFFFFFF, .help = "Of the random signs."});
  return settings;
}

float signAt(std::uint64_t seed, std::uint64_t column) {
  std::uint64_t z = (seed << 32) + column;
  z = (z + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return ((z ^ (z >> 31)) >> 63) == 0 ? 1.0f : -1.0f;
}

void rotateRow(std::span<float> row, const Rotation& rotation) {
  for (std::size_t j = 0; j < row.size(); ++j) row[j] *= rotation.signs[j];
  for (std::size_t begin = 0; begin < row.size(); begin += rotation.block) walshHadamard(row.subspan(begin, rotation.block));
}

// G -> H D G D H: rows, then the rows of the transpose.
void rotateGram(std::vector<double>& gram, const Rotation& rotation) {
  const std::size_t n = rotation.signs.size();
  std::vector<float> line(n);
  for (int side = 0; side < 2; ++side) {
    const std::size_t along = side == 0 ? 1 : n, across = side == 0 ? n : 1;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) line[j] = static_cast<float>(gram[i * across + j * along]);
      rotateRow(line, rotation);
      for (std::size_t j = 0; j < n; ++j) gram[i * across + j * along] = line[j];
    }
  }
}

class HadamardTransform final : public Transform {
 public:
  const TransformInfo& info() const override {
    static const TransformInfo about{"hadamard", "Hadamard", "seeded signs and a Walsh-Hadamard rotation of the inputs",
                                     "Ashkboos et al. 2024 (QuaRot, arXiv 2404.00456)", Needs::Nothing};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size, const SchemeInfo&) const override {
    const auto block = static_cast<std::uint64_t>(table().read(values).block);
    if (size.columns % block == 0) return std::nullopt;
    return "hadamard: block " + text::number(block) + " does not divide the " + text::number(size.columns) + " columns";
  }
  Status apply(Transformed& layer, const SettingValues& values, const QuantizeTrial&, const Context& context) const override {
    const Settings settings = table().read(values);
    Rotation rotation{static_cast<std::uint32_t>(settings.block), std::vector<float>(layer.columns)};
    for (std::uint64_t j = 0; j < layer.columns; ++j) rotation.signs[j] = signAt(static_cast<std::uint64_t>(settings.seed), j);
    const auto rotateRows = [&](std::vector<float>& rows) {
      const std::uint64_t columns = layer.columns;
      return forEachPiece(rows.size() / columns, 16, 0, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
        for (std::uint64_t row = begin; row < end; ++row) rotateRow(std::span(rows).subspan(row * columns, columns), rotation);
        return {};
      });
    };
    NIBBLE_TRY(rotateRows(layer.weights));
    NIBBLE_TRY(rotateRows(layer.inputs.samples));
    if (!layer.inputs.gram.empty()) rotateGram(layer.inputs.gram, rotation);
    layer.inputs.meanSquares.clear();
    layer.rotation = std::move(rotation);
    return {};
  }
};

}  // namespace

const Transform& hadamardTransform() {
  static const HadamardTransform transform;
  return transform;
}

}  // namespace nibble
