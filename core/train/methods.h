// SPDX-License-Identifier: GPL-3.0-or-later
// The methods of training, one entry each. Adding one: a file that defines `Result<std::unique_ptr<Trainable>> makeX(job,
// context)` and a line in methods.cpp; it then stands on the command line and on the Train page.
#pragma once
#include "core/train/train_settings.h"
#include "core/train/trainable.h"

#include <memory>
#include <span>
#include <string_view>

namespace nibble::train {

struct Method {
  std::string_view id, summary;
  bool severalTensors;  // whether one run may train more than one
  bool needsBase;       // refused without a quantized base
  bool takesBase;       // AdapterSettings::base means something
  Result<std::unique_ptr<Trainable>> (*make)(const TrainJob& job, const Context& context);
};

std::span<const Method> allMethods();
const Method* findMethod(std::string_view id);

// Checks the settings against the method, reads weights and data, makes the start. Errors name the tensor or the file.
Result<std::unique_ptr<Trainable>> makeTrainable(const TrainJob& job, const Context& context);

}  // namespace nibble::train
