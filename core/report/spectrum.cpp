// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/spectrum.h"

#include "core/base/text.h"
#include "core/quant/decode.h"
#include "core/quant/encode.h"

#include <Eigen/Eigenvalues>
#include <Eigen/Householder>

#include <algorithm>
#include <cmath>
#include <random>

namespace nibble {
namespace {

using Eigen::Index;
using Matrix = Eigen::MatrixXd;
using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using FloatRows = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr Index tile = 128, lengthAtOnce = 2048;
constexpr Index blockSize = 32, mostBlocks = 10, leastBlocks = 2;
constexpr std::uint64_t basisBytes = std::uint64_t{1} << 28, panelWeights = std::uint64_t{1} << 19;
constexpr std::uint64_t mostChunks = 8;  // fixed: sums do not depend on the number of threads

Index index(std::uint64_t value) { return static_cast<Index>(value); }

// Eigenvalues of a symmetric matrix, rising: Householder steps to tridiagonal form with a look at the stop token before each.
Result<Eigen::VectorXd> eigenvalues(Matrix a, const Context& context) {
  const Index n = a.rows();
  if (n == 1) return Eigen::VectorXd(a.diagonal());
  Eigen::VectorXd diagonal(n), below(n - 1);
  for (Index k = 0; k + 1 < n; ++k) {
    if (context.stopRequested()) return cancelled();
    const Index rest = n - k - 1;
    diagonal[k] = a(k, k);
    Eigen::VectorXd v(rest), essential(rest - 1);
    double tau = 0, beta = 0;
    a.col(k).tail(rest).makeHouseholder(essential, tau, beta);
    below[k] = beta;
    if (tau == 0) continue;
    v[0] = 1;
    v.tail(rest - 1) = essential;
    auto corner = a.bottomRightCorner(rest, rest);
    Eigen::VectorXd w = corner.selfadjointView<Eigen::Lower>() * (tau * v);
    w -= 0.5 * tau * w.dot(v) * v;
    corner.selfadjointView<Eigen::Lower>().rankUpdate(v, w, -1);
  }
  diagonal[n - 1] = a(n - 1, n - 1);
  Eigen::SelfAdjointEigenSolver<Matrix> solver;
  solver.computeFromTridiagonal(diagonal, below, Eigen::EigenvaluesOnly);
  if (solver.info() != Eigen::Success) return fail("the singular values do not converge");
  return Eigen::VectorXd(solver.eigenvalues());
}

std::vector<double> roots(const Eigen::VectorXd& rising, std::uint64_t most) {
  std::vector<double> values;
  for (Index i = rising.size() - 1; i >= 0 && values.size() < most; --i) values.push_back(std::sqrt(std::max(0.0, rising[i])));
  return values;
}

// The matrix with its smaller side as rows.
struct Lying {
  Index side, length;
  std::vector<float> values;
};

Result<Lying> readLying(std::uint64_t rows, std::uint64_t columns, const RowReader& read, const Context& context) {
  const bool turned = rows > columns;
  Lying lying{index(std::min(rows, columns)), index(std::max(rows, columns)), std::vector<float>(rows * columns)};
  const std::uint64_t step = std::max<std::uint64_t>(1, (panelWeights / 8) / columns);
  NIBBLE_TRY(forEachPiece(rows, step, 0, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    const std::span<float> place = std::span(lying.values).subspan(begin * columns, (end - begin) * columns);
    if (!turned) return read(begin, place);
    std::vector<float> strip(place.size());
    NIBBLE_TRY(read(begin, strip));
    for (std::uint64_t row = begin; row < end; ++row)
      for (std::uint64_t column = 0; column < columns; ++column) lying.values[column * rows + row] = strip[(row - begin) * columns + column];
    return {};
  }));
  return lying;
}

// A A^T, lower tiles.
Result<Matrix> gramOf(const Lying& lying, const Context& context) {
  const FloatRows a(lying.values.data(), lying.side, lying.length);
  Matrix gram(lying.side, lying.side);
  const Index tiles = (lying.side + tile - 1) / tile;
  NIBBLE_TRY(forEachPiece(static_cast<std::uint64_t>(tiles * tiles), 1, 0, context, [&](std::uint64_t number, std::uint64_t) -> Status {
    const Index i = index(number) / tiles, j = index(number) % tiles;
    if (j > i) return {};
    const Index high = std::min(tile, lying.side - i * tile), wide = std::min(tile, lying.side - j * tile);
    Matrix sum = Matrix::Zero(high, wide);
    for (Index begin = 0; begin < lying.length; begin += lengthAtOnce) {
      if (context.stopRequested()) return Status(cancelled());
      const Index length = std::min(lengthAtOnce, lying.length - begin);
      const Rows left = a.block(i * tile, begin, high, length).cast<double>(), right = a.block(j * tile, begin, wide, length).cast<double>();
      sum.noalias() += left * right.transpose();
      context.addDone(static_cast<std::uint64_t>(high * wide * length));
    }
    gram.block(i * tile, j * tile, high, wide) = sum;
    return {};
  }));
  return gram;
}

Result<Spectrum> smallSpectrum(std::uint64_t rows, std::uint64_t columns, const RowReader& read, const Context& context) {
  const auto lying = readLying(rows, columns, read, context);
  if (!lying) return fail(lying.error());
  const auto side = static_cast<std::uint64_t>(lying->side);
  context.addTotal((side * side + side * std::min<std::uint64_t>(side, static_cast<std::uint64_t>(tile))) / 2 * static_cast<std::uint64_t>(lying->length));
  auto gram = gramOf(*lying, context);
  if (!gram) return fail(gram.error());
  Spectrum answer{{}, gram->trace(), side};
  if (!std::isfinite(answer.energy)) return fail("the matrix holds numbers that are not finite");
  const auto squares = eigenvalues(*std::move(gram), context);
  if (!squares) return fail(squares.error());
  answer.values = roots(*squares, side);
  return answer;
}

// A^T A X for a block X, and the energy of A on the way; one sweep over the rows.
class Sweep {
 public:
  Sweep(std::uint64_t rows, std::uint64_t columns, const RowReader& read, const Context& context)
      : m_rows(rows), m_columns(columns), m_read(read), m_context(context) {
    const std::uint64_t roomFor = std::max<std::uint64_t>(1, basisBytes / (columns * static_cast<std::uint64_t>(blockSize) * sizeof(double)));
    m_chunks = std::min({mostChunks, rows, roomFor});
  }
  Result<Matrix> operator()(const Matrix& x) {
    std::vector<Matrix> sums(m_chunks);
    std::vector<double> energies(m_chunks);
    NIBBLE_TRY(forEachPiece(m_chunks, 1, 0, m_context, [&](std::uint64_t chunk, std::uint64_t) -> Status {
      sums[chunk] = Matrix::Zero(index(m_columns), x.cols());
      return sweepChunk(chunk, x, sums[chunk], energies[chunk]);
    }));
    m_energy = 0;
    for (std::uint64_t chunk = 0; chunk < m_chunks; ++chunk) {
      m_energy += energies[chunk];
      if (chunk > 0) sums[0] += sums[chunk];
    }
    return std::move(sums[0]);
  }
  [[nodiscard]] double energy() const { return m_energy; }

