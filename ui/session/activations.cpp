// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/activations.h"

#include "core/base/text.h"
#include "core/layers/layer_files.h"
#include "core/quant/smooth_scales.h"
#include "core/train/layer_data.h"
#include "ui/session/presets.h"
#include "ui/session/session.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr double outlierFactor = 6;

std::uint64_t countOption(const SessionState& state, const std::string& key, std::uint64_t fallback) {
  return text::parseUnsigned(state.viewOption(key, "")).value_or(fallback);
}

Result<Tensor> inputsFor(const ActivationSource& source, std::uint64_t columns) {
  if (!source.inputs.empty()) return readLayerInputs(source.inputs, source.tensor);
  train::DataSettings data;
  data.rows = source.rows;
  data.outlierChannels = std::min(source.outliers, columns);
  const auto drawn = train::drawInputs(data, columns, 0);
  return Tensor::fromFloats("drawn inputs", {source.rows, columns}, std::vector<float>(drawn.begin(), drawn.end()));
}

Result<std::vector<float>> columnMaxima(const Tensor& tensor) {
  const auto values = tensor.readAll();
  if (!values) return fail(values.error());
  std::vector<float> maxima(tensor.columns());
  raiseToColumnMaxima(*values, maxima);
  return maxima;
}

Result<std::shared_ptr<const ActivationFacts>> gather(const ActivationSource& source) {
  const WeightList& list = *source.file->weights;
  auto weights = list.read(source.tensor, source.reading);
  if (!weights) return fail(weights.error());
  if (weights->shape().size() < 2) return fail(source.tensor + ": only matrices take inputs: choose one on the left");
  auto inputs = inputsFor(source, weights->columns());
  if (!inputs) return fail(inputs.error());
  if (inputs->columns() != weights->columns())
    return fail(source.inputs + ": inputs of " + text::number(inputs->columns()) + " channels for " + source.tensor + ", which has " +
                text::number(weights->columns()) + " columns");
  auto bias = readLayerBias(list, source.tensor, weights->rows());
  if (!bias) return fail(bias.error());
  auto inputMax = columnMaxima(*inputs), weightMax = columnMaxima(*weights);
  if (!inputMax) return fail(inputMax.error());
  if (!weightMax) return fail(weightMax.error());
  std::optional<QuantizedTensor> packed;
  const WeightItem* item = list.find(source.tensor);
  if (!source.choice && item != nullptr && item->packed) {
    auto read = list.readPacked(*item, source.reading);
    if (!read) return fail(read.error());
    packed = *std::move(read);
  }
  return std::make_shared<const ActivationFacts>(ActivationFacts{*std::move(inputs), *std::move(weights), *std::move(bias), std::move(packed), *std::move(inputMax), *std::move(weightMax)});
}

LinearFigures study(const ActivationFacts& facts, const LinearRow& row, std::optional<double> alpha, const Context& context) {
  LinearJob job{&facts.weights, facts.packed && !row.weights ? &*facts.packed : nullptr, facts.bias, &facts.inputs, row.weights, row.activations, alpha, false};
  const auto result = studyLinear(job, context);
  LinearFigures figures;
  if (!result) {
    figures.problem = result.error().message;
    return figures;
  }
  figures.sqnrDb = result->errors.sqnrDb(), figures.mse = result->errors.mse();
  figures.maxError = result->errors.maxError(), figures.cosine = result->errors.cosine();
  figures.integer = result->integer, figures.reason = result->reason;
  return figures;
}

// The layer's weights as chosen, and whole numbers of 8 bits a row beside them, each with every choice for the inputs.
std::vector<LinearRow> plannedRows(const ActivationSource& source) {
  std::vector<LinearRow> rows;
  std::vector<std::optional<Choice>> weights{source.choice};
  for (const Choice& choice : layerWeightChoices())
    if (source.choice && choice != *source.choice) weights.emplace_back(choice);
  for (const auto& weight : weights) {
    rows.push_back({weight, std::nullopt, {}, {}});
    for (const Choice& activation : layerInputChoices()) rows.push_back({weight, activation, {}, {}});
  }
  return rows;
}

}  // namespace

