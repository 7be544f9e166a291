// SPDX-License-Identifier: GPL-3.0-or-later
// Everything a run goes through as one .npz, written array by array as steps are made: for step s = 1, 2, ...
//   s/loss   before the update;  s/output (TENSOR/output when several train);  s/grad/P as the optimizer got it;
//   s/P      after the update, P the name of a parameter
// float64 where parameters are stored so, else float32 (which holds every bfloat16 and float16); losses are float64. The file
// appears whole at the end, or not at all.
#pragma once
#include "core/io/atomic_file.h"
#include "core/io/zip_writer.h"
#include "core/train/stepper.h"

#include <memory>

namespace nibble::train {

class TraceFile {
 public:
  static Result<std::unique_ptr<TraceFile>> create(const std::filesystem::path& path);
  // After a step of this stepper.
  Status add(const StepRecord& record, const Trainable& trainable);
  Status finish();

 private:
  explicit TraceFile(AtomicFile file) : m_file(std::move(file)), m_zip(m_file) {}
  Status addArray(const std::string& name, const Shape& shape, std::span<const double> values, NumberType type);

  AtomicFile m_file;
  ZipWriter m_zip;
  std::vector<float> m_floats;
};

}  // namespace nibble::train
