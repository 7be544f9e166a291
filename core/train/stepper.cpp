// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/stepper.h"

#include "core/base/contracts.h"
#include "core/base/text.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace nibble::train {

std::string_view text(StopReason reason) {
  switch (reason) {
    case StopReason::Reached:
      return "reached";
    case StopReason::LossAbove:
      return "loss above";
    case StopReason::NothingMoved:
      return "nothing moved";
    case StopReason::NotFinite:
      break;
  }
  return "not finite";
}

std::uint64_t Stepper::Kept::bytes() const {
  std::uint64_t numbers = 0;
  for (const auto& value : values) numbers += value.size();
  for (const auto& state : states)
    for (const auto& part : state) numbers += part.size();
  return numbers * sizeof(double);
}

Stepper::Stepper(std::unique_ptr<Trainable> trainable, TrainSettings settings, std::vector<std::string> tensors,
                 std::uint64_t memory)
    : m_trainable(std::move(trainable)), m_settings(std::move(settings)), m_tensors(std::move(tensors)), m_memory(memory) {
  NIBBLE_EXPECTS(m_trainable != nullptr);
  if (m_settings.schedule.total == 0) m_settings.schedule.total = m_settings.steps;
  m_kept.emplace(0, current());
}

std::uint64_t Stepper::keptBytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [step, kept] : m_kept) bytes += kept.bytes();
  return bytes;
}

std::vector<std::uint64_t> Stepper::keptSteps() const {
  std::vector<std::uint64_t> steps;
  for (const auto& [step, kept] : m_kept) steps.push_back(step);
  return steps;
}

Stepper::Kept Stepper::current() const {
  Kept kept;
  for (const Parameter& parameter : m_trainable->parameters()) {
    kept.values.push_back(parameter.value);
    kept.states.push_back(parameter.state);
    kept.moved.push_back(parameter.moved);
  }
  return kept;
}

void Stepper::restore(const Kept& kept) {
  std::vector<Parameter>& parameters = m_trainable->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    parameters[i].value = kept.values[i];
    parameters[i].state = kept.states[i];
    parameters[i].moved = kept.moved[i];
  }
}

// Every other kept state goes when the bound is reached: what is left still lies evenly.
void Stepper::keep() {
  if (position() % m_every != 0 || m_kept.contains(position())) return;
  Kept now = current();
  while (keptBytes() + now.bytes() > m_memory) {
    if (m_kept.size() == 1 && m_every > position()) return;
    m_every *= 2;
    std::erase_if(m_kept, [this](const auto& entry) { return entry.first != m_first && entry.first % m_every != 0; });
    if (position() % m_every != 0) return;
  }
  m_kept.emplace(position(), std::move(now));
}

Result<double> Stepper::passes(std::uint64_t step, const Context& context) {
  for (Parameter& parameter : m_trainable->parameters()) parameter.gradient.assign(parameter.value.size(), 0.0);
  Pass pass;
  pass.step = step;
  pass.parts = m_settings.accumulation;
  pass.batchRows = m_settings.batchRows;
  double loss = 0;
  for (pass.part = 0; pass.part < pass.parts; ++pass.part) {
    if (context.stopRequested()) return cancelled();
    const auto part = m_trainable->pass(pass, context);
    if (!part) return part;
    loss += *part * pass.weight();
  }
  return loss;
}

std::string Stepper::badGradient() const {
  for (const Parameter& parameter : m_trainable->parameters())
    for (std::size_t i = 0; i < parameter.gradient.size(); ++i)
      if (!std::isfinite(parameter.gradient[i]))
        return "the gradient of " + parameter.name + " is " + text::number(parameter.gradient[i]) + " at entry " +
               text::number(static_cast<std::uint64_t>(i));
  return {};
}

Result<StepRecord> Stepper::step(const Context& context) try {
  StepRecord record;
  record.step = position() + 1;
  const auto loss = passes(record.step, context);
  if (!loss) return fail(loss.error());
  record.loss = *loss;
  m_notFinite = std::isfinite(*loss) ? badGradient() : "the loss is " + text::number(*loss);
  if (!m_notFinite.empty()) {
    m_notFinite = "step " + text::number(record.step) + ": " + m_notFinite;
    return fail(m_notFinite);
  }
  record.figures = m_trainable->figures();
  std::vector<Parameter>& parameters = m_trainable->parameters();
  for (const Parameter& parameter : parameters) record.parameters.push_back({parameter.name, norm(parameter.gradient), {}});
  clipGradients(parameters, m_settings.clipNorm);
  const double factor = m_settings.schedule.factor(record.step);
  record.learningRate = m_settings.optimizer.learningRate * factor;
  NIBBLE_TRY(m_trainable->update(m_settings.optimizer, factor, record.step, context));
  for (std::size_t i = 0; i < parameters.size(); ++i) record.parameters[i].moved = parameters[i].moved;
  m_records.push_back(record);
  keep();
  return record;
} catch (const std::bad_alloc&) {
  return fail("step " + text::number(position() + 1) + ": not enough memory");
}

Result<StopReason> Stepper::runTo(std::uint64_t step, const Breakpoints& breakpoints, const Context& context,
                                  const Visit& visit) {
  while (position() < step) {
    m_notFinite.clear();
    const auto record = this->step(context);
    if (!record) {
      if (!m_notFinite.empty()) return StopReason::NotFinite;
      return fail(record.error());
    }
    if (visit) NIBBLE_TRY(visit(*record));
    if (breakpoints.lossAbove && record->loss > *breakpoints.lossAbove) return StopReason::LossAbove;
    const auto still = [](const ParameterRecord& parameter) { return parameter.moved.moved == 0; };
    if (breakpoints.nothingMoved && std::all_of(record->parameters.begin(), record->parameters.end(), still))
      return StopReason::NothingMoved;
  }
  return StopReason::Reached;
}

Status Stepper::goTo(std::uint64_t step, const Context& context) {
  if (step < m_first)
    return fail("steps before " + text::number(m_first) + " were made under other settings and cannot be made again");
  if (step == m_first) return reset();
  if (step <= position()) {
    // The last step is done again even where its state is kept: its arrays belong to it.
    const auto kept = std::prev(m_kept.upper_bound(step - 1));
    restore(kept->second);
    m_records.resize(kept->first);
  }
  while (position() < step)
    if (const auto record = this->step(context); !record) return fail(record.error());
  return {};
}

Status Stepper::reset() {
  restore(m_kept.at(m_first));
  m_records.resize(m_first);
  for (Parameter& parameter : m_trainable->parameters()) parameter.gradient.assign(parameter.value.size(), 0.0);
  return {};
}

void Stepper::settingsChanged() {
  m_first = position();
  m_kept.clear();
  m_kept.emplace(m_first, current());
}

Status Stepper::setLambda(double lambda) {
  if (!(lambda >= 0) || !std::isfinite(lambda)) return fail("lambda is a number of 0 or more, not " + text::number(lambda));
  if (lambda == m_settings.diffq.lambda) return {};
  if (!m_trainable->setLambda(lambda)) return fail(m_settings.method + " has no price of size");
  m_settings.diffq.lambda = lambda;
  settingsChanged();
  return {};
}

Result<double> Stepper::look(const Context& context) {
  return passes(position() + 1, context);
}

}  // namespace nibble::train
