// SPDX-License-Identifier: GPL-3.0-or-later
// NumPy's .npy arrays (format versions 1.0 to 3.0, C and Fortran order) and .npz archives of them.
// Source of the layout: NEP 1 and numpy.lib.format's documentation.
#pragma once
#include "core/base/result.h"
#include "core/io/safetensors_writer.h"
#include "core/tensor/tensor.h"

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace nibble {

struct NpyHeader {
  DType type = DType::F32;
  Shape shape;
  bool fortranOrder = false;
  bool bigEndian = false;  // items of more than one byte, most significant byte first
  std::size_t dataOffset = 0;
  std::uint64_t dataBytes = 0;  // elements x item size, checked for overflow
  std::string foreignType;      // why the values are no weights; then nothing but `dataOffset` is known
};

// Bytes of magic, version, length and header text, from the first 12 bytes of an array; at most 1 MiB is accepted.
Result<std::size_t> npyHeaderBytes(std::span<const std::byte> start);

// Reads the header at the start of `bytes` (the values may be missing); refuses types a weight cannot have (objects, strings,
// dates, records ...). `V2` and "bfloat16" read as BF16, `f1` as F8_E5M2 (as ml_dtypes writes them), "float8_e4m3fn" and its
// kin by name; `V1` is refused, because it may be any 8-bit type.
Result<NpyHeader> parseNpyHeader(std::span<const std::byte> bytes);
// The same, but a type that weights cannot have is no error: `foreignType` says what it is.
Result<NpyHeader> readNpyHeader(std::span<const std::byte> bytes);

// The values in row-major order, little-endian: what a header with `fortranOrder` or `bigEndian` needs before use. `data` are
// the bytes after the header.
Result<std::shared_ptr<std::byte[]>> npyRowMajor(const NpyHeader& header, std::span<const std::byte> data);

// A complete .npy image (version 1.0, C order); BF16 and 8-bit floats have no NumPy name and are refused.
Result<std::vector<std::byte>> npyImage(const RawTensor& tensor);
// Its first part, up to the values.
Result<std::string> npyPreamble(const RawTensor& tensor);

// Writes .npz (stored, not compressed) atomically; array names are `RawTensor::name` without ".npy". Values begin at multiples
// of 64 bytes, so that a reader can use them where they lie. The same arrays give the same bytes.
Status writeNpz(const std::filesystem::path& destination, const std::vector<RawTensor>& arrays);
Status writeNpy(const std::filesystem::path& destination, const RawTensor& tensor);

}  // namespace nibble
