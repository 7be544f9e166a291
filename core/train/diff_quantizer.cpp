// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/diff_quantizer.h"

#include "core/base/text.h"
#include "core/quant/decode.h"

#include <algorithm>

namespace nibble::train {

DiffQuantizer::DiffQuantizer(Model& model, const DiffqSettings& settings, std::uint64_t seed)
    : m_model(&model), m_settings(settings), m_noise(settings.noiseKind, seed) {}

Result<std::unique_ptr<DiffQuantizer>> DiffQuantizer::attach(Model& model, const DiffqSettings& settings, std::uint64_t seed) {
  NIBBLE_TRY(check(settings));
  for (const ModelParameter& parameter : model.parameters)
    if (parameter.name.ends_with(suffix))
      return fail(parameter.name + ": the model has a quantizer's parameters already; detach that one first");
  std::unique_ptr<DiffQuantizer> quantizer(new DiffQuantizer(model, settings, seed));
  for (const ModelParameter& parameter : model.parameters) NIBBLE_TRY(quantizer->add(parameter));
  for (const Part& part : quantizer->m_parts) {
    if (part.logits == nullptr) continue;
    quantizer->m_logits.push_back(part.logits);
    model.parameters.push_back({part.name + suffix, part.logits});
  }
  return quantizer;
}

Status DiffQuantizer::add(const ModelParameter& parameter) {
  if (!m_byName.emplace(parameter.name, m_parts.size()).second)
    return fail(parameter.name + ": the model has two of that name");
  if (m_settings.detectBound)
    for (std::size_t i = 0; i < m_parts.size(); ++i)
      if (m_parts[i].weight == parameter.parameter) {
        m_byName[parameter.name] = i;
        return {};
      }
  Part part{parameter.name, parameter.parameter, nullptr, nullptr, {}};
  const std::uint64_t size = parameter.parameter->value.size();
  if (leftFloat(m_settings, parameter.name, size)) {
    part.rule = floatRule<double>(size, m_settings.float16);
  } else {
    if (m_settings.group != 0 && size % m_settings.group != 0)
      return fail(parameter.name + ": a group of " + text::number(m_settings.group) + " does not divide its " +
                  text::number(size) + " numbers");
    part.rule = diffqRule<double>(size, m_settings, m_noise, m_parts.size(), parameter.name);
    const std::uint64_t groups = size / part.rule->groupLength();
    const double first = BitScale(m_settings).logitOf(m_settings.initBits);
    part.logits = std::make_shared<Parameter>(
        Parameter::of(parameter.name + suffix, {groups}, parameter.parameter->type, std::vector<double>(groups, first)));
  }
  m_parts.push_back(std::move(part));
  return {};
}

Status DiffQuantizer::checkAttached() const {
  if (m_model == nullptr) return fail("the quantizer is detached from its model");
  return {};
}

Status DiffQuantizer::setupOptimizer(GroupOptimizer& optimizer, const LogitsOptimizer& overrides) {
  NIBBLE_TRY(checkAttached());
  if (m_setUp) return fail("an optimizer has the logits already; clear it first");
  for (const auto& logits : m_logits)
    if (optimizer.holds(logits.get()))
      return fail(logits->name + ": the optimizer holds it: make the optimizer before the quantizer is attached");
  OptimizerSettings settings = optimizer.defaults();
  settings.learningRate = overrides.learningRate;
  settings.weightDecay = overrides.weightDecay;
  settings.momentum = overrides.momentum.value_or(settings.momentum);
  settings.beta1 = overrides.beta1.value_or(settings.beta1);
  settings.beta2 = overrides.beta2.value_or(settings.beta2);
  settings.epsilon = overrides.epsilon.value_or(settings.epsilon);
  NIBBLE_TRY(optimizer.add({m_logits, settings}));
  m_setUp = m_ready = true;
  return {};
}

void DiffQuantizer::clearOptimizer(GroupOptimizer& optimizer) {
  optimizer.remove(m_logits);
  m_setUp = m_ready = false;
}

Status DiffQuantizer::forward(const Pass& pass, const Context& context) {
  NIBBLE_TRY(checkAttached());
  if (!m_ready) return fail("the logits are in no optimizer: call setupOptimizer, or noOptimizer where they are not to train");
  for (Part& part : m_parts) {
    part.current.resize(part.weight->value.size());
    NIBBLE_TRY(part.rule->forward({*part.weight, part.logits.get()}, pass, part.current, context));
  }
  return {};
}

Status DiffQuantizer::evaluate(const Context& context) {
  NIBBLE_TRY(checkAttached());
  for (Part& part : m_parts) {
    const std::vector<double>& values = part.weight->value;
    part.current = values;
    const Tensor floats = Tensor::fromFloats(part.name, {1, values.size()}, {values.begin(), values.end()});
    const auto quantized = part.rule->finished(floats, part.logits.get(), context);
    if (!quantized) return fail(quantized.error());
    if (*quantized) {
      const std::vector<float> decoded = decodeAll(**quantized);
      part.current.assign(decoded.begin(), decoded.end());
    } else if (m_settings.float16) {
      for (double& value : part.current) value = storedAs(NumberType::F16, value);
    }
  }
  return {};
}

Result<std::size_t> DiffQuantizer::partOf(const std::string& name) const {
  const auto found = m_byName.find(name);
  if (found == m_byName.end()) return fail(name + ": the model has no such parameter");
  return found->second;
}

Result<std::vector<double>> DiffQuantizer::weights(const std::string& name) const {
  const auto part = partOf(name);
  if (!part) return fail(part.error());
  if (m_parts[*part].current.empty()) return fail(name + ": neither forward nor evaluate was called");
  return m_parts[*part].current;
}

Status DiffQuantizer::backward(const std::string& name, std::span<const double> gradient, const Context& context) {
  NIBBLE_TRY(checkAttached());
  const auto index = partOf(name);
  if (!index) return fail(index.error());
  Part& part = m_parts[*index];
  if (gradient.size() != part.weight->value.size())
    return fail(name + ": " + text::number(std::uint64_t{gradient.size()}) + " gradients for " +
                text::number(std::uint64_t{part.weight->value.size()}) + " numbers");
  part.rule->backward({*part.weight, part.logits.get()}, gradient, 1, context);
  return {};
}

void DiffQuantizer::addSizeGradient(double lambda) {
  for (const Part& part : m_parts)
    if (part.logits != nullptr) part.rule->addSizeGradient(lambda / bitsPerMb, part.logits.get());
}

void DiffQuantizer::checkUnused() {
  for (const Part& part : m_parts) {
    if (part.logits == nullptr) continue;
    const std::vector<double>& gradient = part.weight->gradient;
    if (std::all_of(gradient.begin(), gradient.end(), [](double g) { return g == 0; }))
      part.logits->gradient.assign(part.logits->value.size(), 0.0);
  }
}

double DiffQuantizer::modelSize(bool exact) const {
  double bits = 0;
  for (const Part& part : m_parts) bits += exact ? part.rule->trueSize(part.logits.get()) : part.rule->size(part.logits.get());
  return bits / bitsPerMb;
}

void DiffQuantizer::detach() {
  if (m_model == nullptr) return;
  std::erase_if(m_model->parameters, [this](const ModelParameter& parameter) {
    return std::find(m_logits.begin(), m_logits.end(), parameter.parameter) != m_logits.end();
  });
  m_model = nullptr;
  m_ready = m_setUp = false;
}

std::string DiffQuantizer::description() const {
  const DiffqSettings& s = m_settings;
  std::uint64_t quantized = 0, left = 0, groups = 0;
  for (const Part& part : m_parts) {
    (part.logits == nullptr ? left : quantized) += part.weight->value.size();
    if (part.logits != nullptr) groups += part.logits->value.size();
  }
  const auto count = [](std::size_t n, const char* what) { return text::number(std::uint64_t{n}) + " " + what; };
  std::string line = "DiffQ: " + count(m_logits.size(), "tensors with ") + text::number(quantized) + " weights in " +
                     text::number(groups) + (s.group == 0 ? " groups, one a tensor" : " groups of " + text::number(s.group));
  line += std::string(", logits are ") + (s.param == DiffqSettings::Param::Bits ? "bits" : "noise") + ", noise is " +
          noiseKindNames()[static_cast<std::size_t>(s.noiseKind)] + ", bits " + text::number(s.minBits) + " to " +
          text::number(s.maxBits) + " from " + text::number(s.initBits);
  if (s.extraBits != 0) line += ", " + text::number(s.extraBits) + " extra";
  line += "; " + text::number(left) + " numbers of " + count(m_parts.size() - m_logits.size(), "tensors") + " stay " +
          (s.float16 ? "float16" : "float32") + " (at most " + text::number(s.minSizeMb) + " MB" +
          (s.exclude.empty() ? "" : ", or " + text::join(s.exclude, " ")) + ")";
  line += "; size " + text::digits(modelSize(), 6) + " MB, truly " + text::digits(trueModelSize(), 6) + " MB";
  return line + (m_model == nullptr ? "; detached" : "");
}

}  // namespace nibble::train
