// SPDX-License-Identifier: GPL-3.0-or-later
// The options of `train`, and the settings they stand for. Defaults are those of TrainSettings, but: alpha is the rank where it
// is not given (a scale of 1), 1 for document 000, which multiplies the output by it; the rank is that of --init's lora_A.
#pragma once
#include "app/activation_options.h"
#include "app/selection_options.h"
#include "core/train/stepper.h"

#include <string>

namespace nibble::cli {

struct TrainOptions {
  SelectionOptions selection;
  ActivationOptions activations;
  std::string trace, out, checkpoint, resume;
  std::uint64_t checkpointEvery = 50;
  bool json = false;

  void add(CLI::App& command);
  [[nodiscard]] Result<train::TrainSettings> settings() const;
  [[nodiscard]] train::Breakpoints breakpoints() const;

 private:
  void addAdapter(CLI::App& command);
  void addOptimizer(CLI::App& command);
  void addRun(CLI::App& command);
  void addBits(CLI::App& command);

  train::TrainSettings m_settings;
  // As written; settings() makes values of them.
  std::string m_variant, m_scaling, m_start, m_magnitude, m_schedule, m_type, m_loss, m_param, m_noiseKind;
  bool m_noDetectBound = false, m_stopNothingMoved = false;
  double m_stopLoss = 0;
  CLI::Option *m_rankGiven = nullptr, *m_alphaGiven = nullptr, *m_stopLossGiven = nullptr;
};

}  // namespace nibble::cli
