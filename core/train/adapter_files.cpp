// SPDX-License-Identifier: GPL-3.0-or-later
// What comes out of training an adapter: a PEFT adapter folder (adapter_config.json, adapter_model.safetensors under PEFT's key
// names: base_model.model.MODULE.lora_A.weight, .lora_B.weight, .lora_magnitude_vector) and the merged weights,
//   W' = diag(g m / n) (W + s BA)
// with what it costs to put them back into the base's quantization.
#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "core/train/adapter_layer.h"
#include "core/train/tensor_file.h"
#include "kernels/backend.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <utility>

namespace nibble::train {
namespace {

using Eigen::Index;
using Json = nlohmann::ordered_json;

constexpr std::size_t tileRows = 256;

RawTensor floats(std::string name, Shape shape, const std::vector<double>& values) {
  RawTensor tensor{std::move(name), DType::F32, std::move(shape), std::vector<std::byte>(values.size() * sizeof(float)), {}};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<float>(values[i]);
    std::memcpy(tensor.owned.data() + i * sizeof(float), &value, sizeof(float));
  }
  return tensor;
}

// Weights as large as the layer are written from where they are; of doubles, `room` takes the floats.
template <class T>
RawTensor borrowedFloats(std::string name, Shape shape, std::span<const T> values, std::vector<float>& room) {
  if constexpr (std::is_same_v<T, float>) {
    return {std::move(name), DType::F32, std::move(shape), {}, std::as_bytes(values)};
  } else {
    room.assign(values.begin(), values.end());
    return {std::move(name), DType::F32, std::move(shape), {}, std::as_bytes(std::span(std::as_const(room)))};
  }
}

// PEFT scales BA by lora_alpha / r, or lora_alpha / sqrt(r) with use_rslora. A variant without a scale is s = 1, lora_alpha =
// r.
Json configOf(const std::string& module, const TrainSettings& settings, const std::string& method, double scale) {
  const auto rank = static_cast<double>(settings.adapter.rank);
  const bool rootRank =
      settings.adapter.variant == Variant::Peft && (method == "rslora" || settings.adapter.scaling == Scaling::SqrtRank);
  const double alpha = rootRank ? settings.adapter.alpha : scale * rank;
  Json json;
  json["peft_type"] = "LORA";
  json["task_type"] = nullptr;
  json["base_model_name_or_path"] = nullptr;
  json["inference_mode"] = true;
  json["r"] = settings.adapter.rank;
  json["lora_alpha"] = alpha;
  if (std::nearbyint(alpha) == alpha && std::fabs(alpha) < 1e9) json["lora_alpha"] = static_cast<std::int64_t>(alpha);
  json["lora_dropout"] = 0.0;
  json["target_modules"] = {module};
  json["bias"] = "none";
  json["fan_in_fan_out"] = false;
  json["init_lora_weights"] = true;
  json["modules_to_save"] = nullptr;
  json["use_rslora"] = rootRank;
  json["use_dora"] = hasMagnitude(method);
  return json;
}

double decibels(double signal, double noise) {
  return 10 * std::log10(signal / noise);
}

}  // namespace

template <class T>
std::vector<T> AdapterLayer<T>::merged() {
  start({0, m_parts.tokens});
  for (std::uint64_t begin = 0; begin < m_parts.rows; begin += tileRows) {
    const Tile tile{static_cast<Index>(begin), static_cast<Index>(std::min<std::uint64_t>(tileRows, m_parts.rows - begin))};
    forward(tile);
  }
  std::vector<T> weights(m_parts.rows * m_parts.columns);
  Eigen::Map<RowMatrix<T>> into(weights.data(), static_cast<Index>(m_parts.rows), static_cast<Index>(m_parts.columns));
  into = baseView();
  into.noalias() += static_cast<T>(m_scale) * m_work.b * m_work.a;
  for (Index i = 0; i < into.rows(); ++i) into.row(i) *= static_cast<T>(m_work.factor[static_cast<std::size_t>(i)]);
  return weights;
}

template <class T>
Result<double> AdapterLayer<T>::plainLoss(std::span<const T> weights, const Context& context) const {
  std::vector<double> sums((m_parts.rows + tileRows - 1) / tileRows);
  const RowRange all{0, m_parts.tokens};
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (context.stopRequested()) return;
    const MatrixView<T> tile(weights.data() + begin * m_parts.columns, static_cast<Index>(end - begin),
                             static_cast<Index>(m_parts.columns));
    const RowMatrix<T> y = inputView(all) * tile.transpose();
    for (Index row = 0; row < y.rows(); ++row)
      for (Index j = 0; j < y.cols(); ++j) {
        const std::size_t output = begin + static_cast<std::size_t>(j);
        const double value = static_cast<double>(y(row, j)) + (m_parts.bias.empty() ? 0 : m_parts.bias[output]);
        if (m_parts.targets.empty()) {
          sums[begin / tileRows] += value;
        } else {
          const double error =
              value - static_cast<double>(m_parts.targets[static_cast<std::size_t>(row) * m_parts.rows + output]);
          sums[begin / tileRows] += error * error;
        }
      }
  };
  context.backend->parallelFor(m_parts.rows, tileRows, body);
  if (context.stopRequested()) return cancelled();
  const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  return m_parts.targets.empty() ? sum : sum / static_cast<double>(m_parts.targets.size());
}

