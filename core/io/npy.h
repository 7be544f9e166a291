// SPDX-License-Identifier: GPL-3.0-or-later
// NumPy's .npy arrays (format versions 1.0 to 3.0, C and Fortran order) and .npz archives of them.
// Source of the layout: NEP 1 and numpy.lib.format's documentation.
#pragma once
#include "core/base/result.h"
#include "core/io/safetensors_writer.h"
#include "core/tensor/tensor.h"

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace nibble {

struct NpyHeader {
  DType type = DType::F32;
  Shape shape;
  bool fortranOrder = false;
  std::size_t dataOffset = 0;
};

// Reads the header at the start of `bytes`; refuses types a weight cannot have (objects, strings, big-endian records ...).
// `|V2` and `<u2`-annotated bfloat16 read as BF16 where the descriptor says "bfloat16" or is a two-byte void.
Result<NpyHeader> parseNpyHeader(std::span<const std::byte> bytes);

// A complete .npy image (version 1.0, C order); BF16 and 8-bit floats have no NumPy name and are refused.
Result<std::vector<std::byte>> npyImage(const RawTensor& tensor);

// Writes .npz (stored, not compressed) atomically; array names are `RawTensor::name` without ".npy".
Status writeNpz(const std::filesystem::path& destination, const std::vector<RawTensor>& arrays);
Status writeNpy(const std::filesystem::path& destination, const RawTensor& tensor);

}  // namespace nibble
