// SPDX-License-Identifier: GPL-3.0-or-later
// What a run with quantized weights starts from: which tensors stay float, which are one, first values, parameters.
#include "core/train/bits.h"

#include "core/base/text.h"
#include "core/io/checkpoint.h"
#include "core/schemes/learned.h"
#include "core/train/bits_model.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace nibble::train {
namespace {

constexpr int mostFixedBits = 15, mostLsqBits = 8;

Status checkFor(BitsMethod method, const TrainSettings& settings) {
  NIBBLE_TRY(check(settings.diffq));
  const int most = method == BitsMethod::Lsq ? mostLsqBits : mostFixedBits;
  if (method != BitsMethod::Diffq && (settings.diffq.fixedBits < 2 || settings.diffq.fixedBits > most))
    return fail(settings.method + " has 2 to " + std::to_string(most) + " bits, not " +
                std::to_string(settings.diffq.fixedBits));
  if (method == BitsMethod::Diffq && !settings.noise.empty() && settings.accumulation != 1)
    return fail("noise from a file goes with one pass a step, not " + text::number(settings.accumulation));
  return {};
}

bool sameWeights(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() && a.shape() == b.shape() &&
         (a.bytes().data() == b.bytes().data() || std::equal(a.bytes().begin(), a.bytes().end(), b.bytes().begin()));
}

template <class T>
class Builder {
 public:
  Builder(BitsMethod method, const TrainSettings& settings, const std::vector<BitsValues>& given, bool several)
      : m_method(method), m_given(given), m_several(several) {
    m_parts.settings = settings;
  }

  Result<std::unique_ptr<Trainable>> build(std::vector<LayerData> layers, const std::function<void(const std::string&)>& warn) {
    NIBBLE_TRY(openNoise());
    for (std::size_t i = 0; i < layers.size(); ++i) NIBBLE_TRY(add(layers, i));
    const bool none = std::all_of(m_parts.tensors.begin(), m_parts.tensors.end(),
                                  [](const BitsTensor<T>& tensor) { return tensor.rule->groupLength() == 0; });
    if (none && warn) warn("no tensor is quantized: all are excluded or at most --min-size large");
    for (const BitsValues& values : m_given)
      if (std::none_of(layers.begin(), layers.end(), [&](const LayerData& layer) { return layer.name == values.name; }))
        return fail("first values for " + values.name + ", which does not train");
    return BitsModel<T>::make(std::move(m_parts));
  }

 private:
  Status openNoise() {
    const TrainSettings& settings = m_parts.settings;
    if (settings.noise.empty() || m_method != BitsMethod::Diffq) {
      m_parts.noise = std::make_unique<NoiseSource>(settings.diffq.noiseKind, settings.seed);
      return {};
    }
    auto noise = NoiseSource::read(settings.noise);
    if (!noise) return fail(noise.error());
    m_parts.noise = std::make_unique<NoiseSource>(*std::move(noise));
    return {};
  }

  std::size_t addParameter(const LayerData& layer, const char* name, Shape shape, std::vector<double> values) {
    m_parts.parameters.push_back(Parameter::of((m_several ? layer.name + "/" : std::string()) + name, std::move(shape),
                                               m_parts.settings.numberType(), std::move(values)));
    return m_parts.parameters.size() - 1;
  }

  Status add(std::vector<LayerData>& layers, std::size_t number) {
    LayerData& data = layers[number];
    BitsLayer<T> layer;
    layer.name = data.name;
    layer.rows = data.rows;
    layer.columns = data.columns;
    layer.tokens = data.tokens;
    layer.inputs.assign(data.inputs.begin(), data.inputs.end());
    layer.targets.assign(data.targets.begin(), data.targets.end());
    data.inputs = {};
    data.targets = {};
    layer.tensor = m_parts.tensors.size();
    if (m_parts.settings.diffq.detectBound)
      for (std::size_t before = 0; before < number; ++before)
        if (sameWeights(layers[before].weight, data.weight))
          layer.tensor = std::min(layer.tensor, m_parts.layers[before].tensor);
    if (layer.tensor == m_parts.tensors.size()) NIBBLE_TRY(addTensor(data));
    if (!data.bias.empty()) layer.bias = addParameter(data, "bias", {data.rows}, data.bias);
    m_parts.layers.push_back(std::move(layer));
    return {};
  }

  Status addTensor(const LayerData& data) {
    auto weights = readDoubles(data.weight);
    if (!weights) return fail(weights.error());
    BitsTensor<T> tensor;
    tensor.name = data.name;
    tensor.shape = {data.rows, data.columns};
    tensor.weight = addParameter(data, "weight", tensor.shape, *std::move(weights));
    NIBBLE_TRY(addRule(data, tensor));
    m_parts.tensors.push_back(std::move(tensor));
    return {};
  }