 private:
  Status sweepChunk(std::uint64_t chunk, const Matrix& x, Matrix& sum, double& energy) const {
    const std::uint64_t step = std::clamp<std::uint64_t>(panelWeights / m_columns, 1, 64), end = (chunk + 1) * m_rows / m_chunks;
    std::vector<float> panel(step * m_columns);
    for (std::uint64_t row = chunk * m_rows / m_chunks; row < end; row += step) {
      if (m_context.stopRequested()) return Status(cancelled());
      const std::uint64_t count = std::min(step, end - row);
      NIBBLE_TRY(m_read(row, std::span(panel).first(count * m_columns)));
      const Rows a = FloatRows(panel.data(), index(count), index(m_columns)).cast<double>();
      const Matrix product = a * x;
      sum.noalias() += a.transpose() * product;
      energy += a.squaredNorm();
      m_context.addDone(count * m_columns);
    }
    return {};
  }

  std::uint64_t m_rows, m_columns, m_chunks;
  const RowReader& m_read;
  const Context& m_context;
  double m_energy = 0;
};

// The block with orthonormal columns that spans the same; directions shorter than `smallest`, or that double cannot tell from the
// longest, are dropped.
Matrix orthonormal(Matrix x, double smallest) {
  for (int again = 0; again < 2 && x.cols() > 0; ++again) {
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(Matrix(x.transpose() * x));
    const double least = again == 0 ? std::max(smallest * smallest, 1e-13 * solver.eigenvalues()[x.cols() - 1]) : 0.25;
    Index kept = 0;
    while (kept < x.cols() && solver.eigenvalues()[x.cols() - 1 - kept] > least) ++kept;
    const Matrix turn = solver.eigenvectors().rightCols(kept) * solver.eigenvalues().tail(kept).cwiseSqrt().cwiseInverse().asDiagonal();
    x = Matrix(x * turn);
  }
  return x;
}

Matrix start(Index columns, Index size) {
  std::mt19937_64 bits(1);
  Matrix x(columns, size);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = (bits() >> 63) != 0 ? 1.0 : -1.0;
  return x;
}

Result<Spectrum> largeSpectrum(std::uint64_t rows, std::uint64_t columns, const RowReader& read, const Context& context) {
  const std::uint64_t side = std::min(rows, columns);
  const Index size = std::min<Index>(blockSize, index(side));
  const Index blocks = std::clamp(index(basisBytes / (columns * static_cast<std::uint64_t>(size) * 2 * sizeof(double))), leastBlocks, mostBlocks);
  context.addTotal(rows * columns * static_cast<std::uint64_t>(blocks));
  Sweep sweep(rows, columns, read, context);
  Matrix basis(index(columns), 0), images(index(columns), 0);
  Matrix block = orthonormal(start(index(columns), size), 1e-8);
  for (Index number = 0; number < blocks && block.cols() > 0; ++number) {
    auto image = sweep(block);
    if (!image) return fail(image.error());
    if (!std::isfinite(sweep.energy())) return fail("the matrix holds numbers that are not finite");
    const Index known = basis.cols();
    basis.conservativeResize(Eigen::NoChange, known + block.cols());
    images.conservativeResize(Eigen::NoChange, known + block.cols());
    basis.rightCols(block.cols()) = block;
    images.rightCols(block.cols()) = *image;
    block = *std::move(image);
    for (int again = 0; again < 2; ++again) {
      if (context.stopRequested()) return cancelled();
      const Matrix inside = basis.transpose() * block;
      block.noalias() -= basis * inside;
    }
    block = orthonormal(std::move(block), 1e-12 * sweep.energy());
  }
  const Matrix projected = basis.transpose() * images;
  const auto squares = eigenvalues((projected + projected.transpose()) / 2, context);
  if (!squares) return fail(squares.error());
  return Spectrum{roots(*squares, std::min(firstDirections, side)), sweep.energy(), side};
}

}  // namespace

