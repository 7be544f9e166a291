// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/packed.h"

#include "core/base/text.h"
#include "core/layers/diode_mix.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/run.h"
#include "core/train/optimizer.h"
#include "core/train/tensor_file.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace nibble::train {
namespace {

constexpr int gradientExponent = 10;  // of the largest output gradient on its way through the layer

// [out, in], inputs in the model's order.
std::vector<float> weightsOf(const MbwqLayer& layer) {
  const std::uint64_t inputs = layer.settings().inputs, outputs = layer.settings().outputs;
  const std::vector<float> turned = layer.weights();  // [in, out]
  std::vector<float> weights(turned.size());
  for (std::uint64_t n = 0; n < outputs; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k) weights[n * inputs + k] = turned[k * outputs + n];
  return weights;
}

class PackedTraining final : public Trainable {
 public:
  PackedTraining(MbwqLayer layer, LayerData data, const TrainSettings& settings);

  using Trainable::parameters;
  std::vector<Parameter>& parameters() override { return m_parameters; }
  Result<double> pass(const Pass& pass, const Context& context) override;
  Result<double> evaluate(const Context& context) override;
  Status update(const OptimizerSettings& settings, double scheduleFactor, std::uint64_t step, const Context& context) override;
  [[nodiscard]] std::vector<Figure> figures() const override { return {{"changedShare", changedShare()}}; }
  [[nodiscard]] std::vector<std::string> arrayNames() const override;
  [[nodiscard]] Result<NamedArray> array(std::string_view name) const override;
  Result<std::vector<Figure>> finalFigures(const Context& context) override;
  Result<std::vector<std::string>> write(const std::filesystem::path& folder, const Context& context) override;
  [[nodiscard]] std::uint64_t dataChecksum() const override { return m_checksum; }

 private:
  enum Place : std::size_t { Codes, Zeros, Bias };  // of the parameters

  // Numbers [out, in] between the model's and the stored order of inputs.
  template <class To, class From>
  [[nodiscard]] std::vector<To> toStored(const std::vector<From>& values) const;
  template <class To, class From>
  [[nodiscard]] std::vector<To> toModel(const std::vector<From>& values) const;
  [[nodiscard]] std::vector<float> layerZeros() const;
  [[nodiscard]] std::vector<float> floatsOf(Place place) const;
  [[nodiscard]] Tensor inputsOf(const RowRange& rows) const;
  Status take();
  // The loss of the rows and, where wanted, its gradient by the outputs.
  Result<double> lossOf(const MbwqLayer& layer, const RowRange& rows, std::vector<double>* gradient,
                        std::vector<float>* outputs, const Context& context) const;
  void addGradients(const std::vector<double>& dy, double factor, int exponent);
  [[nodiscard]] double changedShare() const;
  [[nodiscard]] Result<double> meanSquareError(const MbwqLayer& layer) const;

