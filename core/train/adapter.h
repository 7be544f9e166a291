// SPDX-License-Identifier: GPL-3.0-or-later
// Low-rank adapters over one frozen matrix W [out, in], float or quantized: LoRA, rsLoRA, DoRA, QLoRA, QDoRA.
//   V = W + s B A,   A [r, in], B [out, r];   n_i = |row i of V|
//   y = (g m / n) (x V^T) + bias,  g = 1 (Variant::Peft) or alpha (Document000);  LoRA: y = x V^T + bias
// Gradients in closed form (spec section 2.4), with n as a constant or with its own gradient. V is never made: the norms come
// from
//   n_i^2 = |w_i|^2 + 2 s B_i (A w_i^T) + s^2 B_i (A A^T) B_i^T
// and outputs are worked on in tiles of rows of W, so that a step needs no more memory than its tokens x out numbers.
// Arithmetic is float64 where numbers are stored as f64, else float32; Document000 in f16 rounds every intermediate result to
// float16, as that document computes. Sums have one order, whatever the number of threads.
// Arrays to look at: x, W0 (the base), A, B, BA (with its scale), V, norm, magnitude, z (x V^T), y and output, target, bias,
// grad/A, grad/B, grad/magnitude, grad/x.
#pragma once
#include "core/train/layer_data.h"
#include "core/train/trainable.h"

#include <memory>
#include <optional>
#include <vector>

namespace nibble::train {

// Starting values that were given, or came out of a decomposition.
struct AdapterValues {
  std::vector<double> a, b, magnitude;  // [r, in], [out, r], [out]; empty: not given
};

// `lora_A`, `lora_B`, `lora_magnitude_vector` of a file, each where it is there; also under PEFT's key names, alone or for the
// layer's module. Errors: shapes that do not fit, values that are not finite.
Result<AdapterValues> readAdapterValues(const std::filesystem::path& file, const LayerData& layer, std::uint64_t rank);

// The rank of the lora_A in such a file.
Result<std::uint64_t> adapterRank(const std::filesystem::path& file);

Result<std::unique_ptr<Trainable>> makeAdapter(const TrainJob& job, const Context& context);
// The same from data in memory; `settings.init` is not read, `given` stands for it.
Result<std::unique_ptr<Trainable>> makeAdapter(LayerData layer, const TrainSettings& settings, const AdapterValues& given,
                                               const Context& context);

// The scale s of BA, and whether there is a magnitude.
double adapterScale(const AdapterSettings& settings, std::string_view method);
bool hasMagnitude(std::string_view method);

}  // namespace nibble::train
