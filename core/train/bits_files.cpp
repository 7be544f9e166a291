// SPDX-License-Identifier: GPL-3.0-or-later
// What comes out of training with quantized weights, in one folder:
//   weights.safetensors  the trained weights and biases under their own names, float32; what stays float is float16 where it is
//                        stored so
//   bits.safetensors     learned bits of each group, extra bits not included, by tensor name
//   recipe.json          the choice of each tensor; files it names are beside it
// `export weights.safetensors --recipe recipe.json` makes the layers that evaluate() measures.
#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/train/bits_model.h"
#include "core/train/tensor_file.h"
#include "kernels/math/minifloat.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cstring>
#include <numeric>

namespace nibble::train {
namespace {

using Json = nlohmann::ordered_json;

const std::string bitsFile = "bits.safetensors", weightsFile = "weights.safetensors", recipeFile = "recipe.json";

template <class Number, class Convert>
RawTensor rawOf(std::string name, DType type, Shape shape, const std::vector<double>& values, const Convert& convert) {
  RawTensor tensor{std::move(name), type, std::move(shape), std::vector<std::byte>(values.size() * sizeof(Number)), {}};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Number number = convert(values[i]);
    std::memcpy(tensor.owned.data() + i * sizeof(Number), &number, sizeof(Number));
  }
  return tensor;
}

RawTensor floats(std::string name, Shape shape, const std::vector<double>& values) {
  return rawOf<float>(std::move(name), DType::F32, std::move(shape), values,
                      [](double value) { return static_cast<float>(value); });
}

}  // namespace

template <class T>
RawTensor BitsModel<T>::stored(const Parameter& parameter, std::string name, Shape shape, bool leftFloat) const {
  if (!leftFloat || !m_parts.settings.diffq.float16) return floats(std::move(name), std::move(shape), parameter.value);
  return rawOf<std::uint16_t>(std::move(name), DType::F16, std::move(shape), parameter.value, [](double value) {
    return kernels::floatToHalf(static_cast<float>(storedAs(NumberType::F16, value)));
  });
}

template <class T>
Result<std::vector<std::string>> BitsModel<T>::write(const std::filesystem::path& folder, const Context&) {
  std::vector<RawTensor> weights, bits;
  Json assignments = Json::array();
  for (const BitsLayer<T>& layer : m_parts.layers) {
    const BitsTensor<T>& tensor = m_parts.tensors[layer.tensor];
    const bool leftFloat = tensor.rule->groupLength() == 0;
    weights.push_back(stored(m_parts.parameters[tensor.weight], layer.name, tensor.shape, leftFloat));
    if (const auto bias = biasName(layer.name); bias && layer.bias != noParameter)
      weights.push_back(stored(m_parts.parameters[layer.bias], *bias, {layer.rows}, true));
    const std::vector<double> learned = tensor.rule->learnedBits(ownOf(tensor));
    if (!learned.empty()) bits.push_back(floats(layer.name, {learned.size()}, learned));
    assignments.push_back(
        {{"tensor", layer.name}, {"scheme", leftFloat ? "skip" : tensor.rule->choice(ownOf(tensor), bitsFile)}});
  }
  Json recipe;
  recipe["method"] = m_parts.settings.method;
  recipe["lambda"] = m_parts.settings.diffq.lambda;
  recipe["sizeMb"] = sizeMb(false);
  recipe["trueSizeMb"] = sizeMb(true);
  recipe["assignments"] = assignments;
  NIBBLE_TRY(writeTensors(folder / weightsFile, weights));
  std::vector<std::string> files{weightsFile};
  if (!bits.empty()) {
    NIBBLE_TRY(writeTensors(folder / bitsFile, bits));
    files.push_back(bitsFile);
  }
  NIBBLE_TRY(writeFileAtomically(folder / recipeFile, recipe.dump(2) + "\n"));
  files.push_back(recipeFile);
  return files;
}

template <class T>
Result<std::vector<Figure>> BitsModel<T>::finalFigures(const Context& context) {
  std::vector<std::vector<T>> current;
  double weights = 0, bits = 0;
  for (const BitsTensor<T>& tensor : m_parts.tensors) {
    const std::vector<double>& values = m_parts.parameters[tensor.weight].value;
    current.emplace_back(values.begin(), values.end());
    if (tensor.rule->groupLength() == 0) continue;
    weights += static_cast<double>(values.size());
    bits += tensor.rule->trueSize(ownOf(tensor));
  }
  const auto unquantized = lossOf(current, false, context);
  if (!unquantized) return fail(unquantized.error());
  const auto loss = evaluate(context);  // last, so that each layer's loss is the finished one
  if (!loss) return fail(loss.error());
  std::vector<Figure> figures{{"floatLoss", *unquantized}, {"sizeMb", sizeMb(false)}, {"trueSizeMb", sizeMb(true)}};
  if (weights > 0) figures.push_back({"bitsPerWeight", bits / weights});
  addBitFigures(figures, true);
  if (m_parts.layers.size() > 1)
    for (const BitsLayer<T>& layer : m_parts.layers) figures.push_back({layer.name + "/loss", layer.loss});
  // How many groups have so many bits.
  const auto addCounts = [&](const std::string& first, const std::vector<const BitsTensor<T>*>& tensors) {
    std::array<double, 16> counts{};
    for (const BitsTensor<T>* tensor : tensors)
      for (const double b : tensor->rule->bits(ownOf(*tensor))) counts[static_cast<std::size_t>(trueBits(b))] += 1;
    for (std::size_t b = 0; b < counts.size(); ++b)
      if (counts[b] > 0) figures.push_back({first + "groupsOf" + std::to_string(b) + "Bits", counts[b]});
  };
  std::vector<const BitsTensor<T>*> all;
  for (const BitsTensor<T>& tensor : m_parts.tensors) all.push_back(&tensor);
  addCounts("", all);
  if (m_parts.layers.size() > 1)
    for (const BitsTensor<T>* tensor : all) addCounts(tensor->name + "/", {tensor});
  return figures;
}

template Result<std::vector<std::string>> BitsModel<float>::write(const std::filesystem::path&, const Context&);
template Result<std::vector<std::string>> BitsModel<double>::write(const std::filesystem::path&, const Context&);
template Result<std::vector<Figure>> BitsModel<float>::finalFigures(const Context&);
template Result<std::vector<Figure>> BitsModel<double>::finalFigures(const Context&);
template RawTensor BitsModel<float>::stored(const Parameter&, std::string, Shape, bool) const;
template RawTensor BitsModel<double>::stored(const Parameter&, std::string, Shape, bool) const;

}  // namespace nibble::train