  Status addRule(const LayerData& data, BitsTensor<T>& tensor) {
    const std::vector<double>& weights = m_parts.parameters[tensor.weight].value;
    const DiffqSettings& settings = m_parts.settings.diffq;
    if (leftFloat(settings, data.name, weights.size())) {
      tensor.rule = floatRule<T>(weights.size(), settings.float16);
    } else if (m_method == BitsMethod::Ste) {
      tensor.rule = steRule<T>(weights.size(), settings.fixedBits);
    } else if (m_method == BitsMethod::Lsq) {
      tensor.rule = lsqRule<T>(weights.size(), settings.fixedBits);
      double sum = 0;
      for (const double w : weights) sum += std::fabs(w);
      if (sum == 0) return fail(data.name + ": all weights are 0: there is no step size to start from");
      return addOwn(data, "step", 1, firstStep(sum / static_cast<double>(weights.size()), settings.fixedBits), tensor);
    } else {
      if (settings.group != 0 && weights.size() % settings.group != 0)
        return fail(data.name + ": a group of " + text::number(settings.group) + " does not divide its " +
                    text::number(std::uint64_t{weights.size()}) + " weights");
      tensor.rule = diffqRule<T>(weights.size(), settings, *m_parts.noise, m_parts.tensors.size(), data.name);
      const std::uint64_t groups = weights.size() / tensor.rule->groupLength();
      NIBBLE_TRY(addOwn(data, "logits", groups, BitScale(settings).logitOf(settings.initBits), tensor));
      m_parts.parameters.back().own = OptimizerSettings{"adam", settings.logitsLearningRate};
    }
    return {};
  }

  Status addOwn(const LayerData& data, const char* name, std::uint64_t count, double first, BitsTensor<T>& tensor) {
    std::vector<double> values(count, first);
    for (const BitsValues& given : m_given) {
      if (given.name != data.name) continue;
      if (given.own.size() != count)
        return fail(data.name + ": " + text::number(std::uint64_t{given.own.size()}) + " " + name + " are given, " +
                    text::number(count) + " are needed");
      values = given.own;
    }
    tensor.own = addParameter(data, name, {count}, std::move(values));
    return {};
  }

  BitsMethod m_method;
  const std::vector<BitsValues>& m_given;
  bool m_several;
  BitsParts<T> m_parts;
};

// TENSOR/logits, MODULE/logits, or with one tensor logits alone.
Result<std::vector<BitsValues>> readGiven(const TrainJob& job, const char* what) {
  std::vector<BitsValues> all;
  if (job.settings.init.empty()) return all;
  const auto file = Checkpoint::open(job.settings.init);
  if (!file) return fail(file.error());
  for (const std::string& name : job.tensors) {
    std::vector<std::string> keys{name + "/" + what, moduleName(name) + "/" + what};
    if (job.tensors.size() == 1) keys.emplace_back(what);
    for (const std::string& key : keys) {
      const auto entry = (*file)->find(key);
      if (!entry) continue;
      const auto tensor = (*file)->read(*entry);
      if (!tensor) return fail(tensor.error());
      const std::string place = job.settings.init.string() + ": " + key;
      if (!info(tensor->type()).floating)
        return fail(place + ": " + std::string(info(tensor->type()).name) + " is no floating type");
      auto values = readDoubles(*tensor);
      if (!values) return fail(values.error());
      for (const double value : *values)
        if (!std::isfinite(value)) return fail(place + ": a value is " + text::number(value));
      all.push_back({name, *std::move(values)});
      break;
    }
  }
  if (all.empty()) return fail(job.settings.init.string() + ": no " + what + " of a tensor that trains is in it");
  return all;
}

Result<std::unique_ptr<Trainable>> makeFor(BitsMethod method, const TrainJob& job, const Context& context) {
  NIBBLE_TRY(checkFor(method, job.settings));
  std::vector<BitsValues> given;
  if (method != BitsMethod::Ste) {
    auto values = readGiven(job, method == BitsMethod::Lsq ? "step" : "logits");
    if (!values) return fail(values.error());
    given = *std::move(values);
  }
  auto layers = loadLayers(job, job.settings.loss != LossKind::Sum, context);
  if (!layers) return fail(layers.error());
  return makeBits(method, *std::move(layers), job.settings, given, context, job.warn);
}

}  // namespace

Result<std::unique_ptr<Trainable>> makeBits(BitsMethod method, std::vector<LayerData> layers, const TrainSettings& settings,
                                            const std::vector<BitsValues>& given, const Context&,
                                            const std::function<void(const std::string&)>& warn) try {
  NIBBLE_TRY(checkFor(method, settings));
  const bool several = layers.size() > 1;
  if (settings.numberType() == NumberType::F64)
    return Builder<double>(method, settings, given, several).build(std::move(layers), warn);
  return Builder<float>(method, settings, given, several).build(std::move(layers), warn);
} catch (const std::bad_alloc&) {
  return fail("not enough memory to train");
}

Result<std::unique_ptr<Trainable>> makeDiffq(const TrainJob& job, const Context& context) {
  return makeFor(BitsMethod::Diffq, job, context);
}
Result<std::unique_ptr<Trainable>> makeLsq(const TrainJob& job, const Context& context) {
  return makeFor(BitsMethod::Lsq, job, context);
}
Result<std::unique_ptr<Trainable>> makeSte(const TrainJob& job, const Context& context) {
  return makeFor(BitsMethod::Ste, job, context);
}

}  // namespace nibble::train