  MbwqLayer m_layer;
  LayerData m_data;
  TrainSettings m_settings;
  std::vector<Parameter> m_parameters;
  std::shared_ptr<const std::vector<float>> m_inputs;  // [tokens, in]
  std::vector<double> m_firstCodes, m_firstZeros, m_firstBias;
  std::uint64_t m_checksum = 0;
  // Of the last pass: parameters move after it.
  struct Seen {
    RowRange rows;
    std::vector<std::uint8_t> codes;         // [out, in], stored order
    std::vector<float> zeros, bias, output;  // no output: no pass yet
  };
  Seen m_seen;
};

template <class To, class From>
std::vector<To> PackedTraining::toStored(const std::vector<From>& values) const {
  const std::uint64_t inputs = m_data.columns;
  std::vector<To> stored(values.size());
  for (std::uint64_t n = 0; n < m_data.rows; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k)
      stored[n * inputs + k] = static_cast<To>(values[n * inputs + (m_layer.order().empty() ? k : m_layer.order()[k])]);
  return stored;
}

template <class To, class From>
std::vector<To> PackedTraining::toModel(const std::vector<From>& values) const {
  const std::uint64_t inputs = m_data.columns;
  std::vector<To> model(values.size());
  for (std::uint64_t n = 0; n < m_data.rows; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k)
      model[n * inputs + (m_layer.order().empty() ? k : m_layer.order()[k])] = static_cast<To>(values[n * inputs + k]);
  return model;
}

PackedTraining::PackedTraining(MbwqLayer layer, LayerData data, const TrainSettings& settings)
    : m_layer(std::move(layer)),
      m_data(std::move(data)),
      m_settings(settings),
      m_inputs(std::make_shared<const std::vector<float>>(m_data.inputs.begin(), m_data.inputs.end())) {
  m_data.inputs = {};
  m_firstCodes = toModel<double>(*m_layer.stored().codes.as<std::uint8_t>());
  const std::vector<float> zeros = layerZeros();
  m_parameters.push_back(Parameter::of("codes", {m_data.rows, m_data.columns}, NumberType::F32, m_firstCodes));
  m_parameters.push_back(
      Parameter::of("zeros", {m_layer.groups().size(), m_data.rows}, NumberType::F16, {zeros.begin(), zeros.end()}));
  if (!m_data.bias.empty()) m_parameters.push_back(Parameter::of("bias", {m_data.rows}, NumberType::F16, m_data.bias));
  m_firstZeros = m_parameters[Zeros].value;
  if (m_parameters.size() > Bias) m_firstBias = m_parameters[Bias].value;
  m_checksum = checksum(std::span<const float>(*m_inputs));
  m_checksum = checksum(std::span<const double>(m_data.targets), m_checksum);
  m_checksum = checksum(std::span<const float>(m_layer.stored().scale->values), m_checksum);
  const std::vector<float> weights = m_layer.weights();
  m_checksum = checksum(std::span<const float>(weights), m_checksum);
  m_checksum = checksum(std::span<const double>(m_firstBias), m_checksum);
}

// [groups, out], as w = q scale - zero has them.
std::vector<float> PackedTraining::layerZeros() const {
  const std::uint64_t groups = m_layer.groups().size();
  const std::vector<float>& negated = m_layer.stored().zero->values;  // [out, groups]
  std::vector<float> zeros(negated.size());
  for (std::uint64_t n = 0; n < m_data.rows; ++n)
    for (std::uint64_t g = 0; g < groups; ++g) zeros[g * m_data.rows + n] = 0 - negated[n * groups + g];
  return zeros;
}

std::vector<float> PackedTraining::floatsOf(Place place) const {
  if (place >= m_parameters.size()) return {};
  return {m_parameters[place].value.begin(), m_parameters[place].value.end()};
}

Tensor PackedTraining::inputsOf(const RowRange& rows) const {
  const std::span<const float> all(*m_inputs);
  return {m_data.name,
          DType::F32,
          {rows.count, m_data.columns},
          std::as_bytes(all.subspan(rows.begin * m_data.columns, rows.count * m_data.columns)),
          m_inputs};
}

// The layer as the parameters have it: they may have gone back to another step.
Status PackedTraining::take() {
  std::vector<std::uint8_t> codes = toStored<std::uint8_t>(m_parameters[Codes].value);
  const std::vector<float> zeros = floatsOf(Zeros), bias = floatsOf(Bias);
  if (bias.empty() && codes == *m_layer.stored().codes.as<std::uint8_t>() && zeros == layerZeros()) return {};
  return m_layer.repack(std::move(codes), zeros, bias);
}

Result<double> PackedTraining::lossOf(const MbwqLayer& layer, const RowRange& rows, std::vector<double>* gradient,
                                      std::vector<float>* outputs, const Context& context) const {
  if (rows.count == 0) return fail(m_data.name + ": a pass without rows: fewer rows of inputs than passes in a step");
  const auto y = layer.forward(inputsOf(rows), context);
  if (!y) return fail(y.error());
  auto values = y->readAll();
  if (!values) return fail(values.error());
  const bool squares = m_settings.loss == LossKind::MeanSquares;
  const auto count = static_cast<double>(values->size());
  if (gradient != nullptr) gradient->resize(values->size());
  double sum = 0;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const auto value = static_cast<double>((*values)[i]);
    const double error = squares ? value - m_data.targets[rows.begin * m_data.rows + i] : value;
    sum += squares ? error * error : value;
    if (gradient != nullptr) (*gradient)[i] = squares ? 2 * error / count : 1;
  }
  if (outputs != nullptr) *outputs = *std::move(values);
  return squares ? sum / count : sum;
}

