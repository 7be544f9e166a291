// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/adapter_layer.h"

#include "core/base/text.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble::train {
namespace {

using Eigen::Index;

constexpr Index tileRows = 256;

template <class T>
RowMatrix<T> matrixOf(const std::vector<double>& values, Index rows, Index columns) {
  return Eigen::Map<const RowMatrix<double>>(values.data(), rows, columns).template cast<T>();
}

Index index(std::uint64_t value) {
  return static_cast<Index>(value);
}

}  // namespace

template <class T>
AdapterLayer<T>::AdapterLayer(AdapterParts<T> parts)
    : m_parts(std::move(parts)),
      m_scale(adapterScale(m_parts.settings.adapter, m_parts.method)),
      m_gain(m_parts.settings.adapter.variant == Variant::Document000 ? m_parts.settings.adapter.alpha : 1),
      m_half(m_parts.settings.adapter.variant == Variant::Document000 && m_parts.settings.numberType() == NumberType::F16),
      m_baseSquares(m_parts.rows) {
  if (m_half) {
    for (std::vector<T>* values : {&m_parts.base, &m_parts.inputs, &m_parts.targets})
      for (T& value : *values) value = static_cast<T>(storedAs(NumberType::F16, static_cast<double>(value)));
  }
  for (std::uint64_t i = 0; i < m_parts.rows; ++i)
    for (std::uint64_t j = 0; j < m_parts.columns; ++j) {
      const auto w = static_cast<double>(m_parts.base[i * m_parts.columns + j]);
      m_baseSquares[i] += w * w;
    }
  m_checksum = checksum(std::span<const T>(m_parts.base));
  m_checksum = checksum(std::span<const T>(m_parts.inputs), m_checksum);
  m_checksum = checksum(std::span<const T>(m_parts.targets), m_checksum);
  m_checksum = checksum(std::span<const double>(m_parts.bias), m_checksum);
  for (const Parameter& parameter : m_parts.parameters)
    m_checksum = checksum(std::span<const double>(parameter.value), m_checksum);
  if (trainsMagnitude()) m_startMagnitude = m_parts.parameters[2].value;
}

template <class T>
MatrixView<T> AdapterLayer<T>::baseView() const {
  return {m_parts.base.data(), index(m_parts.rows), index(m_parts.columns)};
}

template <class T>
MatrixView<T> AdapterLayer<T>::inputView(const RowRange& rows) const {
  return {m_parts.inputs.data() + rows.begin * m_parts.columns, index(rows.count), index(m_parts.columns)};
}

// Document 000 in float16: every result is rounded to that type.
template <class T>
void AdapterLayer<T>::settle(Eigen::Ref<RowMatrix<T>> values) const {
  if (!m_half) return;
  for (Index i = 0; i < values.rows(); ++i)
    for (Index j = 0; j < values.cols(); ++j)
      values(i, j) = static_cast<T>(storedAs(NumberType::F16, static_cast<double>(values(i, j))));
}

// What all tiles need: the parameters in the working type, x A^T and A A^T.
template <class T>
void AdapterLayer<T>::start(const RowRange& rows) {
  const auto r = index(m_parts.settings.adapter.rank), out = index(m_parts.rows), in = index(m_parts.columns);
  m_work.rows = rows;
  m_work.a = matrixOf<T>(m_parts.parameters[0].value, r, in);
  m_work.b = matrixOf<T>(m_parts.parameters[1].value, out, r);
  const RowMatrix<double> a = m_work.a.template cast<double>();
  m_work.aat = a * a.transpose();
  m_work.xa.noalias() = inputView(rows) * m_work.a.transpose();
  settle(m_work.xa);
  m_work.wa.resize(out, r);
  m_work.z.resize(index(rows.count), out);
  m_work.norm.resize(m_parts.rows);
  m_work.factor.resize(m_parts.rows);
  if (trainsMagnitude()) m_work.magnitude = m_parts.parameters[2].value;
}

template <class T>
void AdapterLayer<T>::findNorms(const Tile& tile) {
  for (Index i = tile.begin; i < tile.begin + tile.count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    double cross = 0, square = 0;
    for (Index k = 0; k < m_work.b.cols(); ++k) {
      const auto b = static_cast<double>(m_work.b(i, k));
      cross += b * static_cast<double>(m_work.wa(i, k));
      for (Index l = 0; l < m_work.b.cols(); ++l) square += b * m_work.aat(k, l) * static_cast<double>(m_work.b(i, l));
    }
    const double squared = m_baseSquares[at] + 2 * m_scale * cross + m_scale * m_scale * square;
    m_work.norm[at] = settled(std::sqrt(std::max(squared, 0.0)));
    // A row of zeros has no direction: its output is the bias, its gradients are 0.
    if (trainsMagnitude())
      m_work.factor[at] = m_work.norm[at] > 0 ? m_gain * m_work.magnitude[at] / m_work.norm[at] : 0;
    else
      m_work.factor[at] = m_gain;
  }
}