template <class T>
Result<std::vector<T>> AdapterLayer<T>::requantized(std::span<const T> weights, const Context& context) const {
  const Shape shape{m_parts.rows, m_parts.columns};
  const auto measured = [&](const Tensor& tensor) -> Result<std::vector<float>> {
    const auto outcome = nibble::run(tensor, *m_parts.choice, context);
    if (!outcome) return fail(outcome.error());
    return decodeAll(*outcome->quantized);
  };
  if constexpr (std::is_same_v<T, float>) {  // as large as the layer: no copy
    return measured(Tensor(m_parts.name, DType::F32, shape, std::as_bytes(weights), nullptr));
  } else {
    const auto decoded = measured(Tensor::fromFloats(m_parts.name, shape, std::vector<float>(weights.begin(), weights.end())));
    if (!decoded) return fail(decoded.error());
    return std::vector<T>(decoded->begin(), decoded->end());
  }
}

template <class T>
Result<std::vector<Figure>> AdapterLayer<T>::finalFigures(const Context& context) {
  std::vector<Figure> figures;
  const auto add = [&](const std::string& key, Result<double> loss) -> Status {
    if (!loss) return fail(loss.error());
    figures.push_back({key, *loss});
    return {};
  };
  NIBBLE_TRY(add("baseLoss", plainLoss(m_parts.base, context)));
  const std::vector<T> weights = merged();
  NIBBLE_TRY(add("mergedLoss", plainLoss(weights, context)));
  if (!m_parts.choice) return figures;
  const auto again = requantized(weights, context);
  if (!again) return fail(again.error());
  NIBBLE_TRY(add("requantizedLoss", plainLoss(*again, context)));
  double signal = 0, noise = 0, change = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto w = static_cast<double>(weights[i]), error = w - static_cast<double>((*again)[i]);
    signal += w * w;
    noise += error * error;
    change += (*again)[i] != m_parts.base[i] ? 1 : 0;
  }
  figures.push_back({"requantizedWeightMse", noise / static_cast<double>(weights.size())});
  if (noise > 0) figures.push_back({"requantizedWeightSqnrDb", decibels(signal, noise)});
  figures.push_back({"requantizedShareChanged", change / static_cast<double>(weights.size())});
  return figures;
}

template <class T>
Result<std::vector<std::string>> AdapterLayer<T>::write(const std::filesystem::path& folder, const Context&) {
  const std::string module = moduleName(m_parts.name), head = "base_model.model." + module + ".";
  std::vector<RawTensor> tensors;
  const std::vector<Parameter>& parameters = m_parts.parameters;
  tensors.push_back(floats(head + "lora_A.weight", parameters[0].shape, parameters[0].value));
  tensors.push_back(floats(head + "lora_B.weight", parameters[1].shape, parameters[1].value));
  if (trainsMagnitude()) {
    std::vector<double> magnitude = parameters[2].value;
    for (double& m : magnitude) m *= m_gain;
    tensors.push_back(floats(head + "lora_magnitude_vector", parameters[2].shape, magnitude));
  }
  NIBBLE_TRY(writeTensors(folder / "adapter_model.safetensors", tensors));
  const std::string config = configOf(module, m_parts.settings, m_parts.method, m_scale).dump(2) + "\n";
  NIBBLE_TRY(writeFileAtomically(folder / "adapter_config.json", config));
  const std::vector<T> weights = merged();
  std::vector<float> room;
  NIBBLE_TRY(writeTensors(folder / "merged.safetensors",
                          {borrowedFloats<T>(m_parts.name, {m_parts.rows, m_parts.columns}, weights, room)}));
  return std::vector<std::string>{"adapter_model.safetensors", "adapter_config.json", "merged.safetensors"};
}

template std::vector<float> AdapterLayer<float>::merged();
template std::vector<double> AdapterLayer<double>::merged();
template Result<double> AdapterLayer<float>::plainLoss(std::span<const float>, const Context&) const;
template Result<double> AdapterLayer<double>::plainLoss(std::span<const double>, const Context&) const;
template Result<std::vector<float>> AdapterLayer<float>::requantized(std::span<const float>, const Context&) const;
template Result<std::vector<double>> AdapterLayer<double>::requantized(std::span<const double>, const Context&) const;
template Result<std::vector<Figure>> AdapterLayer<float>::finalFigures(const Context&);
template Result<std::vector<Figure>> AdapterLayer<double>::finalFigures(const Context&);
template Result<std::vector<std::string>> AdapterLayer<float>::write(const std::filesystem::path&, const Context&);
template Result<std::vector<std::string>> AdapterLayer<double>::write(const std::filesystem::path&, const Context&);

}  // namespace nibble::train