void PackedTraining::addGradients(const std::vector<double>& dy, double factor, int exponent) {
  const std::uint64_t inputs = m_data.columns, outputs = m_data.rows, groups = m_layer.groups().size();
  const std::vector<float>& found = m_layer.privilegedGradient();  // [in, out]
  const double scale = std::ldexp(factor, -exponent);
  std::vector<std::uint64_t> groupOf;
  for (std::uint64_t g = 0; g < groups; ++g) groupOf.insert(groupOf.end(), m_layer.groups()[g].inputs, g);
  std::vector<double>&codes = m_parameters[Codes].gradient, &zeros = m_parameters[Zeros].gradient;
  for (std::uint64_t n = 0; n < outputs; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k) {
      const std::uint64_t input = m_layer.order().empty() ? k : m_layer.order()[k];
      const double g = scale * static_cast<double>(found[input * outputs + n]);
      codes[n * inputs + input] += g;
      zeros[groupOf[k] * outputs + n] -= g;
    }
  if (m_parameters.size() <= Bias) return;
  for (std::size_t i = 0; i < dy.size(); ++i) m_parameters[Bias].gradient[i % outputs] += factor * dy[i];
}

Result<double> PackedTraining::pass(const Pass& pass, const Context& context) {
  NIBBLE_TRY(take());
  m_seen = {pass.rows(m_data.tokens), *m_layer.stored().codes.as<std::uint8_t>(), layerZeros(), floatsOf(Bias), {}};
  std::vector<double> dy;
  const auto loss = lossOf(m_layer, m_seen.rows, &dy, &m_seen.output, context);
  if (!loss || !std::isfinite(*loss)) return loss;
  double largest = 0;
  for (const double value : dy) largest = std::max(largest, std::fabs(value));
  const int exponent = largest > 0 ? gradientExponent - std::ilogb(largest) : 0;
  std::vector<float> scaled(dy.size());
  for (std::size_t i = 0; i < dy.size(); ++i) scaled[i] = static_cast<float>(std::ldexp(dy[i], exponent));
  const Tensor upstream = Tensor::fromFloats(m_data.name, {m_seen.rows.count, m_data.rows}, std::move(scaled));
  if (const auto dx = m_layer.backward(inputsOf(m_seen.rows), upstream, context, false); !dx) return fail(dx.error());
  addGradients(dy, pass.weight(), exponent);
  return loss;
}

Result<double> PackedTraining::evaluate(const Context& context) {
  NIBBLE_TRY(take());
  return lossOf(m_layer, {0, m_data.tokens}, nullptr, nullptr, context);
}