// z = x V^T and the norms.
template <class T>
void AdapterLayer<T>::forward(const Tile& tile) {
  const auto base = baseView().middleRows(tile.begin, tile.count);
  const auto b = m_work.b.middleRows(tile.begin, tile.count);
  RowMatrix<T> z(index(m_work.rows.count), tile.count);
  z.noalias() = inputView(m_work.rows) * base.transpose();
  if (m_half) {
    settle(z);
    RowMatrix<T> low = m_work.xa * b.transpose();
    settle(low);
    z += low;
    settle(z);
  } else {
    z.noalias() += static_cast<T>(m_scale) * m_work.xa * b.transpose();
  }
  m_work.z.middleCols(tile.begin, tile.count) = z;
  m_work.wa.middleRows(tile.begin, tile.count).noalias() = base * m_work.a.transpose();
  findNorms(tile);
}

template <class T>
T AdapterLayer<T>::outputOf(Index row, Index output) const {
  const auto at = static_cast<std::size_t>(output);
  const T bias = m_parts.bias.empty() ? T(0) : static_cast<T>(m_parts.bias[at]);
  const T z = m_work.z(row, output);
  if (!m_half) return static_cast<T>(m_work.factor[at]) * z + bias;
  double y = static_cast<double>(z);
  if (trainsMagnitude()) y = m_work.norm[at] > 0 ? settled(settled(m_work.magnitude[at] * y) / m_work.norm[at]) : 0;
  return static_cast<T>(settled(settled(m_gain * y) + static_cast<double>(bias)));
}

template <class T>
double AdapterLayer<T>::lossOf(const Tile& tile, RowMatrix<T>* gradient) const {
  const bool squares = m_parts.settings.loss == LossKind::MeanSquares;
  const auto n = index(m_work.rows.count);
  const double count = static_cast<double>(m_work.rows.count) * static_cast<double>(m_parts.rows);
  const MatrixView<T> target(m_parts.targets.data() + (squares ? m_work.rows.begin * m_parts.rows : 0), squares ? n : 0,
                             index(m_parts.rows));
  const T slope = static_cast<T>(2 / count);
  double sum = 0;
  for (Index row = 0; row < n; ++row) {
    double rowSum = 0;
    for (Index j = 0; j < tile.count; ++j) {
      const T y = outputOf(row, tile.begin + j);
      const T error = squares ? y - target(row, tile.begin + j) : y;
      rowSum += squares ? static_cast<double>(error) * static_cast<double>(error) : static_cast<double>(y);
      if (gradient != nullptr) (*gradient)(row, j) = squares ? slope * error : T(1);
    }
    sum += rowSum;
  }
  return squares ? sum / count : sum;
}

// What the norm's own gradient adds: D = c (M - (rowsum(M V) / n^2) V), of which the first term is done. `products`[i] is the
// row sum, sum over tokens of G z.
template <class T>
void AdapterLayer<T>::normBackward(const Tile& tile, double weight, const std::vector<double>& products, Sums& sums) {
  const Index r = m_work.b.cols();
  RowMatrix<T> scaledB(tile.count, r);
  std::vector<double>& gradient = m_parts.parameters[1].gradient;
  for (Index j = 0; j < tile.count; ++j) {
    const Index i = tile.begin + j;
    const auto at = static_cast<std::size_t>(i);
    const double norm = m_work.norm[at];
    const double k = norm > 0 ? m_work.factor[at] * products[static_cast<std::size_t>(j)] / (norm * norm) : 0;
    for (Index l = 0; l < r; ++l) {
      double va = static_cast<double>(m_work.wa(i, l));
      for (Index p = 0; p < r; ++p) va += m_scale * static_cast<double>(m_work.b(i, p)) * m_work.aat(p, l);
      gradient[static_cast<std::size_t>(i * r + l)] -= weight * m_scale * k * va;
      scaledB(j, l) = static_cast<T>(k * static_cast<double>(m_work.b(i, l)));
    }
  }
  sums.normA.noalias() = scaledB.transpose() * baseView().middleRows(tile.begin, tile.count);
  sums.normB = (scaledB.transpose() * m_work.b.middleRows(tile.begin, tile.count)).template cast<double>();
}

