// SPDX-License-Identifier: GPL-3.0-or-later
// Training with quantized weights: bits per group that learn under a price for size (DiffQ), and, to compare with, a learned
// step size (LSQ) and the straight-through estimator, both at fixed bits. The arithmetic is in bits_model.h and weight_rule.h.
#pragma once
#include "core/train/layer_data.h"
#include "core/train/trainable.h"

#include <memory>
#include <vector>

namespace nibble::train {

enum class BitsMethod : std::uint8_t { Diffq, Lsq, Ste };

// First values that were given, for tensor `name`: logits, or a step size; empty: the method's own.
struct BitsValues {
  std::string name;
  std::vector<double> own;
};

Result<std::unique_ptr<Trainable>> makeDiffq(const TrainJob& job, const Context& context);
Result<std::unique_ptr<Trainable>> makeLsq(const TrainJob& job, const Context& context);
Result<std::unique_ptr<Trainable>> makeSte(const TrainJob& job, const Context& context);
// The same from data in memory; `settings.init` is not read, `given` stands for it.
Result<std::unique_ptr<Trainable>> makeBits(BitsMethod method, std::vector<LayerData> layers, const TrainSettings& settings,
                                            const std::vector<BitsValues>& given, const Context& context,
                                            const std::function<void(const std::string&)>& warn = {});

}  // namespace nibble::train