Status PackedTraining::update(const OptimizerSettings& settings, double scheduleFactor, std::uint64_t step,
                              const Context& context) {
  NIBBLE_TRY(take());
  Parameter &codes = m_parameters[Codes], &zeros = m_parameters[Zeros];
  const std::uint64_t inputs = m_data.columns, outputs = m_data.rows;
  DiodeMixSettings rule;
  rule.learningRate = settings.learningRate * scheduleFactor;
  rule.beta1 = settings.beta1;
  rule.beta2 = settings.beta2;
  rule.epsilon = settings.epsilon;
  rule.zeroEvery = m_settings.packed.zeroEvery;
  rule.residual = m_settings.packed.residual;
  rule.stochastic = m_settings.packed.rounding == PackedSettings::Rounding::Stochastic;
  rule.seed = m_settings.seed;
  DiodeMix::State before;
  before.number = step - 1;
  if (before.number != 0) {
    before.first = toStored<float>(codes.state[0]);
    before.second = toStored<float>(codes.state[1]);
    if (rule.residual) before.residual = toStored<float>(codes.state[2]);
  }
  std::vector<float> gradient(inputs * outputs);
  for (std::uint64_t n = 0; n < outputs; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k) gradient[k * outputs + n] = static_cast<float>(codes.gradient[n * inputs + k]);
  DiodeMix optimizer(rule, std::move(before));
  const auto done = optimizer.step(m_layer, gradient, context);
  if (!done) return fail(done.error());
  codes.state[0] = toModel<double>(optimizer.state().first);
  codes.state[1] = toModel<double>(optimizer.state().second);
  if (rule.residual) codes.state[2] = toModel<double>(optimizer.state().residual);
  codes.value = toModel<double>(*m_layer.stored().codes.as<std::uint8_t>());
  codes.moved = {done->flipped, done->lost, codes.value.size()};
  const std::vector<float> moved = layerZeros();
  zeros.value.assign(moved.begin(), moved.end());
  zeros.moved = {done->movedZeros, 0, zeros.value.size()};
  if (m_parameters.size() > Bias) train::update(std::span(m_parameters).subspan(Bias), settings, scheduleFactor, step);
  return {};
}

double PackedTraining::changedShare() const {
  const std::vector<double>& codes = m_parameters[Codes].value;
  std::uint64_t changed = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) changed += codes[i] != m_firstCodes[i] ? 1 : 0;
  return static_cast<double>(changed) / static_cast<double>(codes.size());
}

std::vector<std::string> PackedTraining::arrayNames() const {
  std::vector<std::string> names{"x", "weight", "codes", "scales", "zeros", "y", "output"};
  if (!m_data.targets.empty()) names.emplace_back("target");
  for (const Parameter& parameter : m_parameters) names.push_back("grad/" + parameter.name);
  if (m_parameters.size() > Bias) names.emplace_back("bias");
  return names;
}

Result<NamedArray> PackedTraining::array(std::string_view name) const {
  const std::vector<std::string> names = arrayNames();
  if (std::find(names.begin(), names.end(), name) == names.end()) return fail(m_data.name + ": no array " + std::string(name));
  if (m_seen.output.empty()) return fail(m_data.name + ": no step was made yet");
  const std::uint64_t inputs = m_data.columns, outputs = m_data.rows, groups = m_layer.groups().size();
  const auto made = [&](Shape shape, const auto& values) {
    return NamedArray{std::string(name), std::move(shape), std::vector<double>(values.begin(), values.end())};
  };
  const auto rowsOf = [&](const auto& all, std::uint64_t width) {
    return made({m_seen.rows.count, width}, std::span(all).subspan(m_seen.rows.begin * width, m_seen.rows.count * width));
  };
  for (const Parameter& parameter : m_parameters)
    if (name == "grad/" + parameter.name) return made(parameter.shape, parameter.gradient);
  if (name == "x") return rowsOf(*m_inputs, inputs);
  if (name == "target") return rowsOf(m_data.targets, outputs);
  if (name == "codes") return made({outputs, inputs}, toModel<double>(m_seen.codes));
  if (name == "zeros") return made({groups, outputs}, m_seen.zeros);
  if (name == "bias") return made({outputs}, m_seen.bias);
  if (name == "scales") {
    NamedArray scales{std::string(name), {groups, outputs}, std::vector<double>(groups * outputs)};
    for (std::uint64_t n = 0; n < outputs; ++n)
      for (std::uint64_t g = 0; g < groups; ++g)
        scales.values[g * outputs + n] = static_cast<double>(m_layer.stored().scale->values[n * groups + g]);
    return scales;
  }
  if (name == "weight") {
    MbwqLayer layer = m_layer;
    NIBBLE_TRY(layer.repack(m_seen.codes, m_seen.zeros, m_seen.bias));
    return made({outputs, inputs}, weightsOf(layer));
  }
  return made({m_seen.rows.count, outputs}, m_seen.output);
}