std::vector<std::size_t> outlierChannels(const std::vector<float>& maxima) {
  std::vector<std::size_t> found;
  if (maxima.empty()) return found;
  std::vector<float> sorted = maxima;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2), sorted.end());
  const double limit = outlierFactor * static_cast<double>(sorted[sorted.size() / 2]);
  for (std::size_t i = 0; i < maxima.size(); ++i)
    if (static_cast<double>(maxima[i]) > limit) found.push_back(i);
  return found;
}

ActivationSource ActivationSource::of(const SessionState& state) {
  ActivationSource source{state.file, state.tensor, state.reading(), state.viewOption("act.inputs", ""), state.storedLayer() != nullptr ? std::nullopt : state.choice,
                          std::max<std::uint64_t>(1, countOption(state, "act.rows", 128)), countOption(state, "act.outliers", 4)};
  return source;
}

double Activations::alpha(const SessionState& state) { return std::clamp(text::parseDouble(state.viewOption("act.alpha", "0.5")).value_or(0.5), 0.0, 1.0); }

Activations::Activations(Session& session) : m_session(session) {
  connect(&session, &Session::changed, this, &Activations::follow);
  for (JobLane* lane : {&m_plain, &m_smooth}) {
    connect(lane, &JobLane::failed, &session, &Session::problem);
    connect(lane, &JobLane::cancelledByUser, this, [this] {
      if (m_problem.empty() && m_source) m_problem = tr("Cancelled.").toStdString();
      emit changed();
    });
  }
}

void Activations::follow() {
  const auto& state = m_session.state();
  const bool shown = state.page == Page::Compare && state.comparesActivations();
  const ActivationSource wanted = ActivationSource::of(state);
  if (m_source && *m_source != wanted) {
    m_source.reset();
    for (JobLane* lane : {&m_plain, &m_smooth})
      if (lane->busy()) lane->cancel();
    m_facts.reset();
    m_rows.clear();
    m_problem.clear();
    emit changed();
  }
  if (!shown) return;
  if (!m_source && wanted.file && !wanted.tensor.empty()) return start(wanted);
  if (m_facts && !m_plain.busy() && alpha(state) != m_alpha) startSmoothed();
  emit changed();
}

void Activations::start(const ActivationSource& source) {
  m_source = source;
  m_alpha = -1;
  m_rows = plannedRows(source);
  m_plain.start(tr("Run the layer %1").arg(QString::fromStdString(source.tensor)), m_session.backend(),
                [this, source, rows = m_rows](const JobContext& job) -> Result<bool> {
                  job.context.addTotal(rows.size() + 1);
                  const auto facts = gather(source);
                  if (!facts) return fail(facts.error());
                  job.context.addDone(1);
                  job.post([this, facts = *facts] {
                    m_facts = facts;
                    emit changed();
                  });
                  for (std::size_t i = 0; i < rows.size() && !job.context.stopRequested(); ++i) {
                    job.post([this, i, figures = study(**facts, rows[i], std::nullopt, job.context)] { takeRow(i, figures, false); });
                    job.context.addDone(1);
                  }
                  return true;
                },
                [this](Result<bool> done) {
                  if (!done) m_problem = done.error().message;
                  else startSmoothed();
                  emit changed();
                });
  emit changed();
}

void Activations::startSmoothed() {
  m_alpha = alpha(m_session.state());
  for (LinearRow& row : m_rows) row.smoothed.reset();
  m_smooth.start(tr("Smooth with alpha %1").arg(m_alpha), m_session.backend(),
                 [this, facts = m_facts, rows = m_rows, alpha = m_alpha](const JobContext& job) {
                   job.context.addTotal(rows.size());
                   for (std::size_t i = 0; i < rows.size() && !job.context.stopRequested(); ++i) {
                     job.post([this, i, figures = study(*facts, rows[i], alpha, job.context)] { takeRow(i, figures, true); });
                     job.context.addDone(1);
                   }
                   return true;
                 },
                 [this](bool) { emit changed(); });
}

void Activations::takeRow(std::size_t row, LinearFigures figures, bool smoothed) {
  if (row >= m_rows.size()) return;
  (smoothed ? m_rows[row].smoothed : m_rows[row].plain) = std::move(figures);
  emit changed();
}

std::vector<float> Activations::scales() const {
  if (!m_facts) return {};
  return smoothScales(m_facts->inputMax, m_facts->weightMax, alpha(m_session.state()));
}

}  // namespace nibble
