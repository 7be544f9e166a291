// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/linear_study.h"

#include "core/base/text.h"
#include "core/layers/products.h"
#include "core/layers/stored_inputs.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/quant/smooth_scales.h"
#include "core/run/run.h"
#include "core/run/transformed.h"
#include "core/tensor/activations.h"
#include "kernels/backend.h"

#include <bit>
#include <new>

namespace nibble {
namespace {

// A float matrix as the description of one: codes are the bits. Factors into no integers, which is what it should say.
QuantizedTensor asFloats(const std::vector<float>& values, std::uint64_t rows, std::uint64_t columns) {
  QuantizedTensor tensor;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  std::vector<std::int32_t> bits(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) bits[i] = std::bit_cast<std::int32_t>(values[i]);
  tensor.codes = Codes(std::move(bits));
  tensor.width.uniform = 32;
  tensor.levels = Levels::floats(FloatType::F32);
  tensor.layout = denseLayout(values.size(), 32);
  return tensor;
}

Result<QuantizedTensor> quantize(const Tensor& tensor, const Choice& choice, const Context& context) {
  if (const auto reason = choice.refusal({tensor.rows(), tensor.columns()}))
    return fail(tensor.name() + ": " + choice.shortText() + ": " + *reason);
  NIBBLE_TRY(checkWeights(tensor, context));
  return quantizeTransformed(tensor, choice, context);
}

class Study {
 public:
  Study(const LinearJob& job, const Context& context)
      : m_job(job), m_context(context), m_tokens(job.inputs->rows()), m_columns(job.weights->columns()), m_rows(job.weights->rows()) {}

  Result<LinearStudy> run() {
    NIBBLE_TRY(check());
    NIBBLE_TRY(reference());
    NIBBLE_TRY(smooth());
    NIBBLE_TRY(quantizeWeights());
    NIBBLE_TRY(multiply());
    if (m_job.quantizeOutput) NIBBLE_TRY(roundOutputs());
    m_study.errors.sums =
        m_context.backend->errorSums(m_study.reference.data(), m_study.outputs.data(), m_study.outputs.size());
    return std::move(m_study);
  }

 private:
  Status check();
  Status reference();
  Status smooth();
  Status quantizeWeights();
  Status multiply();
  Status roundOutputs();
  [[nodiscard]] Context withInputs() const {
    Context context = m_context;
    if (!m_data.empty()) context.activations = &m_data;
    return context;
  }

