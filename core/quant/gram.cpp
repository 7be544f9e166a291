// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/gram.h"

#include "core/base/contracts.h"
#include "core/quant/encode.h"

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

using Index = Eigen::Index;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixView = Eigen::Map<Matrix>;
using SampleView = Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

constexpr Index tile = 128;
constexpr Index tokensAtOnce = 512;

Index tileCount(Index n) { return (n + tile - 1) / tile; }

// Rows or columns of one tile.
struct Part {
  Index begin, size;
};
Part part(Index number, Index n) { return {number * tile, std::min(tile, n - number * tile)}; }

// Calls body(0) .. body(count - 1) over the backend's threads.
template <class Body>
Status forEach(Index count, const Context& context, const Body& body) {
  return forEachPiece(static_cast<std::uint64_t>(count), 1, 0, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    for (std::uint64_t i = begin; i < end; ++i) NIBBLE_TRY(body(static_cast<Index>(i)));
    return {};
  });
}

// U with A = U U^T, upper triangular: the lower factor of A seen from its last corner.
bool upperFactor(Matrix& block) {
  const Eigen::LLT<Matrix> lower(Matrix(block.reverse()));
  if (lower.info() != Eigen::Success) return false;
  block = Matrix(lower.matrixL()).reverse();
  return block.diagonal().allFinite() && block.diagonal().minCoeff() > 0;
}

// H = U U^T in the upper triangle, panel by panel from the last.
Status factor(MatrixView& h, const Context& context) {
  const Index n = h.rows();
  for (Index k = tileCount(n) - 1; k >= 0; --k) {
    const Part last = part(k, n);
    Matrix corner = h.block(last.begin, last.begin, last.size, last.size);
    corner.triangularView<Eigen::StrictlyLower>() = corner.transpose();
    if (!upperFactor(corner)) return fail("not positive definite");
    h.block(last.begin, last.begin, last.size, last.size) = corner;
    const Matrix transposed = corner.transpose();
    NIBBLE_TRY(forEach(k, context, [&](Index i) -> Status {
      auto above = h.block(part(i, n).begin, last.begin, tile, last.size);
      transposed.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(above);
      return {};
    }));
    NIBBLE_TRY(forEach(k, context, [&](Index j) -> Status {
      const Part column = part(j, n);
      const Index rows = column.begin + column.size;
      h.block(0, column.begin, rows, column.size).noalias() -=
          h.block(0, last.begin, rows, last.size) * h.block(column.begin, last.begin, column.size, last.size).transpose();
      return {};
    }));
  }
  return {};
}

// V = U^-1. Tile columns are independent; V goes transposed below the diagonal while U above it is still read.
Status invert(MatrixView& h, const Context& context) {
  const Index n = h.rows();
  std::vector<Matrix> corners(static_cast<std::size_t>(tileCount(n)));
  NIBBLE_TRY(forEach(tileCount(n), context, [&](Index j) -> Status {
    const Part column = part(j, n);
    const auto corner = h.block(column.begin, column.begin, column.size, column.size);
    Matrix inverse = Matrix::Identity(column.size, column.size);
    corner.triangularView<Eigen::Upper>().solveInPlace(inverse);
    corners[static_cast<std::size_t>(j)] = std::move(inverse);
    return {};
  }));
  NIBBLE_TRY(forEach(tileCount(n), context, [&](Index j) -> Status {
    const Part column = part(j, n);
    Matrix v(column.begin + column.size, column.size);
    v.bottomRows(column.size) = corners[static_cast<std::size_t>(j)];
    for (Index i = j - 1; i >= 0; --i) {
      if (context.stopRequested()) return cancelled();
      const Index below = (i + 1) * tile, depth = v.rows() - below;
      v.middleRows(i * tile, tile).noalias() =
          -(corners[static_cast<std::size_t>(i)] * (h.block(i * tile, below, tile, depth) * v.bottomRows(depth)));
    }
    h.block(column.begin, 0, column.size, column.begin) = v.topRows(column.begin).transpose();
    return {};
  }));
  for (Index j = 0; j < tileCount(n); ++j) {
    const Part column = part(j, n);
    h.block(column.begin, column.begin, column.size, column.size) = corners[static_cast<std::size_t>(j)];
    if (context.stopRequested()) return cancelled();
    h.block(0, column.begin, column.begin, column.size) = h.block(column.begin, 0, column.size, column.begin).transpose();
    h.block(column.begin, 0, column.size, column.begin).setZero();
  }
  return {};
}

}  // namespace

Result<std::vector<double>> gramMatrix(const LayerInputs& inputs, const Context& context) {
  if (!inputs.gram.empty()) return inputs.gram;
  NIBBLE_EXPECTS(!inputs.samples.empty());
  const auto n = static_cast<Index>(inputs.channels), tokens = static_cast<Index>(inputs.tokens);
  const SampleView x(inputs.samples.data(), tokens, n);
  std::vector<double> sums(inputs.channels * inputs.channels);
  MatrixView gram(sums.data(), n, n);
  NIBBLE_TRY(forEach(tileCount(n), context, [&](Index j) -> Status {
    const Part column = part(j, n);
    for (Index begin = 0; begin < tokens; begin += tokensAtOnce) {
      const Index count = std::min(tokensAtOnce, tokens - begin);
      const Matrix right = x.block(begin, column.begin, count, column.size).cast<double>();
      for (Index i = 0; i <= j; ++i) {
        if (context.stopRequested()) return cancelled();
        const Part row = part(i, n);
        const Matrix left = x.block(begin, row.begin, count, row.size).cast<double>();
        gram.block(row.begin, column.begin, row.size, column.size).noalias() += left.transpose() * right;
      }
    }
    for (Index i = 0; i <= j; ++i) {
      const Part row = part(i, n);
      const Matrix sum = gram.block(row.begin, column.begin, row.size, column.size);
      gram.block(column.begin, row.begin, column.size, row.size) = sum.transpose();
    }
    return {};
  }));
  return sums;
}

Status factorOfInverse(std::span<double> matrix, std::uint64_t n, const Context& context) {
  NIBBLE_EXPECTS(matrix.size() == n * n);
  MatrixView h(matrix.data(), static_cast<Index>(n), static_cast<Index>(n));
  NIBBLE_TRY(factor(h, context));
  return invert(h, context);
}

}  // namespace nibble
