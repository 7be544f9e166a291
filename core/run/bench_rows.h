// SPDX-License-Identifier: GPL-3.0-or-later
// What the benchmark runs (bench.h): kernels on strips, whole schemes through run(), first touch of memory and files.
#pragma once
#include "core/base/context.h"
#include "core/base/huge_array.h"
#include "core/base/result.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nibble::benchmarks {

// Weights of a normal-like distribution, the same on every run, and room for what becomes of them; all pages touched.
class Buffers {
 public:
  Buffers(std::size_t weights, const kernels::Backend& backend);
  [[nodiscard]] std::span<const float> weights() const { return m_weights->values(); }
  [[nodiscard]] std::span<std::uint8_t> codes() const { return m_codes.values(); }
  [[nodiscard]] std::span<float> decoded() const { return m_decoded.values(); }
  [[nodiscard]] std::shared_ptr<const void> owner() const { return m_weights; }

 private:
  std::shared_ptr<HugeArray<float>> m_weights;
  HugeArray<std::uint8_t> m_codes;
  HugeArray<float> m_decoded;
};

struct Row {
  std::string name;
  std::uint64_t weights = 0;
  double goal = 0;
  std::function<Status()> work;
  std::function<Status()> read = {};  // reads once what the row's unit is; none: its weights as float32
};

void addTrainRows(std::vector<Row>& rows, Buffers& buffers, const Context& context);   // bench_train.cpp
void addLinearRows(std::vector<Row>& rows, Buffers& buffers, const Context& context);  // bench_linear.cpp
void addSchemeRows(std::vector<Row>& rows, Buffers& buffers, const Context& context);  // bench_schemes.cpp
// The rows keep references to the buffers.
std::vector<Row> allRows(Buffers& buffers, const Context& context);

}  // namespace nibble::benchmarks
