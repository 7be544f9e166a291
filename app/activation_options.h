// SPDX-License-Identifier: GPL-3.0-or-later
// The part of a command line that says what is known about activations: --input-weights, --inputs, --gram. Every command that
// quantizes has it.
#pragma once
#include "app/program.h"
#include "core/run/activation_files.h"

namespace nibble::cli {

struct ActivationOptions {
  std::string inputWeights, inputs, gram;

  void add(CLI::App& command);
  // What the files say about these tensors, with warnings on standard error; nothing given: empty data. The answer must outlive
  // the context it is put into.
  [[nodiscard]] Result<ActivationData> read(const Program& program, const WeightList& weights,
                                            const std::vector<std::string>& names) const;
};

}  // namespace nibble::cli
