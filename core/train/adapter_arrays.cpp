// SPDX-License-Identifier: GPL-3.0-or-later
// What a viewer can look at of an adapter's last pass.
#include "core/train/adapter_layer.h"

#include <algorithm>

namespace nibble::train {
namespace {

using Eigen::Index;

template <class Derived>
NamedArray arrayOf(std::string_view name, const Eigen::DenseBase<Derived>& matrix) {
  NamedArray array{
      std::string(name), {static_cast<std::uint64_t>(matrix.rows()), static_cast<std::uint64_t>(matrix.cols())}, {}};
  array.values.resize(static_cast<std::size_t>(matrix.size()));
  Eigen::Map<RowMatrix<double>>(array.values.data(), matrix.rows(), matrix.cols()) = matrix.derived().template cast<double>();
  return array;
}

NamedArray vectorOf(std::string_view name, const std::vector<double>& values) {
  return {std::string(name), {values.size()}, values};
}

}  // namespace

template <class T>
RowMatrix<T> AdapterLayer<T>::effective() const {
  RowMatrix<T> v = baseView();
  v.noalias() += static_cast<T>(m_scale) * m_work.b * m_work.a;
  return v;
}

// H V = H W + s (H B) A.
template <class T>
RowMatrix<T> AdapterLayer<T>::inputGradient() const {
  const Index n = m_work.z.rows(), out = m_work.z.cols();
  RowMatrix<T> h(n, out);
  lossOf({0, out}, &h);
  for (Index row = 0; row < n; ++row)
    for (Index j = 0; j < out; ++j) h(row, j) *= static_cast<T>(m_work.factor[static_cast<std::size_t>(j)]);
  const RowMatrix<T> hb = h * m_work.b;
  RowMatrix<T> gradient = h * baseView();
  gradient.noalias() += static_cast<T>(m_scale) * hb * m_work.a;
  return gradient;
}

template <class T>
std::vector<std::string> AdapterLayer<T>::arrayNames() const {
  std::vector<std::string> names{"x", "W0", "A", "B", "BA", "V", "norm"};
  if (trainsMagnitude()) names.emplace_back("magnitude");
  names.insert(names.end(), {"z", "y", "output"});
  if (!m_parts.bias.empty()) names.emplace_back("bias");
  if (!m_parts.targets.empty()) names.emplace_back("target");
  for (const Parameter& parameter : m_parts.parameters) names.push_back("grad/" + parameter.name);
  names.emplace_back("grad/x");
  return names;
}

template <class T>
Result<NamedArray> AdapterLayer<T>::array(std::string_view name) const {
  const std::vector<std::string> names = arrayNames();
  if (std::find(names.begin(), names.end(), name) == names.end()) return fail(m_parts.name + ": no array " + std::string(name));
  if (m_work.z.size() == 0) return fail(m_parts.name + ": no step was made yet");
  if (name == "x") return arrayOf(name, inputView(m_work.rows));
  if (name == "W0") return arrayOf(name, baseView());
  if (name == "A") return arrayOf(name, m_work.a);
  if (name == "B") return arrayOf(name, m_work.b);
  if (name == "BA") return arrayOf(name, RowMatrix<T>(static_cast<T>(m_scale) * m_work.b * m_work.a));
  if (name == "V") return arrayOf(name, effective());
  if (name == "norm") return vectorOf(name, m_work.norm);
  if (name == "magnitude") return vectorOf(name, m_work.magnitude);
  if (name == "z") return arrayOf(name, m_work.z);
  if (name == "bias") return vectorOf(name, m_parts.bias);
  if (name == "grad/x") return arrayOf(name, inputGradient());
  if (name == "target") {
    const MatrixView<T> target(m_parts.targets.data() + m_work.rows.begin * m_parts.rows, static_cast<Index>(m_work.rows.count),
                               static_cast<Index>(m_parts.rows));
    return arrayOf(name, target);
  }
  for (const Parameter& parameter : m_parts.parameters)
    if (name == "grad/" + parameter.name) return NamedArray{std::string(name), parameter.shape, parameter.gradient};
  RowMatrix<T> y(m_work.z.rows(), m_work.z.cols());
  for (Index row = 0; row < y.rows(); ++row)
    for (Index j = 0; j < y.cols(); ++j) y(row, j) = outputOf(row, j);
  return arrayOf(name, y);
}

template RowMatrix<float> AdapterLayer<float>::effective() const;
template RowMatrix<double> AdapterLayer<double>::effective() const;
template RowMatrix<float> AdapterLayer<float>::inputGradient() const;
template RowMatrix<double> AdapterLayer<double>::inputGradient() const;
template std::vector<std::string> AdapterLayer<float>::arrayNames() const;
template std::vector<std::string> AdapterLayer<double>::arrayNames() const;
template Result<NamedArray> AdapterLayer<float>::array(std::string_view) const;
template Result<NamedArray> AdapterLayer<double>::array(std::string_view) const;

}  // namespace nibble::train
