// SPDX-License-Identifier: GPL-3.0-or-later
// The benchmark's rows of training: one step of DoRA, and the matrix products it consists of in Eigen alone, on one thread.
#include "core/run/bench_rows.h"
#include "core/train/adapter.h"
#include "core/train/stepper.h"

#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace nibble::benchmarks {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using View = Eigen::Map<const Matrix>;
using Eigen::Index;

constexpr Index rank = 16, tokens = 256;

// The largest square layer that the buffers hold, up to 4096.
std::uint64_t sideOf(const Buffers& buffers) {
  const auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(buffers.weights().size())));
  return std::clamp<std::uint64_t>(root / 64 * 64, 64, 4096);
}

Result<std::unique_ptr<train::Stepper>> makeStepper(const Buffers& buffers, std::uint64_t side, const Context& context) {
  train::TrainSettings settings;
  settings.method = "dora";
  settings.adapter.rank = static_cast<std::uint64_t>(rank);
  const Tensor weight("benchmark", DType::F32, {side, side}, std::as_bytes(buffers.weights().first(side * side)),
                      buffers.owner());
  settings.data.rows = static_cast<std::uint64_t>(tokens);
  train::LayerData layer{"benchmark", side, side, settings.data.rows, weight, {}, train::drawInputs(settings.data, side, 0),
                         {}};
  layer.targets.assign(settings.data.rows * side, 1.0);
  auto made = train::makeAdapter(std::move(layer), settings, {}, context);
  if (!made) return fail(made.error());
  return std::make_unique<train::Stepper>(*std::move(made), settings, std::vector<std::string>{"benchmark"}, 0);
}

// Everything the products read and write, made once.
struct Products {
  View w;
  Matrix x, a, b, g, xa, z, wa, gradientB, hb, gradientA;
  Products(const Buffers& buffers, Index side)
      : w(buffers.weights().data(), side, side),
        x(Matrix::Random(tokens, side)),
        a(Matrix::Random(rank, side)),
        b(Matrix::Random(side, rank)),
        g(Matrix::Random(tokens, side)) {}
  void run() {
    xa.noalias() = x * a.transpose();
    z.noalias() = x * w.transpose();
    z.noalias() += xa * b.transpose();
    wa.noalias() = w * a.transpose();
    gradientB.noalias() = g.transpose() * xa;
    hb.noalias() = g * b;
    gradientA.noalias() = hb.transpose() * x;
  }
};

}  // namespace

void addTrainRows(std::vector<Row>& rows, Buffers& buffers, const Context& context) {
  if (buffers.weights().size() < 64 * 64) return;
  const std::uint64_t side = sideOf(buffers);
  const std::string size = std::to_string(side) + " x " + std::to_string(side) + ", rank 16, 256 rows";
  // Made at the first repetition: the best of several counts.
  auto stepper = std::make_shared<std::unique_ptr<train::Stepper>>();
  rows.push_back({"training step " + size, side * side, 0, [&buffers, &context, side, stepper]() -> Status {
                    if (*stepper == nullptr) {
                      auto made = makeStepper(buffers, side, context);
                      if (!made) return fail(made.error());
                      *stepper = *std::move(made);
                    }
                    const auto record = (*stepper)->step(context);
                    return record ? Status() : fail(record.error());
                  }});
  auto products = std::make_shared<std::unique_ptr<Products>>();
  rows.push_back({"its matrix products in Eigen alone " + size, side * side, 0, [&buffers, side, products]() -> Status {
                    if (*products == nullptr) *products = std::make_unique<Products>(buffers, static_cast<Index>(side));
                    (*products)->run();
                    return {};
                  }});
}

}  // namespace nibble::benchmarks