template <class T>
void AdapterLayer<T>::backward(const Tile& tile, double weight, Sums& sums) {
  const auto n = index(m_work.rows.count);
  RowMatrix<T> g(n, tile.count);
  sums.loss = lossOf(tile, &g);
  settle(g);
  std::vector<double> products(static_cast<std::size_t>(tile.count), 0.0);
  for (Index row = 0; row < n; ++row)
    for (Index j = 0; j < tile.count; ++j) {
      const auto at = static_cast<std::size_t>(tile.begin + j);
      products[static_cast<std::size_t>(j)] +=
          static_cast<double>(g(row, j)) * static_cast<double>(m_work.z(row, tile.begin + j));
      g(row, j) *= static_cast<T>(m_work.factor[at]);  // G becomes H
    }
  settle(g);
  RowMatrix<T> gradientB(tile.count, m_work.b.cols());
  gradientB.noalias() = static_cast<T>(m_scale) * g.transpose() * m_work.xa;
  settle(gradientB);
  for (Index j = 0; j < tile.count; ++j) {
    const auto i = static_cast<std::size_t>(tile.begin + j);
    for (Index l = 0; l < m_work.b.cols(); ++l)
      m_parts.parameters[1].gradient[i * static_cast<std::size_t>(m_work.b.cols()) + static_cast<std::size_t>(l)] +=
          weight * static_cast<double>(gradientB(j, l));
    if (trainsMagnitude() && m_work.norm[i] > 0)
      m_parts.parameters[2].gradient[i] += weight * settled(m_gain * products[static_cast<std::size_t>(j)] / m_work.norm[i]);
  }
  sums.hb.noalias() = g * m_work.b.middleRows(tile.begin, tile.count);
  if (trainsMagnitude() && m_parts.settings.adapter.normGradient) normBackward(tile, weight, products, sums);
}

// The gradient of A, from sums over all outputs, taken in the order of the tiles.
template <class T>
void AdapterLayer<T>::addSums(const std::vector<Sums>& sums, double weight) {
  RowMatrix<T> hb = sums.front().hb;
  for (std::size_t i = 1; i < sums.size(); ++i) hb += sums[i].hb;
  settle(hb);
  RowMatrix<T> gradient(m_work.a.rows(), m_work.a.cols());
  gradient.noalias() = static_cast<T>(m_scale) * hb.transpose() * inputView(m_work.rows);
  if (sums.front().normA.size() != 0) {
    RowMatrix<double> inner = sums.front().normB;
    for (std::size_t i = 1; i < sums.size(); ++i) inner += sums[i].normB;
    for (const Sums& part : sums) gradient -= static_cast<T>(m_scale) * part.normA;
    gradient -= static_cast<T>(m_scale * m_scale) * (inner.template cast<T>() * m_work.a);
  }
  settle(gradient);
  std::vector<double>& into = m_parts.parameters[0].gradient;
  for (std::size_t i = 0; i < into.size(); ++i) into[i] += weight * static_cast<double>(gradient.data()[i]);
}

template <class T>
Result<double> AdapterLayer<T>::run(const RowRange& rows, double weight, bool gradients, const Context& context) {
  if (rows.count == 0) return fail(m_parts.name + ": a pass without rows: fewer rows of inputs than passes in a step");
  start(rows);
  std::vector<Sums> sums((m_parts.rows + tileRows - 1) / tileRows);
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (context.stopRequested()) return;
    const Tile tile{index(begin), index(end - begin)};
    Sums& sum = sums[begin / tileRows];
    forward(tile);
    if (gradients)
      backward(tile, weight, sum);
    else
      sum.loss = lossOf(tile, nullptr);
  };
  context.backend->parallelFor(m_parts.rows, tileRows, body);
  if (context.stopRequested()) return cancelled();
  if (gradients) addSums(sums, weight);
  const double loss =
      std::accumulate(sums.begin(), sums.end(), 0.0, [](double sum, const Sums& part) { return sum + part.loss; });
  return settled(loss);
}

template <class T>
Result<double> AdapterLayer<T>::pass(const Pass& pass, const Context& context) {
  return run(pass.rows(m_parts.tokens), pass.weight(), true, context);
}

template <class T>
Result<double> AdapterLayer<T>::evaluate(const Context& context) {
  return run({0, m_parts.tokens}, 1, false, context);
}

// How far the magnitude and the direction of the rows have gone: mean |m - m at the start| (the norms, where there is no
// magnitude), mean 1 - cos(v, w).
template <class T>
std::vector<Figure> AdapterLayer<T>::figures() const {
  double magnitude = 0, direction = 0;
  std::uint64_t directed = 0;
  for (std::size_t i = 0; i < m_parts.rows; ++i) {
    const double start = trainsMagnitude() ? m_startMagnitude[i] : std::sqrt(m_baseSquares[i]);
    magnitude += std::fabs((trainsMagnitude() ? m_work.magnitude[i] : m_work.norm[i]) - start);
    const double lengths = m_work.norm[i] * std::sqrt(m_baseSquares[i]);
    if (!(lengths > 0)) continue;
    double product = m_baseSquares[i];
    for (Index k = 0; k < m_work.b.cols(); ++k)
      product += m_scale * static_cast<double>(m_work.b(index(i), k)) * static_cast<double>(m_work.wa(index(i), k));
    direction += 1 - product / lengths;
    ++directed;
  }
  return {{"deltaM", magnitude / static_cast<double>(m_parts.rows)},
          {"deltaD", directed == 0 ? 0 : std::max(0.0, direction / static_cast<double>(directed))}};
}

template class AdapterLayer<float>;
template class AdapterLayer<double>;

}  // namespace nibble::train
