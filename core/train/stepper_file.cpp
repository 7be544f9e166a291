// SPDX-License-Identifier: GPL-3.0-or-later
// The file of a run: value/P, state0/P, state1/P, ... in float64, and `records` [steps, 3 + 4 parameters + figures]: step, loss,
// learning rate; gradient norm, moved, vanished, total of each parameter; the method's figures. What must match stands in the
// metadata.
#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/io/checkpoint.h"
#include "core/io/safetensors_writer.h"
#include "core/train/layer_data.h"
#include "core/train/stepper.h"

#include <algorithm>
#include <cstring>

namespace nibble::train {
namespace {

constexpr std::string_view version = "1";

RawTensor doubles(std::string name, Shape shape, std::span<const double> values) {
  RawTensor tensor{std::move(name), DType::F64, std::move(shape), {}, std::as_bytes(values)};
  if (values.empty()) tensor.borrowed = {};
  return tensor;
}

std::vector<double> rowOf(const StepRecord& record) {
  std::vector<double> row{static_cast<double>(record.step), record.loss, record.learningRate};
  for (const ParameterRecord& p : record.parameters) {
    row.push_back(p.gradientNorm);
    for (const std::uint64_t count : {p.moved.moved, p.moved.vanished, p.moved.total})
      row.push_back(static_cast<double>(count));
  }
  for (const Figure& figure : record.figures) row.push_back(figure.value);
  return row;
}

std::string figureKeys(const std::vector<StepRecord>& records) {
  std::vector<std::string> keys;
  if (!records.empty())
    for (const Figure& figure : records.front().figures) keys.push_back(figure.key);
  return text::join(keys, ",");
}

class Reading {
 public:
  explicit Reading(const Checkpoint& file) : m_file(file) {}
  [[nodiscard]] std::string metadata(std::string_view key) const {
    for (const auto& [name, value] : m_file.metadata())
      if (name == key) return value;
    return {};
  }
  // Empty where there is none.
  Result<std::vector<double>> array(const std::string& name) const {
    const auto entry = m_file.find(name);
    if (!entry) return std::vector<double>{};
    const auto tensor = m_file.read(*entry);
    if (!tensor) return fail(tensor.error());
    return readDoubles(*tensor);
  }
  Status parameter(Parameter& parameter) const {
    auto value = array("value/" + parameter.name);
    if (!value) return fail(value.error());
    if (value->size() != parameter.value.size())
      return fail("value/" + parameter.name + ": " + text::number(std::uint64_t{value->size()}) + " numbers instead of " +
                  text::number(std::uint64_t{parameter.value.size()}));
    parameter.value = *std::move(value);
    for (std::size_t i = 0; i < parameter.state.size(); ++i) {
      auto state = array("state" + std::to_string(i) + "/" + parameter.name);
      if (!state) return fail(state.error());
      if (!state->empty() && state->size() != parameter.value.size())
        return fail("the optimizer's state of " + parameter.name + " has another size");
      parameter.state[i] = *std::move(state);
    }
    return {};
  }
  Result<std::vector<StepRecord>> records(const std::vector<Parameter>& parameters) const {
    const auto entry = m_file.find("records");
    if (!entry) return fail("no records");
    const auto tensor = m_file.read(*entry);
    if (!tensor) return fail(tensor.error());
    const auto values = readDoubles(*tensor);
    if (!values) return fail(values.error());
    const std::vector<std::string> keys =
        metadata("figures").empty() ? std::vector<std::string>{} : text::split(metadata("figures"), ',');
    const std::size_t width = 3 + 4 * parameters.size() + keys.size();
    if (tensor->shape().size() != 2 || tensor->shape()[1] != width)
      return fail("records: " + toText(tensor->shape()) + " does not fit");
    std::vector<StepRecord> records;
    for (std::size_t at = 0; at < values->size(); at += width) {
      const double* v = values->data() + at;
      StepRecord record{static_cast<std::uint64_t>(v[0]), v[1], v[2], {}, {}};
      if (record.step != records.size() + 1) return fail("records: step " + text::number(v[0]) + " is out of place");
      v += 3;
      for (const Parameter& parameter : parameters) {
        record.parameters.push_back(
            {parameter.name,
             v[0],
             {static_cast<std::uint64_t>(v[1]), static_cast<std::uint64_t>(v[2]), static_cast<std::uint64_t>(v[3])}});
        v += 4;
      }
      for (const std::string& key : keys) record.figures.push_back({key, *v++});
      records.push_back(std::move(record));
    }
    return records;
  }

 private:
  const Checkpoint& m_file;
};

// The first setting that differs: both texts are "key=value;" in one order.
std::string difference(const std::string& theirs, const std::string& ours) {
  const auto a = text::split(theirs, ';'), b = text::split(ours, ';');
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (a[i] != b[i]) return "it ran with " + a[i] + ", this run has " + b[i];
  return "it ran with other settings";
}

}  // namespace

Status Stepper::save(const std::filesystem::path& file) const {
  std::vector<RawTensor> arrays;
  for (const Parameter& parameter : m_trainable->parameters()) {
    arrays.push_back(doubles("value/" + parameter.name, parameter.shape, parameter.value));
    for (std::size_t i = 0; i < parameter.state.size(); ++i)
      if (!parameter.state[i].empty())
        arrays.push_back(doubles("state" + std::to_string(i) + "/" + parameter.name, parameter.shape, parameter.state[i]));
  }
  std::vector<double> records;
  for (const StepRecord& record : m_records) {
    const std::vector<double> row = rowOf(record);
    records.insert(records.end(), row.begin(), row.end());
  }
  const std::uint64_t width = m_records.empty() ? 3 + 4 * m_trainable->parameters().size() : rowOf(m_records.front()).size();
  arrays.push_back(doubles("records", {m_records.size(), width}, records));
  auto target = AtomicFile::create(file);
  if (!target) return fail(target.error());
  NIBBLE_TRY(writeSafetensors(*target, arrays,
                              {{"nibblescope-train", std::string(version)},
                               {"settings", runText(m_settings, m_tensors)},
                               {"data", text::number(m_trainable->dataChecksum())},
                               {"figures", figureKeys(m_records)}}));
  NIBBLE_TRY(target->sync());
  return target->commit();
}

Status Stepper::resume(const std::filesystem::path& file) {
  const auto opened = Checkpoint::open(file);
  if (!opened) return fail(opened.error());
  const Reading reading(**opened);
  const auto refuse = [&file](const std::string& why) { return fail(file.string() + ": cannot go on from it: " + why); };
  if (reading.metadata("nibblescope-train") != version) return refuse("it is no saved training run");
  const std::string ours = runText(m_settings, m_tensors);
  if (const std::string theirs = reading.metadata("settings"); theirs != ours) return refuse(difference(theirs, ours));
  if (reading.metadata("data") != text::number(m_trainable->dataChecksum()))
    return refuse("weights, inputs or targets are others");
  std::vector<Parameter> parameters = m_trainable->parameters();
  for (Parameter& parameter : parameters)
    if (const auto status = reading.parameter(parameter); !status) return refuse(status.error().message);
  auto records = reading.records(parameters);
  if (!records) return refuse(records.error().message);
  if (!records->empty())
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].moved = records->back().parameters[i].moved;
  m_trainable->parameters() = std::move(parameters);
  m_records = *std::move(records);
  return {};
}

}  // namespace nibble::train
