// SPDX-License-Identifier: GPL-3.0-or-later
// Runs a Trainable step by step: forward, run to a step, back to any earlier one, reset. A step's record holds the loss before
// its update, the gradients' norms and what the update moved. Going back restores the nearest kept state and computes the rest
// again, to the same bits; kept states thin out (every 2nd, 4th, ... step) when they reach the memory bound. A run stops early
// at a breakpoint, or where loss or gradient is not finite: then the step is not done and the run so far stands. One thread at
// a time; a viewer on another thread copies records between steps.
#pragma once
#include "core/train/train_settings.h"
#include "core/train/trainable.h"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble::train {

struct ParameterRecord {
  std::string name;
  double gradientNorm = 0;  // before clipping
  Moved moved;
  bool operator==(const ParameterRecord&) const = default;
};

struct StepRecord {
  std::uint64_t step = 0;  // 1, 2, ...
  double loss = 0;
  double learningRate = 0;
  std::vector<ParameterRecord> parameters;
  std::vector<Figure> figures;  // of the method
  bool operator==(const StepRecord&) const = default;
};

struct Breakpoints {
  std::optional<double> lossAbove;
  bool nothingMoved = false;  // an update after which every parameter is what it was
};

enum class StopReason : std::uint8_t { Reached, LossAbove, NothingMoved, NotFinite };
std::string_view text(StopReason reason);

class Stepper {
 public:
  static constexpr std::uint64_t defaultMemory = std::uint64_t{256} << 20;

  // The settings' optimizer, schedule, clipping, accumulation and batch are used. `memory` bounds the kept states, in bytes;
  // the start is always kept.
  Stepper(std::unique_ptr<Trainable> trainable, TrainSettings settings, std::vector<std::string> tensors,
          std::uint64_t memory = defaultMemory);

  [[nodiscard]] std::uint64_t position() const { return m_records.size(); }  // steps done
  [[nodiscard]] const std::vector<StepRecord>& records() const { return m_records; }
  [[nodiscard]] Trainable& trainable() { return *m_trainable; }
  [[nodiscard]] const Trainable& trainable() const { return *m_trainable; }
  [[nodiscard]] const TrainSettings& settings() const { return m_settings; }
  [[nodiscard]] const std::vector<std::string>& tensors() const { return m_tensors; }
  [[nodiscard]] std::uint64_t keptBytes() const;
  [[nodiscard]] std::vector<std::uint64_t> keptSteps() const;

  // One step. Errors: a loss or gradient that is not finite (nothing changed), cancelled.
  Result<StepRecord> step(const Context& context);
  using Visit = std::function<Status(const StepRecord&)>;
  // Forward until `step` steps are done or a breakpoint is met; `visit` sees every record.
  Result<StopReason> runTo(std::uint64_t step, const Breakpoints& breakpoints, const Context& context, const Visit& visit = {});
  // To any step, back or forward. Back makes the last step's pass again, so that its arrays can be looked at.
  Status goTo(std::uint64_t step, const Context& context);
  // To the start, or to where settings were last changed.
  Status reset();
  // Whoever changes something that passes depend on (lambda, while bits learn) says so: earlier steps cannot be made again.
  void settingsChanged();
  // Another price of size from the next step on, where the method has one. Errors: it has none, a number below 0.
  Status setLambda(double lambda);
  // The pass the next step will begin with, without an update: for a look at the current parameters.
  Result<double> look(const Context& context);
  // Why the last runTo ended at NotFinite.
  [[nodiscard]] const std::string& notFinite() const { return m_notFinite; }

  // The run so far as one file (safetensors, written atomically): parameters, optimizer states, records.
  [[nodiscard]] Status save(const std::filesystem::path& file) const;
  // Goes on from such a file; the same settings, tensors and data, or it is refused with the first difference named.
  Status resume(const std::filesystem::path& file);

 private:
  struct Kept {
    std::vector<std::vector<double>> values;
    std::vector<Parameter::State> states;
    std::vector<Moved> moved;
    [[nodiscard]] std::uint64_t bytes() const;
  };
  [[nodiscard]] Kept current() const;
  void restore(const Kept& kept);
  void keep();
  Result<double> passes(std::uint64_t step, const Context& context);
  [[nodiscard]] std::string badGradient() const;

  std::unique_ptr<Trainable> m_trainable;
  TrainSettings m_settings;
  std::vector<std::string> m_tensors;
  std::uint64_t m_memory, m_every = 1, m_first = 0;
  std::map<std::uint64_t, Kept> m_kept;
  std::vector<StepRecord> m_records;
  std::string m_notFinite;
};

}  // namespace nibble::train
