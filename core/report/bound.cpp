// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/bound.h"

#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/report/entropy.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <numbers>
#include <vector>

namespace nibble {
namespace {

using kernels::FloatType;

constexpr double twoPiE = 2 * std::numbers::pi * std::numbers::e;
constexpr std::uint64_t stripWeights = std::uint64_t{1} << 15;
constexpr std::uint64_t fewest = 256;        // weights that are not 0
constexpr double mostRepeated = 0.05;        // of the sample, beyond which the weights have no density
constexpr double gridFactor = 10;

struct Grid {
  FloatType type;
  std::string_view name;
  int fractionBits, leastExponent;  // of the last place of the smallest normal number
};
constexpr Grid grids[] = {{FloatType::F8E5M2, "float8 e5m2", 2, -16}, {FloatType::F8E4M3, "float8 e4m3", 3, -9},
                          {FloatType::BF16, "bfloat16", 7, -133},     {FloatType::F16, "float16", 10, -24},
                          {FloatType::F32, "float32", 23, -149}};

const Grid& gridOf(FloatType type) {
  for (const Grid& grid : grids)
    if (grid.type == type) return grid;
  return grids[4];
}

// Width of the grid cell around a value: one unit in the last place.
double cellWidth(const Grid& grid, double value) {
  int exponent = 0;
  (void)std::frexp(value, &exponent);
  return std::ldexp(1.0, std::max(exponent - 1 - grid.fractionBits, grid.leastExponent));
}

// Even bits from a place (splitmix64 by Steele, Lea and Flood): the same spread on every run and machine.
double unitInterval(std::uint64_t place) {
  std::uint64_t x = place + 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

struct RowSums {
  std::vector<double> sums, squares;  // one per row
};

Result<RowSums> rowSums(const Tensor& tensor, const Context& context) {
  const std::uint64_t rows = tensor.rows(), columns = tensor.columns();
  RowSums result{std::vector<double>(rows), std::vector<double>(rows)};
  const std::uint64_t together = std::max<std::uint64_t>(1, stripWeights / columns);
  const auto floats = tensor.floats();
  NIBBLE_TRY(forEachPiece(rows, together, columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    const std::uint64_t most = std::min(stripWeights, columns);
    std::vector<float> buffer(floats ? 0 : most);
    const std::vector<float> zeros(most);
    for (std::uint64_t row = begin; row < end; ++row) {
      for (std::uint64_t column = 0; column < columns; column += most) {
        if (context.stopRequested()) return cancelled();
        const std::uint64_t place = row * columns + column, count = std::min(most, columns - column);
        if (!floats) NIBBLE_TRY(tensor.read(place, std::span(buffer).first(count)));
        const float* values = floats ? floats->data() + place : buffer.data();
        const auto sums = context.backend->errorSums(values, zeros.data(), count);  // against 0: of the weights themselves
        result.sums[row] += sums.error;
        result.squares[row] += sums.weightSquared;
      }
    }
    return {};
  }));
  NIBBLE_TRY(tensor.intact());
  return result;
}

struct Sample {
  std::vector<float> values;          // that are not 0
  std::vector<std::uint64_t> places;
  std::uint64_t looked = 0;
};

// All weights, or one from each of `boundSample` equal stretches at a place that follows no period.
Result<Sample> takeSample(const Tensor& tensor, const Context& context) {
  Sample sample;
  sample.looked = std::min(tensor.size(), boundSample);
  const bool all = sample.looked == tensor.size();
  std::vector<float> values(std::min<std::uint64_t>(sample.looked, stripWeights));
  for (std::uint64_t begin = 0; begin < sample.looked; begin += values.size()) {
    if (context.stopRequested()) return cancelled();
    const std::uint64_t count = std::min<std::uint64_t>(values.size(), sample.looked - begin);
    if (all) NIBBLE_TRY(tensor.read(begin, std::span(values).first(count)));
    for (std::uint64_t i = 0; i < count; ++i) {
      std::uint64_t place = begin + i;
      if (!all) {
        const double stretch = static_cast<double>(tensor.size()) / static_cast<double>(sample.looked);
        place = std::min(tensor.size() - 1, static_cast<std::uint64_t>((static_cast<double>(begin + i) + unitInterval(begin + i)) * stretch));
        NIBBLE_TRY(tensor.read(place, std::span(&values[i], 1)));
      }
      if (values[i] == 0) continue;
      sample.values.push_back(values[i]);
      sample.places.push_back(place);
    }
  }
  return sample;
}

bool holds(FloatType type, std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [type](float value) { return kernels::roundTo(type, value) == value; });
}

const Grid& coarsestGrid(std::span<const float> values) {
  for (const Grid& grid : grids)
    if (holds(grid.type, values)) return grid;
  return grids[4];
}

RateBound rateBound(const EntropyEstimate& estimate, double meanLog2Scale, double share, double gridMse) {
  RateBound bound;
  bound.entropyBits = estimate.bits() + meanLog2Scale;
  bound.errorBits = 2 * estimate.deviation / std::numbers::ln2;
  bound.share = share;
  bound.validBits = bound.rate(gridFactor * gridMse);
  return bound;
}

Status estimate(const Sample& sample, const RowSums& rows, std::uint64_t columns, const Grid& grid, MemorylessBound& bound,
                const Context& context) {
  const double share = static_cast<double>(sample.values.size()) / static_cast<double>(sample.looked);
  std::vector<double> spread, normalised;
  spread.reserve(sample.values.size());
  normalised.reserve(sample.values.size());
  double squares = 0, logScales = 0;
  const bool coarse = grid.type != FloatType::F32;  // a float32 cell is far finer than the distances: values as they are
  for (std::size_t i = 0; i < sample.values.size(); ++i) {
    const double value = sample.values[i], width = cellWidth(grid, value);
    squares += width * width;
    const double inside = coarse ? value + width * (unitInterval(~sample.places[i]) - 0.5) : value;
    const double scale = std::sqrt(rows.squares[sample.places[i] / columns] / static_cast<double>(columns));
    spread.push_back(inside);
    normalised.push_back(inside / scale);
    logScales += std::log2(scale);
  }
  const double count = static_cast<double>(sample.values.size());
  bound.gridMse = share * squares / count / 12;
  for (auto* values : {&spread, &normalised}) {
    if (context.stopRequested()) return cancelled();
    std::sort(values->begin(), values->end());
  }
  if (context.stopRequested()) return cancelled();
  const EntropyEstimate plain = nearestNeighbourEntropy(spread);
  if (context.stopRequested()) return cancelled();
  const EntropyEstimate known = nearestNeighbourEntropy(normalised);
  bound.density = rateBound(plain, 0, share, bound.gridMse);
  bound.rowsKnown = rateBound(known, logScales / count, share, bound.gridMse);
  if (plain.repeatedShare() > mostRepeated || bound.density.validBits < 1)
    bound.refusal = "the weights take few values: they have no density to bound";
  return {};
}

}  // namespace