double Spectrum::share(std::size_t rank) const {
  if (energy <= 0) return 1;
  double held = 0;
  for (std::size_t i = 0; i < std::min(rank, values.size()); ++i) held += values[i] * values[i];
  return std::min(1.0, held / energy);
}

Result<Spectrum> spectrum(std::uint64_t rows, std::uint64_t columns, const RowReader& read, const Context& context) {
  if (rows == 0 || columns == 0) return Spectrum{};
  if (rows > spectrumLargest / columns)
    return fail("no spectrum of more than " + text::number(spectrumLargest) + " weights: it would take minutes");
  const bool small = std::min(rows, columns) <= exactSide && rows * columns <= exactWeights;
  return small ? smallSpectrum(rows, columns, read, context) : largeSpectrum(rows, columns, read, context);
}

Result<Spectrum> weightSpectrum(const Tensor& tensor, const Context& context) {
  auto answer = spectrum(tensor.rows(), tensor.columns(),
                         [&](std::uint64_t row, std::span<float> out) { return tensor.read(row * tensor.columns(), out); }, context);
  if (!answer) return fail(answer.error().within(tensor.name()));
  NIBBLE_TRY(tensor.intact());
  return answer;
}

Result<Spectrum> errorSpectrum(const Tensor& tensor, const QuantizedTensor& quantized, const Context& context) {
  if (tensor.rows() != quantized.rows || tensor.columns() != quantized.columns)
    return fail(tensor.name() + ": the reconstruction has another shape");
  const auto read = [&](std::uint64_t row, std::span<float> out) -> Status {
    std::vector<float> values(out.size());
    NIBBLE_TRY(tensor.read(row * tensor.columns(), out));
    decode(quantized, row * tensor.columns(), values);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] -= values[i];
    return {};
  };
  auto answer = spectrum(tensor.rows(), tensor.columns(), read, context);
  if (!answer) return fail(answer.error().within(tensor.name()));
  NIBBLE_TRY(tensor.intact());
  return answer;
}

}  // namespace nibble
