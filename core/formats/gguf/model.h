// SPDX-License-Identifier: GPL-3.0-or-later
// What a written GGUF file says beside the tensors of its layers. For llama.cpp a Hugging Face model becomes one of llama.cpp's
// (llama_cpp.h); without a runtime tensors keep the names of their source. From a GGUF source its metadata are carried over
// (without `split.*`, with the new file type).
#pragma once
#include "core/formats/format.h"
#include "core/io/gguf.h"

#include <memory>
#include <string_view>
#include <vector>

namespace nibble::formats::gguf {

std::unique_ptr<ModelFile> modelFile(const ModelSource& source);

// The whole file: these values, with the version of the block types and the file's type.
Status writeModel(const std::filesystem::path& path, const std::vector<RawTensor>& arrays, std::vector<GgufValue> values,
                  std::string_view mix);

// `general.file_type` of a file with these tensors: the mix's own number, else that of the commonest type of matrices.
std::uint32_t fileType(std::string_view mix, const std::vector<RawTensor>& tensors);

// The values with this one in place of one of the same key, else at the end.
void setValue(std::vector<GgufValue>& values, GgufValue value);

}  // namespace nibble::formats::gguf