// Against the weights the layer was made from.
Result<double> PackedTraining::meanSquareError(const MbwqLayer& layer) const {
  const auto original = readDoubles(m_data.weight);
  if (!original) return fail(original.error());
  const std::vector<float> weights = weightsOf(layer);
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double error = static_cast<double>(weights[i]) - (*original)[i];
    sum += error * error;
  }
  return sum / static_cast<double>(weights.size());
}

Result<std::vector<Figure>> PackedTraining::finalFigures(const Context& context) {
  NIBBLE_TRY(take());
  MbwqLayer first = m_layer;
  NIBBLE_TRY(first.repack(toStored<std::uint8_t>(m_firstCodes), std::vector<float>(m_firstZeros.begin(), m_firstZeros.end()),
                          std::vector<float>(m_firstBias.begin(), m_firstBias.end())));
  const auto before = lossOf(first, {0, m_data.tokens}, nullptr, nullptr, context);
  if (!before) return fail(before.error());
  const auto firstError = meanSquareError(first), error = meanSquareError(m_layer);
  if (!firstError) return fail(firstError.error());
  if (!error) return fail(error.error());
  const auto bits = static_cast<double>(storageSize(m_layer.description()).total()) * 8;
  return std::vector<Figure>{{"baseLoss", *before},
                             {"changedShare", changedShare()},
                             {"baseWeightMse", *firstError},
                             {"weightMse", *error},
                             {"bitsPerWeight", bits / static_cast<double>(m_firstCodes.size())}};
}

Result<std::vector<std::string>> PackedTraining::write(const std::filesystem::path& folder, const Context&) {
  NIBBLE_TRY(take());
  const std::string file = "packed.safetensors";
  NIBBLE_TRY(writeTensors(folder / file, m_layer.state(moduleName(m_data.name) + ".")));
  return std::vector<std::string>{file};
}

// What the base says; without one the layer as it is packed, or quantized by the scheme that bears the method's name.
Result<QuantizedTensor> packedWeights(const TrainJob& job, const LayerData& data, const Context& context) {
  const std::string& base = job.settings.adapter.base;
  if (const auto item = job.weights->packedItem(data.name); base.empty() && item) {
    if (job.settings.data.targets.empty() && job.warn)
      job.warn(data.name + ": without targets a packed layer is its own goal, and nothing is left to learn");
    return job.weights->readPacked(*item);
  }
  const auto choice = Choice::parse(base.empty() ? job.settings.method : base);
  if (!choice) return fail(choice.error().within("base"));
  const auto outcome = nibble::run(data.weight, *choice, context);
  if (!outcome) return fail(outcome.error());
  return *outcome->quantized;
}

}  // namespace

Result<std::unique_ptr<Trainable>> makePacked(MbwqLayer layer, LayerData data, const TrainSettings& settings) try {
  if (settings.optimizer.kind != "diodemix")
    return fail("weights that stay quantized train with diodemix, not " + settings.optimizer.kind, ErrorKind::Usage);
  return std::unique_ptr<Trainable>(std::make_unique<PackedTraining>(std::move(layer), std::move(data), settings));
} catch (const std::bad_alloc&) {
  return fail("not enough memory to train");
}

Result<std::unique_ptr<Trainable>> makePacked(const TrainJob& job, const Context& context) {
  if (!job.settings.init.empty())
    return fail("first values of quantized weights are those of their scheme: no file gives them");
  auto layers = loadLayers(job, job.settings.loss != LossKind::Sum, context);
  if (!layers) return fail(layers.error());
  LayerData& data = layers->front();
  const auto weights = packedWeights(job, data, context);
  if (!weights) return fail(weights.error());
  auto layer = MbwqLayer::of(data.name, *weights, {data.bias.begin(), data.bias.end()});
  if (!layer) return fail(layer.error());
  if (layer->converted() && job.warn)
    job.warn(data.name + ": its zeros become half(scale x zero): weights may change in their last bit");
  return makePacked(*std::move(layer), std::move(data), job.settings);
}

}  // namespace nibble::train
