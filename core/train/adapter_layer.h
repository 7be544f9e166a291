// SPDX-License-Identifier: GPL-3.0-or-later
// The arithmetic of adapter.h in one working type. Internal to core/train: only its own sources include this.
#pragma once
#include "core/run/choice.h"
#include "core/train/adapter.h"

#include <Eigen/Core>

namespace nibble::train {

template <class T>
using RowMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using MatrixView = Eigen::Map<const RowMatrix<T>>;

// What an adapter is made from, besides its parameters.
template <class T>
struct AdapterParts {
  std::string name, method;
  std::uint64_t rows = 0, columns = 0, tokens = 0;
  std::vector<T> base;             // [rows, columns]
  std::vector<T> inputs, targets;  // [tokens, columns], [tokens, rows] (empty for LossKind::Sum)
  std::vector<double> bias;        // empty: none
  TrainSettings settings;
  std::optional<Choice> choice;       // how the base was quantized
  std::vector<Parameter> parameters;  // A, B, and with a magnitude "magnitude"
};

template <class T>
class AdapterLayer final : public Trainable {
 public:
  explicit AdapterLayer(AdapterParts<T> parts);

  using Trainable::parameters;
  std::vector<Parameter>& parameters() override { return m_parts.parameters; }
  Result<double> pass(const Pass& pass, const Context& context) override;
  Result<double> evaluate(const Context& context) override;
  [[nodiscard]] std::vector<Figure> figures() const override;
  [[nodiscard]] std::vector<std::string> arrayNames() const override;
  [[nodiscard]] Result<NamedArray> array(std::string_view name) const override;
  Result<std::vector<Figure>> finalFigures(const Context& context) override;
  Result<std::vector<std::string>> write(const std::filesystem::path& folder, const Context& context) override;
  [[nodiscard]] std::uint64_t dataChecksum() const override { return m_checksum; }

 private:
  // What one pass works on and leaves behind.
  struct Work {
    RowRange rows;
    RowMatrix<T> a, b, xa, wa, z;                 // [r, in], [out, r], [n, r], [out, r], [n, out]
    RowMatrix<double> aat;                        // A A^T
    std::vector<double> magnitude, norm, factor;  // [out]; factor = g m / n
  };
  // What a tile of outputs adds to sums over all of them.
  struct Sums {
    double loss = 0;
    RowMatrix<T> hb, normA;   // H B [n, r]; (k B)^T W [r, in]
    RowMatrix<double> normB;  // (k B)^T B [r, r]
  };
  struct Tile {
    Eigen::Index begin, count;
  };

  [[nodiscard]] bool trainsMagnitude() const { return m_parts.parameters.size() == 3; }
  [[nodiscard]] MatrixView<T> baseView() const;
  [[nodiscard]] MatrixView<T> inputView(const RowRange& rows) const;
  void start(const RowRange& rows);
  Result<double> run(const RowRange& rows, double weight, bool gradients, const Context& context);
  void forward(const Tile& tile);
  void findNorms(const Tile& tile);
  // Loss of the tile, and its dLoss/dy into `gradient` [n, tile] where that is wanted.
  double lossOf(const Tile& tile, RowMatrix<T>* gradient) const;
  void backward(const Tile& tile, double weight, Sums& sums);
  void normBackward(const Tile& tile, double weight, const std::vector<double>& products, Sums& sums);
  void addSums(const std::vector<Sums>& sums, double weight);
  [[nodiscard]] T outputOf(Eigen::Index row, Eigen::Index output) const;
  void settle(Eigen::Ref<RowMatrix<T>> values) const;
  [[nodiscard]] double settled(double value) const { return m_half ? storedAs(NumberType::F16, value) : value; }
  [[nodiscard]] RowMatrix<T> effective() const;  // V
  [[nodiscard]] RowMatrix<T> inputGradient() const;
  // Weights that need no adapter, from the current parameters.
  [[nodiscard]] std::vector<T> merged();
  // The loss over all rows of a plain layer with these weights [out, in].
  Result<double> plainLoss(std::span<const T> weights, const Context& context) const;
  Result<std::vector<T>> requantized(std::span<const T> weights, const Context& context) const;

  AdapterParts<T> m_parts;
  double m_scale, m_gain;
  bool m_half;
  std::vector<double> m_baseSquares, m_startMagnitude;
  std::uint64_t m_checksum;
  Work m_work;
};

extern template class AdapterLayer<float>;
extern template class AdapterLayer<double>;

}  // namespace nibble::train