  const LinearJob& m_job;
  const Context& m_context;
  std::uint64_t m_tokens, m_columns, m_rows;
  std::vector<float> m_x, m_w;
  ActivationData m_data;  // of the smoothed inputs
  QuantizedTensor m_weights;
  LinearStudy m_study;
};

Status Study::check() {
  const Tensor &inputs = *m_job.inputs, &weights = *m_job.weights;
  if (inputs.size() == 0) return fail(inputs.name() + ": no inputs (" + toText(inputs.shape()) + ")");
  if (inputs.columns() != m_columns)
    return fail(inputs.name() + ": inputs of " + text::number(inputs.columns()) + " channels for " + weights.name() + ", which has " +
                text::number(m_columns) + " columns");
  if (!m_job.bias.empty() && m_job.bias.size() != m_rows)
    return fail(weights.name() + ": a bias of " + text::number(std::uint64_t{m_job.bias.size()}) + " numbers for " +
                text::number(m_rows) + " outputs");
  NIBBLE_TRY(checkWeights(weights, m_context));
  NIBBLE_TRY(checkWeights(inputs, m_context));
  const std::size_t bad = m_context.backend->firstNonFinite(m_job.bias.data(), m_job.bias.size());
  if (bad != m_job.bias.size()) return fail(weights.name() + ": the bias of output " + text::number(std::uint64_t{bad}) + " is not finite");
  if (m_job.quantizeOutput && !m_job.activationChoice)
    return fail("outputs are quantized like activations: a scheme for those is needed (--activations)", ErrorKind::Usage);
  m_study.shape = inputs.shape();
  if (m_study.shape.empty()) m_study.shape = {m_columns};
  m_study.shape.back() = m_rows;
  return {};
}

Status Study::reference() {
  auto x = m_job.inputs->readAll(), w = m_job.weights->readAll();
  if (!x) return fail(x.error());
  if (!w) return fail(w.error());
  m_x = *std::move(x);
  m_w = *std::move(w);
  const auto products = productsInDouble(m_x, m_tokens, m_w, m_rows, m_columns, m_context);
  if (!products) return fail(products.error());
  m_study.reference.resize(products->size());
  for (std::size_t i = 0; i < products->size(); ++i)
    m_study.reference[i] =
        static_cast<float>((*products)[i] + (m_job.bias.empty() ? 0.0 : static_cast<double>(m_job.bias[i % m_rows])));
  return {};
}

Status Study::smooth() {
  if (!m_job.smoothAlpha) return {};
  if (!m_job.weightChoice && m_job.packed != nullptr)
    return fail(m_job.weights->name() + ": smoothing changes the weights, and this layer is already packed (--weights says to what again)");
  std::vector<float> inputMax(m_columns), weightMax(m_columns);
  raiseToColumnMaxima(m_x, inputMax);
  raiseToColumnMaxima(m_w, weightMax);
  m_study.smoothScales = smoothScales(inputMax, weightMax, *m_job.smoothAlpha);
  for (std::size_t i = 0; i < m_w.size(); ++i) m_w[i] *= m_study.smoothScales[i % m_columns];
  for (std::size_t i = 0; i < m_x.size(); ++i) m_x[i] /= m_study.smoothScales[i % m_columns];
  LayerInputs inputs;
  inputs.channels = m_columns;
  inputs.tokens = m_tokens;
  inputs.samples = m_x;
  return m_data.add(m_job.weights->name(), std::move(inputs));
}

Status Study::quantizeWeights() {
  if (!m_job.weightChoice) {
    m_weights = m_job.packed != nullptr ? *m_job.packed : asFloats(m_w, m_rows, m_columns);
    return {};
  }
  const Tensor smoothed = Tensor::fromFloats(m_job.weights->name(), {m_rows, m_columns}, m_w);
  auto weights = quantize(m_study.smoothScales.empty() ? *m_job.weights : smoothed, *m_job.weightChoice, withInputs());
  if (!weights) return fail(weights.error());
  m_weights = *std::move(weights);
  m_study.notes = m_weights.notes;
  return {};
}

Status Study::multiply() {
  m_x = storedInputs(m_weights, m_x, m_tokens);
  m_weights = storedWeights(std::move(m_weights));
  QuantizedTensor inputs;
  if (m_job.activationChoice) {
    Context alone = m_context;
    alone.activations = nullptr;
    auto quantized = quantize(Tensor::fromFloats(m_job.inputs->name(), {m_tokens, m_columns}, m_x), *m_job.activationChoice, alone);
    if (!quantized) return fail(quantized.error());
    inputs = *std::move(quantized);
  } else {
    inputs = asFloats(m_x, m_tokens, m_columns);
  }
  auto product = quantizedProduct(inputs, m_weights, m_job.bias, m_context);
  if (!product) return fail(product.error());
  m_study.outputs = std::move(product->outputs);
  m_study.integer = product->integer;
  m_study.reason = std::move(product->reason);
  if (!m_job.activationChoice) m_study.reason = "activations are float";
  else if (!m_job.weightChoice && m_job.packed == nullptr) m_study.reason = "weights are float";
  return {};
}

Status Study::roundOutputs() {
  const Tensor outputs = Tensor::fromFloats("outputs", {m_tokens, m_rows}, m_study.outputs);
  Context alone = m_context;
  alone.activations = nullptr;
  const auto quantized = quantize(outputs, *m_job.activationChoice, alone);
  if (!quantized) return fail(quantized.error());
  m_study.outputs = decodeAll(*quantized);
  return {};
}

}  // namespace

Result<LinearStudy> studyLinear(const LinearJob& job, const Context& context) try {
  return Study(job, context).run();
} catch (const std::bad_alloc&) {
  return fail(job.weights->name() + ": not enough memory for its outputs");
}

Result<Choice> activationChoice(const Choice& choice) {
  if (!choice.transforms().empty())
    return fail("activations take no transforms (" + choice.text() + "); those of the weights are done to the inputs too");
  return choice.has("kind") ? choice.with("kind", std::string_view("activation")) : Result<Choice>(choice);
}

}  // namespace nibble
