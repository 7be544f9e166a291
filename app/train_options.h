// SPDX-License-Identifier: GPL-3.0-or-later
// The options of `train`: those of the table in core/train/train_options.h, and what only the command line has. The rank is
// that of --init's lora_A where it is not given.
#pragma once
#include "app/activation_options.h"
#include "app/selection_options.h"
#include "app/train_run.h"
#include "core/train/stepper.h"

#include <functional>
#include <map>
#include <string>

namespace nibble::cli {

struct TrainOptions {
  SelectionOptions selection;
  ActivationOptions activations;
  TrainFiles files;
  bool json = false;

  void add(CLI::App& command);
  // `warn` hears of options that mean nothing to the method.
  [[nodiscard]] train::TrainSettings settings(const std::function<void(const std::string&)>& warn) const;
  [[nodiscard]] train::Breakpoints breakpoints() const;

 private:
  void addFiles(CLI::App& command);

  std::map<std::string, std::string> m_texts;  // as written, by key
  std::string m_base;
  bool m_stopNothingMoved = false;
  double m_stopLoss = 0;
  CLI::Option* m_stopLossGiven = nullptr;
};

}  // namespace nibble::cli