double RateBound::mse(double bitsPerWeight) const {
  return share * std::exp2(2 * entropyBits - 2 * bitsPerWeight / share) / twoPiE;
}

double RateBound::rate(double mse) const { return share * 0.5 * (2 * entropyBits - std::log2(mse * twoPiE / share)); }

double MemorylessBound::gaussianMse(double bitsPerWeight) const { return variance * std::exp2(-2 * bitsPerWeight); }

std::optional<double> MemorylessBound::decibels(double mse, double bitsPerWeight) const {
  if (!ok() || mse <= 0 || bitsPerWeight > density.validBits) return std::nullopt;
  return 10 * std::log10(mse / density.mse(bitsPerWeight));
}

std::string MemorylessBound::note() const {
  if (!ok()) return refusal;
  const auto decibels = [](double bits) { return text::digits(bits * 20 * std::log10(2.0), 1); };
  std::string line = "nearest-neighbour estimate from " +
                     (sampled == weights ? "all " + text::number(weights) + " weights" : "a sample of " + text::number(sampled) + " of " + text::number(weights) + " weights") +
                     ", within " + decibels(density.errorBits) + " dB; the weights lie on the grid of " + std::string(gridOf(grid).name) +
                     ": it says nothing beyond " + text::digits(density.validBits, 3) + " bits";
  if (density.share < 1) line += "; weights that are 0 (" + text::digits(100 * (1 - density.share), 2) + " %) count as known";
  return line;
}

Result<MemorylessBound> memorylessBound(const Tensor& tensor, const Context& context) try {
  MemorylessBound bound;
  bound.weights = tensor.size();
  if (tensor.size() == 0) {
    bound.refusal = "the tensor is empty";
    return bound;
  }
  const auto rows = rowSums(tensor, context);
  if (!rows) return fail(rows.error());
  double sum = 0, squares = 0;
  for (std::size_t row = 0; row < rows->sums.size(); ++row) sum += rows->sums[row], squares += rows->squares[row];
  const double count = static_cast<double>(tensor.size());
  bound.meanSquare = squares / count;
  bound.variance = std::max(0.0, bound.meanSquare - sum / count * (sum / count));
  const auto sample = takeSample(tensor, context);
  if (!sample) return fail(sample.error());
  bound.sampled = sample->looked;
  if (sample->values.size() < fewest) {
    bound.refusal = "fewer than " + text::number(fewest) + " weights that are not 0: too few to know their density";
    return bound;
  }
  const Grid& grid = coarsestGrid(sample->values);
  bound.grid = grid.type;
  NIBBLE_TRY(estimate(*sample, *rows, tensor.columns(), grid, bound, context));
  return bound;
} catch (const std::bad_alloc&) {
  return fail(tensor.name() + ": not enough memory for the bound");
}

}  // namespace nibble
