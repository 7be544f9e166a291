// SPDX-License-Identifier: GPL-3.0-or-later
// How an adapter begins: the base, quantized or not, and the first values of A, B and the magnitude.
#include "core/train/adapter.h"

#include "core/base/text.h"
#include "core/io/checkpoint.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "core/train/adapter_layer.h"
#include "core/train/low_rank.h"
#include "core/train/random.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace nibble::train {
namespace {

using Eigen::Index;

// T is the type the run computes in: the base is never kept in a wider one.
template <class T>
struct Start {
  std::vector<double> a, b, magnitude;
  std::vector<T> base;  // [out, in]
  std::optional<Choice> choice;
};

AdapterStart startOf(const AdapterSettings& settings) {
  if (settings.start != AdapterStart::ByVariant) return settings.start;
  return settings.variant == Variant::Document000 ? AdapterStart::Zero : AdapterStart::Kaiming;
}

constexpr std::uint64_t stripWeights = 65536;

// read(begin, part) for one strip of whole rows after the other, as numbers of the type.
template <class T, class Part, class Read>
Result<std::vector<T>> byStrips(const Tensor& weight, const Context& context, const Read& read) {
  std::vector<T> values(weight.size());
  std::vector<Part> part;
  const std::uint64_t strip = weight.columns() * std::max<std::uint64_t>(1, stripWeights / weight.columns());
  for (std::uint64_t begin = 0; begin < values.size(); begin += strip) {
    if (context.stopRequested()) return cancelled();
    part.resize(std::min<std::uint64_t>(strip, values.size() - begin));
    NIBBLE_TRY(read(begin, std::span<Part>(part)));
    std::copy(part.begin(), part.end(), values.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  return values;
}

template <class T>
Result<std::vector<T>> original(const Tensor& weight, const Context& context) {
  return byStrips<T, double>(weight, context,
                             [&](std::uint64_t begin, std::span<double> part) { return readDoubles(weight, begin, part); });
}

template <class T>
Result<std::vector<T>> quantized(const Tensor& weight, const Choice& choice, const Context& context) {
  const auto outcome = nibble::run(weight, choice, context);
  if (!outcome) return fail(outcome.error());
  const QuantizedTensor& tensor = *outcome->quantized;
  return byStrips<T, float>(weight, context, [&](std::uint64_t begin, std::span<float> part) -> Status {
    decode(tensor, begin, part);
    return {};
  });
}

// A and B with s BA as near to `error` as their rank allows; the singular values are shared evenly.
template <class T>
Status splitError(std::span<const double> error, const LayerData& layer, std::uint64_t rank, double scale, std::uint64_t seed,
                  const Context& context, Start<T>& start) {
  const auto parts = lowRank(error, layer.rows, layer.columns, rank, seed, context);
  if (!parts) return fail(parts.error());
  start.b.resize(layer.rows * rank);
  start.a.resize(rank * layer.columns);
  for (std::uint64_t k = 0; k < rank; ++k) {
    const double root = std::sqrt(parts->s[k]);
    for (std::uint64_t i = 0; i < layer.rows; ++i) start.b[i * rank + k] = parts->u[i * rank + k] * root;
    for (std::uint64_t j = 0; j < layer.columns; ++j)
      start.a[k * layer.columns + j] = parts->v[k * layer.columns + j] * root / scale;
  }
  return {};
}

// W less s BA.
template <class T>
void subtractAdapter(std::vector<double>& weights, const Start<T>& start, const LayerData& layer, std::uint64_t rank,
                     double scale) {
  Eigen::Map<RowMatrix<double>> w(weights.data(), static_cast<Index>(layer.rows), static_cast<Index>(layer.columns));
  const MatrixView<double> a(start.a.data(), static_cast<Index>(rank), w.cols()),
      b(start.b.data(), w.rows(), static_cast<Index>(rank));
  w.noalias() -= scale * b * a;
}

// LoftQ (Li et al. 2023): quantize what the adapter leaves, then fit the adapter to what quantizing breaks. One turn is the
// decomposition of the error alone.
template <class T>
Status fitToError(const LayerData& layer, const TrainSettings& settings, double scale, int turns, const Context& context,
                  Start<T>& start) {
  if (!start.choice) return fail(layer.name + ": a start from the quantization error needs a quantized base");
  if (scale == 0) return fail(layer.name + ": with a scale of 0 no adapter can make up for an error");
  const auto weights = readDoubles(layer.weight);
  if (!weights) return fail(weights.error());
  const std::uint64_t rank = settings.adapter.rank;
  for (int turn = 0; turn < turns; ++turn) {
    if (turn > 0) {
      std::vector<double> rest = *weights;
      subtractAdapter(rest, start, layer, rank, scale);
      const Tensor tensor =
          Tensor::fromFloats(layer.name, {layer.rows, layer.columns}, std::vector<float>(rest.begin(), rest.end()));
      auto base = quantized<T>(tensor, *start.choice, context);
      if (!base) return fail(base.error());
      start.base = *std::move(base);
    }
    std::vector<double> error = *weights;
    for (std::size_t i = 0; i < error.size(); ++i) error[i] -= static_cast<double>(start.base[i]);
    NIBBLE_TRY(splitError(error, layer, rank, scale, settings.seed, context, start));
  }
  return {};
}

template <class T>
void draw(AdapterStart kind, const LayerData& layer, const TrainSettings& settings, Start<T>& start) {
  const std::uint64_t rank = settings.adapter.rank;
  start.b.assign(layer.rows * rank, 0.0);
  start.a.assign(rank * layer.columns, 0.0);
  const Random random(settings.seed, startStream);
  const double bound = 1 / std::sqrt(static_cast<double>(layer.columns));
  for (std::uint64_t i = 0; i < start.a.size(); ++i) {
    if (kind == AdapterStart::Kaiming) start.a[i] = bound * (2 * random.uniform(i) - 1);
    if (kind == AdapterStart::Gauss) start.a[i] = random.gauss(i) / static_cast<double>(rank);
  }
}

template <class T>
std::vector<double> rowNorms(const std::vector<T>& weights, std::uint64_t rows) {
  std::vector<double> norms(rows);
  const std::uint64_t columns = weights.size() / rows;
  for (std::uint64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (std::uint64_t j = i * columns; j < (i + 1) * columns; ++j)
      sum += static_cast<double>(weights[j]) * static_cast<double>(weights[j]);
    norms[i] = std::sqrt(sum);
  }
  return norms;
}

// `fitted`: A and B belong to the start by design, and the magnitude starts at what they make of the base.
template <class T>
Status findMagnitude(const LayerData& layer, const TrainSettings& settings, double scale, bool fitted, Start<T>& start) {
  const AdapterSettings& adapter = settings.adapter;
  const bool original = adapter.magnitude == MagnitudeStart::Original ||
                        (adapter.magnitude == MagnitudeStart::ByVariant && adapter.variant == Variant::Document000);
  if (original) {
    const auto weights = readDoubles(layer.weight);
    if (!weights) return fail(weights.error());
    start.magnitude = rowNorms(*weights, layer.rows);
  } else if (fitted) {
    std::vector<double> v(start.base.begin(), start.base.end());
    subtractAdapter(v, start, layer, adapter.rank, -scale);
    start.magnitude = rowNorms(v, layer.rows);
  } else {
    start.magnitude = rowNorms(start.base, layer.rows);
  }
  return {};
}

template <class T>
Result<Start<T>> makeStart(const LayerData& layer, const TrainSettings& settings, const AdapterValues& given,
                           const Context& context) {
  Start<T> start;
  const double scale = adapterScale(settings.adapter, settings.method);
  if (settings.adapter.base.empty()) {
    auto base = original<T>(layer.weight, context);
    if (!base) return fail(base.error());
    start.base = *std::move(base);
  } else {
    auto choice = Choice::parse(settings.adapter.base);
    if (!choice) return fail(choice.error().within("base"));
    start.choice = *std::move(choice);
    auto base = quantized<T>(layer.weight, *start.choice, context);
    if (!base) return fail(base.error());
    start.base = *std::move(base);
  }
  const AdapterStart kind = startOf(settings.adapter);
  const bool fitted = kind == AdapterStart::ErrorSvd || kind == AdapterStart::LoftQ;
  if (fitted)
    NIBBLE_TRY(
        fitToError(layer, settings, scale, kind == AdapterStart::LoftQ ? settings.adapter.loftqIterations : 1, context, start));
  else
    draw(kind, layer, settings, start);
  if (!given.a.empty()) start.a = given.a;
  if (!given.b.empty()) start.b = given.b;
  if (hasMagnitude(settings.method)) NIBBLE_TRY(findMagnitude(layer, settings, scale, fitted, start));
  if (!given.magnitude.empty()) start.magnitude = given.magnitude;
  return start;
}

template <class T>
std::vector<T> as(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

template <class T>
std::unique_ptr<Trainable> finish(LayerData layer, const TrainSettings& settings, Start<T> start) {
  AdapterParts<T> parts;
  parts.name = layer.name;
  parts.method = settings.method;
  parts.rows = layer.rows;
  parts.columns = layer.columns;
  parts.tokens = layer.tokens;
  parts.base = std::move(start.base);
  parts.inputs = as<T>(layer.inputs);
  parts.targets = as<T>(layer.targets);
  parts.bias = std::move(layer.bias);
  parts.settings = settings;
  parts.choice = std::move(start.choice);
  const NumberType type = settings.numberType();
  const std::uint64_t rank = settings.adapter.rank;
  parts.parameters.push_back(Parameter::of("A", {rank, layer.columns}, type, std::move(start.a)));
  parts.parameters.push_back(Parameter::of("B", {layer.rows, rank}, type, std::move(start.b)));
  if (hasMagnitude(settings.method))
    parts.parameters.push_back(Parameter::of("magnitude", {layer.rows}, type, std::move(start.magnitude)));
  return std::make_unique<AdapterLayer<T>>(std::move(parts));
}

template <class T>
Result<std::unique_ptr<Trainable>> begin(LayerData layer, const TrainSettings& settings, const AdapterValues& given,
                                         const Context& context) {
  auto start = makeStart<T>(layer, settings, given, context);
  if (!start) return fail(start.error());
  return finish<T>(std::move(layer), settings, *std::move(start));
}

Status checkRank(const LayerData& layer, std::uint64_t rank) {
  const std::uint64_t most = std::min(layer.rows, layer.columns);
  if (rank >= 1 && rank <= most) return {};
  return fail(layer.name + ": a rank is between 1 and " + text::number(most) + " for " + text::number(layer.rows) + " x " +
              text::number(layer.columns) + ", not " + text::number(rank));
}

// The first of the keys that the file has.
Result<std::vector<double>> readPart(const Checkpoint& file, const std::vector<std::string>& keys, const Shape& shape) {
  for (const std::string& key : keys) {
    const auto entry = file.find(key);
    if (!entry) continue;
    const auto tensor = file.read(*entry);
    if (!tensor) return fail(tensor.error());
    if (!info(tensor->type()).floating || tensor->shape() != shape)
      return fail(key + ": " + std::string(info(tensor->type()).name) + " " + toText(tensor->shape()) + " where numbers of " +
                  toText(shape) + " are needed");
    auto values = readDoubles(*tensor);
    if (!values) return values;
    const auto bad = std::find_if(values->begin(), values->end(), [](double value) { return !std::isfinite(value); });
    if (bad != values->end())
      return fail(key + ": value " + text::number(static_cast<std::uint64_t>(bad - values->begin())) + " is " +
                  text::number(*bad));
    return values;
  }
  return std::vector<double>{};
}

}  // namespace

double adapterScale(const AdapterSettings& settings, std::string_view method) {
  if (settings.variant == Variant::Document000) return 1;
  const auto rank = static_cast<double>(settings.rank);
  const Scaling scaling = method == "rslora" ? Scaling::SqrtRank : settings.scaling;
  if (scaling == Scaling::None) return 1;
  return settings.alpha / (scaling == Scaling::Rank ? rank : std::sqrt(rank));
}

bool hasMagnitude(std::string_view method) {
  return method == "dora" || method == "qdora";
}

Result<AdapterValues> readAdapterValues(const std::filesystem::path& file, const LayerData& layer, std::uint64_t rank) {
  const auto opened = Checkpoint::open(file);
  if (!opened) return fail(opened.error());
  const std::string module = moduleName(layer.name);
  const auto keys = [&module](const std::string& part) {
    std::vector<std::string> list;
    for (const std::string& head : {std::string(), module + ".", "base_model.model." + module + "."})
      for (const char* tail : {"", ".weight"}) list.push_back(head + part + tail);
    return list;
  };
  const auto refuse = [&file](const Error& error) { return fail(error.within(file.string())); };
  auto a = readPart(**opened, keys("lora_A"), {rank, layer.columns});
  if (!a) return refuse(a.error());
  auto b = readPart(**opened, keys("lora_B"), {layer.rows, rank});
  if (!b) return refuse(b.error());
  auto magnitude = readPart(**opened, keys("lora_magnitude_vector"), {layer.rows});
  if (!magnitude) return refuse(magnitude.error());
  if (a->empty() && b->empty() && magnitude->empty())
    return fail(file.string() + ": neither lora_A nor lora_B nor lora_magnitude_vector is in it");
  return AdapterValues{*std::move(a), *std::move(b), *std::move(magnitude)};
}

Result<std::uint64_t> adapterRank(const std::filesystem::path& file) {
  const auto opened = Checkpoint::open(file);
  if (!opened) return fail(opened.error());
  for (const TensorEntry& entry : (*opened)->entries())
    if (entry.name.find("lora_A") != std::string::npos && entry.shape.size() == 2) return entry.shape[0];
  return fail(file.string() + ": no lora_A is in it that would say the rank");
}

Result<std::unique_ptr<Trainable>> makeAdapter(LayerData layer, const TrainSettings& settings, const AdapterValues& given,
                                               const Context& context) try {
  NIBBLE_TRY(checkRank(layer, settings.adapter.rank));
  return settings.numberType() == NumberType::F64 ? begin<double>(std::move(layer), settings, given, context)
                                                  : begin<float>(std::move(layer), settings, given, context);
} catch (const std::bad_alloc&) {
  return fail(layer.name + ": not enough memory to train");
}

Result<std::unique_ptr<Trainable>> makeAdapter(const TrainJob& job, const Context& context) {
  const auto shape = job.weights->shapeOf(job.tensors.front());
  if (!shape) return fail(shape.error());
  auto layers = loadLayers(job, job.settings.loss != LossKind::Sum, context);
  if (!layers) return fail(layers.error());
  LayerData& layer = layers->front();
  NIBBLE_TRY(checkRank(layer, job.settings.adapter.rank));
  AdapterValues given;
  if (!job.settings.init.empty()) {
    auto values = readAdapterValues(job.settings.init, layer, job.settings.adapter.rank);
    if (!values) return fail(values.error());
    given = *std::move(values);
  }
  return makeAdapter(std::move(layer), job.settings, given, context);
}

}  // namespace nibble::train
