// SPDX-License-Identifier: GPL-3.0-or-later
// Importance matrices of llama.cpp: E[x^2] per input channel of a layer, as llama-imatrix collects them, in both its forms.
//
//   .dat   little endian: int32 entries; per entry int32 name length, name, int32 ncall, int32 nval, nval float32; what follows
//          (chunk count, name of the data set) is not needed. E[x^2] = value / ncall; ncall <= 0: the values as they are.
//   GGUF   keys imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size; two F32 tensors per entry: NAME.in_sum2 (sums of x^2
//          over tokens) and NAME.counts. E[x^2] = sum / count, all ones where the count is 0 (an expert nobody asked).
//
// A 3-d stack of experts has one slice of `in` values per matrix, one after another; the .dat form does not say how many.
// Refused: what llama-quantize refuses, and negative values, which it uses unseen. An entry given twice: the later one counts.
// Source: llama.cpp common/imatrix-loader and tools/imatrix (facts only).
#pragma once
#include "core/base/result.h"
#include "core/io/checkpoint.h"

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace nibble {

// By llama.cpp's tensor name: E[x^2] of every input channel, matrix after matrix.
using Imatrix = std::map<std::string, std::vector<float>, std::less<>>;

// Errors name the entry and the first bad index, not the file.
Result<Imatrix> readImatrix(std::span<const std::byte> dat);
Result<Imatrix> readImatrix(const Checkpoint& gguf);

}  // namespace nibble
