// SPDX-License-Identifier: GPL-3.0-or-later
// What can be trained step by step: a loss over data, parameters, and the gradient of the one by the others. A method
// (adapters, DiffQ, LSQ, ...) is one file that implements this. A pass depends on the parameters, the pass's numbers and what
// the object was made from, on nothing it did before: that is what makes stepping back exact. One thread at a time.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/train/parameter.h"

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::train {

struct NamedArray {
  std::string name;
  Shape shape;
  std::vector<double> values;
};

// A number with its key in JSON output: "sizeMb", "deltaD".
struct Figure {
  std::string key;
  double value = 0;
  bool operator==(const Figure&) const = default;
};

struct RowRange {
  std::uint64_t begin = 0, count = 0;
};

// One forward and backward pass of a step; a step has `parts` of them (gradient accumulation), the step's loss is their mean.
struct Pass {
  std::uint64_t step = 1;  // t = 1, 2, ...
  std::uint64_t part = 0, parts = 1;
  std::uint64_t batchRows = 0;  // rows of data in one pass, taken in turn; 0: all rows, divided over the parts
  [[nodiscard]] std::uint64_t number() const { return (step - 1) * parts + part; }  // counted over the whole run
  [[nodiscard]] double weight() const { return 1.0 / static_cast<double>(parts); }
  // Which rows of so many are used. A batch that would run over the end starts again at the first row.
  [[nodiscard]] RowRange rows(std::uint64_t all) const;
};

class Trainable {
 public:
  Trainable() = default;
  Trainable(const Trainable&) = delete;
  Trainable& operator=(const Trainable&) = delete;
  virtual ~Trainable() = default;

  [[nodiscard]] virtual std::vector<Parameter>& parameters() = 0;
  [[nodiscard]] const std::vector<Parameter>& parameters() const { return const_cast<Trainable*>(this)->parameters(); }

  // The loss, and pass.weight() times its gradients added to Parameter::gradient.
  virtual Result<double> pass(const Pass& pass, const Context& context) = 0;
  // One update of every parameter from its gradient, with Parameter::moved counted (optimizer.h); a method whose numbers are no
  // free floats has its own. All or nothing. Errors: cancelled, what that method cannot hold.
  virtual Status update(const OptimizerSettings& settings, double scheduleFactor, std::uint64_t step, const Context& context);
  // The loss over all rows as the finished layer has it: no noise, truly quantized. No gradients.
  virtual Result<double> evaluate(const Context& context) = 0;
  // Of the last pass, for every step's record ("sizeMb", "deltaM", "deltaD").
  [[nodiscard]] virtual std::vector<Figure> figures() const { return {}; }

  // What a viewer can look at, of the last pass: parameters as they were in it ("A", "B", "BA", "norm", "x", "W0", "y",
  // "grad/A" ...), "output" among them. Large ones are made when asked for.
  [[nodiscard]] virtual std::vector<std::string> arrayNames() const = 0;
  // Errors: no such array; no pass was made yet.
  [[nodiscard]] virtual Result<NamedArray> array(std::string_view name) const = 0;

  // Further numbers about the finished run (what merging costs, true sizes).
  virtual Result<std::vector<Figure>> finalFigures(const Context&) { return std::vector<Figure>{}; }
  // What training was for, into an existing folder: an adapter, merged weights, a recipe. Gives the files' names.
  virtual Result<std::vector<std::string>> write(const std::filesystem::path& folder, const Context& context) = 0;
  // Another price of size, where the loss has one; false: it has none. Whoever does this tells the stepper (Stepper::setLambda).
  virtual bool setLambda(double /*lambda*/) { return false; }
  // A checksum of everything the passes depend on besides the parameters; a run only resumes where it is the same.
  [[nodiscard]] virtual std::uint64_t dataChecksum() const = 0;
};

// Starts at 0; continue with the answer for more values. FNV-1a over the bytes.
std::uint64_t checksum(std::span<const double> values, std::uint64_t before = 0);
std::uint64_t checksum(std::span<const float> values, std::uint64_t before = 0);

}  // namespace nibble::train
