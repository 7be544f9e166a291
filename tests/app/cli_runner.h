// SPDX-License-Identifier: GPL-3.0-or-later
// Runs the built nibblescope-cli as a user does, and helps to look at what it said.
#pragma once
#include "core/io/npy.h"
#include "tests/support/golden.h"

#include <QByteArray>
#include <QProcess>
#include <QStringList>

#include <nlohmann/json.hpp>

#include <span>
#include <string>
#include <vector>

namespace nibble::test {

struct Ran {
  int status = -1;  // -1: did not start, crashed or took over two minutes
  QByteArray out, err;
  // The one JSON document on standard output; throws where there is anything else.
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(out.toStdString()); }
};

inline QProcessEnvironment& environment() {
  static QProcessEnvironment variables = QProcessEnvironment::systemEnvironment();
  return variables;
}

inline Ran runProgram(const QString& program, const QStringList& arguments) {
  QProcess process;
  process.setProcessEnvironment(environment());
  process.start(program, arguments);
  if (!process.waitForFinished(120000)) return {};
  return {process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -1, process.readAllStandardOutput(),
          process.readAllStandardError()};
}

inline Ran runCli(const QStringList& arguments) {
  return runProgram(NIBBLE_CLI, arguments);
}

inline QString samplePath() {
  return QString::fromStdString(resourcePath("sample/minilm-sample.safetensors").string());
}
inline QString sampleTensor() {
  return "encoder.layer.0.attention.self.query.weight";
}

inline RawTensor floatArray(const std::string& name, Shape shape, const std::vector<float>& values) {
  RawTensor tensor{name, DType::F32, std::move(shape), {}, {}};
  const auto bytes = std::as_bytes(std::span(values));
  tensor.owned.assign(bytes.begin(), bytes.end());
  return tensor;
}

// Weights that look random and are the same everywhere.
inline std::vector<float> someWeights(std::size_t count) {
  std::vector<float> values(count);
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = (static_cast<float>(state >> 8) / 8388608.0f - 1.0f) * 0.05f;
  }
  return values;
}

}  // namespace nibble::test
