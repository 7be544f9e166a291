// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers of golden files, of arrays that a run wrote, and how near two of them are.
#pragma once
#include "core/io/checkpoint.h"
#include "core/io/safetensors_writer.h"
#include "core/train/layer_data.h"

#include <QByteArray>
#include <QString>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace nibble::test {

// All numbers of an array however deep it is nested.
inline std::vector<double> numbers(const nlohmann::json& value) {
  if (value.is_object()) return numbers(value.at("data"));
  if (value.is_number()) return {value.get<double>()};
  std::vector<double> all;
  for (const nlohmann::json& part : value) {
    const auto more = numbers(part);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

inline RawTensor doubleArray(const std::string& name, Shape shape, const std::vector<double>& values) {
  RawTensor tensor{name, DType::F64, std::move(shape), {}, {}};
  tensor.owned.resize(values.size() * sizeof(double));
  std::memcpy(tensor.owned.data(), values.data(), tensor.owned.size());
  return tensor;
}

// Of a checkpoint; empty where it cannot be read.
inline std::vector<double> arrayOf(const QString& file, const std::string& name) {
  const auto opened = Checkpoint::open(file.toStdString());
  if (!opened) return {};
  const auto tensor = (*opened)->read(name);
  return tensor ? train::readDoubles(*tensor).value_or(std::vector<double>{}) : std::vector<double>{};
}

// Not for empty ones: these are near nothing.
inline bool near(const std::vector<double>& ours, const std::vector<double>& theirs, double relative) {
  if (ours.empty() || ours.size() != theirs.size()) return false;
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (!(std::fabs(ours[i] - theirs[i]) <= relative * std::fabs(theirs[i]) + 1e-12)) return false;
  return true;
}

// Empty, or the first entry that is further off than relative |theirs| + absolute.
inline QByteArray compared(const std::vector<double>& ours, const std::vector<double>& theirs, double relative,
                           double absolute = 0) {
  const auto number = [](double value) { return QByteArray::number(value, 'g', 17); };
  if (ours.size() != theirs.size() || ours.empty())
    return "sizes " + QByteArray::number(qulonglong(ours.size())) + " and " + QByteArray::number(qulonglong(theirs.size()));
  for (std::size_t i = 0; i < ours.size(); ++i)
    if (!(std::fabs(ours[i] - theirs[i]) <= relative * std::fabs(theirs[i]) + absolute))
      return "entry " + QByteArray::number(qulonglong(i)) + ": " + number(ours[i]) + " instead of " + number(theirs[i]);
  return {};
}

}  // namespace nibble::test
