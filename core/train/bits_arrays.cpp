// SPDX-License-Identifier: GPL-3.0-or-later
// What a viewer can look at of the last pass of layers with quantized weights.
#include "core/train/bits_model.h"

#include <algorithm>

namespace nibble::train {
namespace {

template <class Range>
NamedArray arrayOf(std::string_view name, Shape shape, const Range& values) {
  return {std::string(name), std::move(shape), std::vector<double>(values.begin(), values.end())};
}

}  // namespace

template <class T>
std::vector<std::string> BitsModel<T>::arrayNames() const {
  std::vector<std::string> names;
  for (const BitsLayer<T>& layer : m_parts.layers) {
    const BitsTensor<T>& tensor = m_parts.tensors[layer.tensor];
    const std::string first = head(layer.name);
    names.insert(names.end(), {first + "x", first + "noisy"});
    if (!tensor.rule->noise().empty()) names.push_back(first + "noise");
    if (tensor.rule->groupLength() != 0) names.push_back(first + "bits");
    names.insert(names.end(), {first + "y", first + "output"});
    if (!layer.targets.empty()) names.push_back(first + "target");
    if (layer.bias != noParameter) names.push_back(first + "bias");
  }
  for (const Parameter& parameter : m_parts.parameters) {
    const std::size_t slash = parameter.name.rfind('/');
    const std::size_t cut = slash == std::string::npos ? 0 : slash + 1;
    names.push_back(parameter.name.substr(0, cut) + "grad/" + parameter.name.substr(cut));
  }
  return names;
}

template <class T>
Result<NamedArray> BitsModel<T>::array(std::string_view name) const {
  const std::vector<std::string> names = arrayNames();
  if (std::find(names.begin(), names.end(), name) == names.end()) return fail("no array " + std::string(name));
  if (!m_passed) return fail("no step was made yet");
  for (const Parameter& parameter : m_parts.parameters) {
    const std::size_t slash = parameter.name.rfind('/');
    const std::size_t cut = slash == std::string::npos ? 0 : slash + 1;
    if (name == parameter.name.substr(0, cut) + "grad/" + parameter.name.substr(cut))
      return arrayOf(name, parameter.shape, parameter.gradient);
  }
  for (const BitsLayer<T>& layer : m_parts.layers) {
    const std::string first = head(layer.name);
    if (!name.starts_with(first)) continue;
    const std::string_view what = name.substr(first.size());
    const BitsTensor<T>& tensor = m_parts.tensors[layer.tensor];
    const std::span<const T> inputs(layer.inputs.data() + layer.passRows.begin * layer.columns,
                                    layer.passRows.count * layer.columns);
    if (what == "x") return arrayOf(name, {layer.passRows.count, layer.columns}, inputs);
    if (what == "noisy") return arrayOf(name, tensor.shape, tensor.effective);
    if (what == "noise") return arrayOf(name, tensor.shape, tensor.rule->noise());
    if (what == "y" || what == "output") return arrayOf(name, {layer.passRows.count, layer.rows}, layer.output);
    if (what == "bias") return arrayOf(name, {layer.rows}, m_parts.parameters[layer.bias].value);
    if (what == "target")
      return arrayOf(
          name, {layer.passRows.count, layer.rows},
          std::span<const T>(layer.targets.data() + layer.passRows.begin * layer.rows, layer.passRows.count * layer.rows));
    if (what == "bits") {
      // As a matrix where rows consist of whole groups.
      const std::uint64_t length = tensor.rule->groupLength(), inRow = layer.columns % length == 0 ? layer.columns / length : 0;
      return arrayOf(name, inRow == 0 ? Shape{tensor.bits.size()} : Shape{layer.rows, inRow}, tensor.bits);
    }
  }
  return fail("no array " + std::string(name));
}

template std::vector<std::string> BitsModel<float>::arrayNames() const;
template std::vector<std::string> BitsModel<double>::arrayNames() const;
template Result<NamedArray> BitsModel<float>::array(std::string_view) const;
template Result<NamedArray> BitsModel<double>::array(std::string_view) const;

}  // namespace nibble::train
