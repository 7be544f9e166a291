// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/low_rank.h"

#include "core/base/contracts.h"
#include "core/train/random.h"
#include "kernels/backend.h"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>

#include <algorithm>
#include <cmath>

namespace nibble::train {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;
using Eigen::Index;

constexpr std::size_t panelRows = 128;
constexpr Index moreColumns = 16, exactColumns = 512;
constexpr int iterations = 4;

// M Q, panel by panel of M's rows.
Result<Matrix> times(const View& m, const Matrix& q, const Context& context) {
  Matrix product(m.rows(), q.cols());
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (context.stopRequested()) return;
    const auto first = static_cast<Index>(begin), count = static_cast<Index>(end - begin);
    product.middleRows(first, count).noalias() = m.middleRows(first, count) * q;
  };
  context.backend->parallelFor(static_cast<std::size_t>(m.rows()), panelRows, body);
  if (context.stopRequested()) return cancelled();
  return product;
}

// M^T Q, panel by panel of the answer's rows.
Result<Matrix> transposedTimes(const View& m, const Matrix& q, const Context& context) {
  Matrix product(m.cols(), q.cols());
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (context.stopRequested()) return;
    const auto first = static_cast<Index>(begin), count = static_cast<Index>(end - begin);
    product.middleRows(first, count).noalias() = m.middleCols(first, count).transpose() * q;
  };
  context.backend->parallelFor(static_cast<std::size_t>(m.cols()), panelRows, body);
  if (context.stopRequested()) return cancelled();
  return product;
}

Matrix orthonormal(const Matrix& m) {
  const Eigen::HouseholderQR<Matrix> qr(m);
  return qr.householderQ() * Matrix::Identity(m.rows(), m.cols());
}

Matrix sketch(Index rows, Index columns, std::uint64_t seed) {
  const Random random(seed, sketchStream);
  Matrix m(rows, columns);
  for (Index i = 0; i < m.size(); ++i) m.data()[i] = random.gauss(static_cast<std::uint64_t>(i));
  return m;
}

// An orthonormal basis of the rows' most important directions, [columns, k].
Result<Matrix> rowSpace(const View& m, Index k, std::uint64_t seed, const Context& context) {
  if (k == m.cols()) return Matrix(Matrix::Identity(k, k));
  Matrix q = orthonormal(sketch(m.cols(), k, seed));
  for (int i = 0; i < iterations; ++i) {
    const auto left = times(m, q, context);
    if (!left) return left;
    const auto right = transposedTimes(m, orthonormal(*left), context);
    if (!right) return right;
    q = orthonormal(*right);
  }
  return q;
}

void fixSigns(LowRank& answer, Index rows, Index columns) {
  Eigen::Map<Matrix> u(answer.u.data(), rows, static_cast<Index>(answer.rank));
  Eigen::Map<Matrix> v(answer.v.data(), static_cast<Index>(answer.rank), columns);
  for (Index i = 0; i < v.rows(); ++i) {
    Index largest = 0;
    v.row(i).cwiseAbs().maxCoeff(&largest);
    if (v(i, largest) >= 0) continue;
    v.row(i) = -v.row(i);
    u.col(i) = -u.col(i);
  }
}

}  // namespace

Result<LowRank> lowRank(std::span<const double> matrix, std::uint64_t rows, std::uint64_t columns, std::uint64_t rank,
                        std::uint64_t seed, const Context& context) {
  NIBBLE_EXPECTS(matrix.size() == rows * columns && rank <= std::min(rows, columns));
  const View m(matrix.data(), static_cast<Index>(rows), static_cast<Index>(columns));
  const auto r = static_cast<Index>(rank);
  const Index k = m.cols() <= exactColumns ? m.cols() : std::min(m.cols(), r + moreColumns);
  const auto q = rowSpace(m, k, seed, context);
  if (!q) return fail(q.error());
  const auto y = times(m, *q, context);  // M Q = U S (V^T Q)
  if (!y) return fail(y.error());
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(Eigen::MatrixXd(y->transpose() * *y));
  LowRank answer{rank, std::vector<double>(rows * rank), std::vector<double>(rank), std::vector<double>(rank * columns)};
  Eigen::Map<Matrix> u(answer.u.data(), m.rows(), r);
  Eigen::Map<Matrix> v(answer.v.data(), r, m.cols());
  for (Index i = 0; i < r; ++i) {
    const Eigen::VectorXd direction = solver.eigenvectors().col(k - 1 - i);  // they rise
    const Eigen::VectorXd left = *y * direction;
    const double s = left.norm();
    answer.s[static_cast<std::size_t>(i)] = s;
    if (s > 0) u.col(i) = left / s;
    v.row(i) = (*q * direction).transpose();
  }
  fixSigns(answer, m.rows(), m.cols());
  return answer;
}

}  // namespace nibble::train
