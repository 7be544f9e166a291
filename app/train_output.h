// SPDX-License-Identifier: GPL-3.0-or-later
// What `train` prints: the contract's JSON, or a table of at most twenty steps and the final numbers.
#pragma once
#include "core/train/stepper.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace nibble::cli {

struct TrainResult {
  std::vector<train::StepRecord> steps;
  double startLoss = 0, loss = 0;  // over all rows, before the first and after the last update
  std::vector<train::Figure> figures;
  train::StopReason stop = train::StopReason::Reached;
  std::string stopDetail;          // of a number that is not finite
  std::string out;                 // empty: nothing was written
  std::vector<std::string> files;  // in it
};

nlohmann::ordered_json trainJson(const TrainResult& result);
std::string trainText(const TrainResult& result);

}  // namespace nibble::cli
