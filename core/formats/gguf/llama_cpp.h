// SPDX-License-Identifier: GPL-3.0-or-later
// A Hugging Face model as the GGUF file that llama.cpp loads: its names, the order of rows of q and k, the architecture's and
// the tokenizer's metadata (family.h, tokenizer.h). What it would not load fails the pre-flight, with the reason.
#pragma once
#include "core/formats/format.h"

#include <memory>

namespace nibble::formats::gguf {

std::unique_ptr<ModelFile> llamaCppFile(const ModelSource& source);

}  // namespace nibble::formats::gguf
