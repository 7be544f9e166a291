// SPDX-License-Identifier: GPL-3.0-or-later
// Every candidate on every tensor: the figures of the Compare page and of `nibblescope-cli compare`. Tensors are read one at a
// time, and quantized weights are dropped once they are measured, so memory is that of one tensor whatever their number.
// Progress counts weights, one per weight and candidate.
#pragma once
#include "core/quant/layout.h"
#include "core/report/bound.h"
#include "core/run/run.h"
#include "core/run/weight_list.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace nibble {

struct ComparedCandidate {
  std::string tensor;
  std::string scheme;   // canonical text
  std::string mix;      // the named mix that chose the scheme for this tensor; empty as a rule
  std::string reading;  // of a packed layer that can be read in two ways; empty as a rule
  std::uint64_t weights = 0;
  StorageSize size;
  double bitsPerWeight = 0;
  ErrorReport report;
  std::shared_ptr<const MemorylessBound> bound;  // of the tensor the errors are against; one for all candidates
  double seconds = 0;              // quantizing and measuring
  std::vector<std::string> notes;  // of the scheme, for a person
  // How far the MSE lies above the memoryless bound at the candidate's true size; none where the bound does not hold.
  [[nodiscard]] std::optional<double> decibelsFromBound() const { return bound ? bound->decibels(report.mse(), bitsPerWeight) : std::nullopt; }
};

struct CompareJob {
  const WeightList* weights = nullptr;
  std::vector<std::string> tensors;
  std::vector<Choice> choices;
  std::vector<std::string> mixes;  // llama.cpp's ("Q4_K_M"), further candidates: of each tensor what the mix makes of it here
  bool skipRefused = false;  // of a product of variations, what does not fit a shape is left out
  int histogramBins = 0;
  const WeightList* reference = nullptr;  // errors are against the tensors of the same names there; null: against the input.
                                          // A packed layer of doubtful reading is then measured in each of its readings.
  std::function<void(const std::string&)> warn;  // called on the calling thread with one line
};

// Where the context knows E[x^2] of a tensor's inputs, its candidates have a weightedMse. What cannot be done is found before work starts: a refused choice, a reference of another shape.
Result<std::vector<ComparedCandidate>> compare(const CompareJob& job, const Context& context);

// Which named mixes make what of a tensor of this model, without importance weights: canonical text of the choice -> mixes.
std::map<std::string, std::vector<std::string>> mixesByChoice(const WeightList& weights, const std::string& tensor);

// The memoryless bound of a tensor of the list. A packed layer has none: its weights are the few values its codes allow.
Result<MemorylessBound> boundOf(const WeightList& weights, const std::string& name, const Tensor& tensor, const Context& context);

}  // namespace nibble
