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

enum class MethodKind : std::uint8_t {
  Adapter,      // of low rank, over a frozen base
  Packed,       // weights that are quantized and stay so
  LearnedBits,  // quantized in every pass, with widths that learn
  FixedBits,    // the same with widths that are given
};
// Whether one run may train several tensors.
constexpr bool trainsSeveral(MethodKind kind) {
  return kind == MethodKind::LearnedBits || kind == MethodKind::FixedBits;
}

struct Method {
  std::string_view id, summary;
  MethodKind kind;
  bool needsBase;  // refused without a scheme in AdapterSettings::base
  Result<std::unique_ptr<Trainable>> (*make)(const TrainJob& job, const Context& context);
};

std::span<const Method> allMethods();
const Method* findMethod(std::string_view id);
// Adapter for an unknown method.
MethodKind kindOf(std::string_view methodId);
// What a method starts from where nothing else is said.
TrainSettings defaultSettings(std::string_view methodId);

// Checks the settings against the method, reads weights and data, makes the start. Errors name the tensor or the file.
Result<std::unique_ptr<Trainable>> makeTrainable(const TrainJob& job, const Context& context);

}  // namespace nibble::train
