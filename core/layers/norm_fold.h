// SPDX-License-Identifier: GPL-3.0-or-later
// Where SmoothQuant's division of a layer's inputs goes: into the norm before it, weight and bias divided by the scales, which is
// exact where the norm's output feeds linear layers alone, all of which then share the scales:
//   pre-norm blocks (Llama and kin, Mixtral, OPT, Falcon)   x + f(norm(x)): the residual is x, before the norm
//   post-norm blocks (BERT, BART, OPT-350m)                 norm(x + f(x)): its output is also the next residual: refused
// Families are known by their tensors' names and, where names do not say it, config.json. Source: spec uniform 1.5, 1.6.
#pragma once
#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/io/safetensors_writer.h"

#include <span>
#include <string>
#include <vector>

namespace nibble {

struct NormFold {
  std::string norm;                    // module of the norm: "model.layers.0.input_layernorm"; empty: none is known
  std::vector<std::string> consumers;  // weights that share its output, the asked one among them
  std::string refusal;                 // why nothing can be folded there; empty: it can
};
NormFold normFold(const Checkpoint& checkpoint, const std::string& weight);

// The norm's parameters divided and the consumers' columns multiplied, in float32, under their names. Scales are those of all
// consumers together. Errors: the fold's refusal, samples of another width, tensors that cannot be read.
Result<std::vector<RawTensor>> foldSmoothing(const Checkpoint& checkpoint, const NormFold& fold, std::span<const float> samples,
                                             std::uint64_t channels, double alpha);

}  // namespace nibble
