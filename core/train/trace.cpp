// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/trace.h"

#include "core/base/text.h"
#include "core/io/npy.h"

namespace nibble::train {

Result<std::unique_ptr<TraceFile>> TraceFile::create(const std::filesystem::path& path) {
  auto file = AtomicFile::create(path);
  if (!file) return fail(file.error());
  return std::unique_ptr<TraceFile>(new TraceFile(*std::move(file)));
}

Status TraceFile::addArray(const std::string& name, const Shape& shape, std::span<const double> values, NumberType type) {
  RawTensor array{name, DType::F64, shape, {}, std::as_bytes(values)};
  if (type != NumberType::F64) {
    m_floats.assign(values.begin(), values.end());
    array.type = DType::F32;
    array.borrowed = std::as_bytes(std::span<const float>(m_floats));
  }
  const auto preamble = npyPreamble(array);
  if (!preamble) return fail(preamble.error());
  return m_zip.add(name + ".npy", {std::as_bytes(std::span<const char>(*preamble)), array.bytes()});
}

Status TraceFile::add(const StepRecord& record, const Trainable& trainable) {
  const std::string step = text::number(record.step) + "/";
  NIBBLE_TRY(addArray(step + "loss", {}, std::span<const double>(&record.loss, 1), NumberType::F64));
  const std::vector<Parameter>& parameters = trainable.parameters();
  const NumberType type = parameters.empty() ? NumberType::F64 : parameters.front().type;
  for (const std::string& name : trainable.arrayNames()) {
    if (name != "output" && !name.ends_with("/output")) continue;
    const auto array = trainable.array(name);
    if (!array) return fail(array.error());
    NIBBLE_TRY(addArray(step + name, array->shape, array->values, type));
  }
  for (const Parameter& parameter : parameters) {
    const std::size_t slash = parameter.name.rfind('/');
    const std::string head = slash == std::string::npos ? "" : parameter.name.substr(0, slash + 1);
    NIBBLE_TRY(addArray(step + head + "grad/" + parameter.name.substr(head.size()), parameter.shape, parameter.gradient,
                        parameter.type));
    NIBBLE_TRY(addArray(step + parameter.name, parameter.shape, parameter.value, parameter.type));
  }
  return {};
}

Status TraceFile::finish() {
  NIBBLE_TRY(m_zip.finish());
  return m_file.commit();
}

}  // namespace nibble::train
