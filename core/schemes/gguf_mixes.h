// SPDX-License-Identifier: GPL-3.0-or-later
// llama.cpp's named mixes (Q4_K_M and kin) as data: which scheme each tensor of a model gets. The rules look at what a tensor is
// for, its place among the layers, how many query heads share a key head, and whether an importance matrix is at hand.
// Names are understood as GGUF spells them (blk.3.attn_v.weight) and as the checkpoints of Llama-like models and BERT do.
// Not covered: the exceptions for mixtures of experts and for Falcon, and mixes of iq1 .. iq3.
// Source: llama.cpp (MIT, in llama-cpp-python 0.3.36), llama-quant.cpp.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct MixTensor {
  std::string name;
  std::uint64_t rows = 0, columns = 0;
  int dimensions = 2;
};

struct MixAssignment {
  std::string tensor;
  std::string scheme;  // text of a choice; empty: the tensor stays as it is
  std::string note;    // why it stays, or which type was meant where columns do not divide
};

std::vector<std::string_view> mixNames();  // "Q4_0", ..., "Q4_K_M", ...

// One assignment per tensor, in their order. Errors: an unknown mix (with the list), no tensor of a known family.
Result<std::vector<MixAssignment>> mixAssignments(std::string_view mix, std::span<const MixTensor> tensors, bool importance);

}  // namespace nibble
