// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/reconstruction.h"

#include "core/base/contracts.h"
#include "core/quant/decode.h"
#include "core/quant/encode.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = std::uint64_t{1} << 15;
constexpr std::uint64_t mostChunks = 16;  // each counts into squares of its own

bool isLarger(const LargeError& a, const LargeError& b) {
  const float left = std::fabs(a.error), right = std::fabs(b.error);
  if (left != right) return left > right;
  return a.row != b.row ? a.row < b.row : a.column < b.column;
}

// The largest so far: a heap whose front is the least of them.
class Largest {
 public:
  explicit Largest(std::size_t most) : m_most(most) {}
  [[nodiscard]] bool misses(float error) const {
    return m_heap.size() == m_most && (m_most == 0 || std::fabs(error) < std::fabs(m_heap.front().error));
  }
  void add(const LargeError& error) {
    if (m_most == 0) return;
    m_heap.push_back(error);
    std::push_heap(m_heap.begin(), m_heap.end(), isLarger);
    if (m_heap.size() <= m_most) return;
    std::pop_heap(m_heap.begin(), m_heap.end(), isLarger);
    m_heap.pop_back();
  }
  void add(const Largest& other) {
    for (const LargeError& error : other.m_heap) add(error);
  }
  [[nodiscard]] std::vector<LargeError> sorted() const {
    std::vector<LargeError> errors = m_heap;
    std::sort(errors.begin(), errors.end(), isLarger);
    return errors;
  }

 private:
  std::size_t m_most;
  std::vector<LargeError> m_heap;
};

// Calls visit(chunk, firstRow, weights, reconstruction) for strips of whole rows; the strips of a chunk in order, chunks in parallel.
template <class Visit>
Status forEachPair(const Tensor& tensor, const QuantizedTensor& quantized, std::uint64_t chunks, const Context& context, const Visit& visit) {
  const std::uint64_t rows = tensor.rows(), columns = tensor.columns();
  const std::uint64_t step = std::max<std::uint64_t>(1, stripWeights / columns);
  NIBBLE_TRY(forEachPiece(chunks, 1, tensor.size() / chunks, context, [&](std::uint64_t chunk, std::uint64_t) -> Status {
    std::vector<float> weights(step * columns), values(step * columns);
    const std::uint64_t end = (chunk + 1) * rows / chunks;
    for (std::uint64_t row = chunk * rows / chunks; row < end; row += step) {
      if (context.stopRequested()) return Status(cancelled());
      const std::uint64_t count = std::min(step, end - row) * columns;
      NIBBLE_TRY(tensor.read(row * columns, std::span(weights).first(count)));
      decode(quantized, row * columns, std::span(values).first(count));
      visit(chunk, row, std::span<const float>(weights).first(count), std::span<const float>(values).first(count));
    }
    return {};
  }));
  return tensor.intact();
}

constexpr double reachInRms = 5;

// How far weights and values lie from 0.
struct Spread {
  float most = 0;
  double squares = 0, count = 0;

  void add(float value) {
    most = std::max(most, std::fabs(value));
    squares += static_cast<double>(value) * static_cast<double>(value);
    ++count;
  }
  void add(std::span<const float> weights, std::span<const float> values) {
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (std::isfinite(weights[i]) && std::isfinite(values[i])) add(weights[i]), add(values[i]);
  }
  void add(const Spread& other) {
    most = std::max(most, other.most);
    squares += other.squares;
    count += other.count;
  }
  [[nodiscard]] double reach() const {
    return most > 0 ? std::min(static_cast<double>(most), reachInRms * std::sqrt(squares / count)) : 1;
  }
};

struct Part {
  std::vector<std::uint64_t> counts;
  Largest largest;
};

struct Sweep {
  const QuantizedTensor& quantized;
  std::vector<std::uint64_t> stored;  // stored column of each of the model's; empty: the same
  int bins;
  double reach;

  [[nodiscard]] std::size_t bin(float value) const {
    const double place = std::floor((static_cast<double>(value) + reach) / (2 * reach) * bins);
    return static_cast<std::size_t>(std::clamp(place, 0.0, static_cast<double>(bins - 1)));
  }
  [[nodiscard]] std::int64_t code(std::uint64_t row, std::uint64_t column) const {
    const std::uint64_t place = row * quantized.columns + (stored.empty() ? column : stored[column]);
    return quantized.codes.at(place / quantized.levels.dimension);
  }
  void add(std::uint64_t firstRow, std::span<const float> weights, std::span<const float> values, Part& part) const {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      if (!std::isfinite(weights[i]) || !std::isfinite(values[i])) continue;
      ++part.counts[bin(values[i]) * static_cast<std::size_t>(bins) + bin(weights[i])];
      const float error = weights[i] - values[i];
      if (part.largest.misses(error)) continue;
      const std::uint64_t row = firstRow + i / quantized.columns, column = i % quantized.columns;
      part.largest.add({row, column, weights[i], values[i], error, code(row, column)});
    }
  }
};

}  // namespace

Result<Reconstruction> reconstruction(const Tensor& tensor, const QuantizedTensor& quantized, int bins, std::size_t most,
                                      const Context& context) {
  NIBBLE_EXPECTS(bins > 0);
  if (tensor.rows() != quantized.rows || tensor.columns() != quantized.columns)
    return fail(tensor.name() + ": the reconstruction has another shape");
  Reconstruction answer{bins, 0, std::vector<std::uint64_t>(static_cast<std::size_t>(bins) * static_cast<std::size_t>(bins)), {}};
  if (tensor.size() == 0) return answer;
  const std::uint64_t chunks = std::min(tensor.rows(), mostChunks);
  std::vector<Spread> spreads(chunks);
  NIBBLE_TRY(forEachPair(tensor, quantized, chunks, context, [&](std::uint64_t chunk, std::uint64_t, auto weights, auto values) {
    spreads[chunk].add(weights, values);
  }));
  Spread spread;
  for (const Spread& part : spreads) spread.add(part);
  answer.reach = spread.reach();
  Sweep sweep{quantized, std::vector<std::uint64_t>(quantized.order.size()), bins, answer.reach};
  for (std::size_t column = 0; column < sweep.stored.size(); ++column) sweep.stored[quantized.order[column]] = column;
  std::vector<Part> parts(chunks, Part{answer.counts, Largest(most)});
  NIBBLE_TRY(forEachPair(tensor, quantized, chunks, context, [&](std::uint64_t chunk, std::uint64_t row, auto weights, auto values) {
    sweep.add(row, weights, values, parts[chunk]);
  }));
  Largest largest(most);
  for (const Part& part : parts) {
    for (std::size_t i = 0; i < answer.counts.size(); ++i) answer.counts[i] += part.counts[i];
    largest.add(part.largest);
  }
  answer.largest = largest.sorted();
  return answer;
}

}  // namespace nibble
