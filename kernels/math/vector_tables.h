// SPDX-License-Identifier: GPL-3.0-or-later
// The vectors that codes of GGUF's iq1, iq2 and iq3 types stand for: facts of the file format. One number an entry; digit i of it
// (2 bits for vectors of eight, 3 for vectors of four, low digits first) picks the magnitude of the vector's element i.
// Source: the tables of ggml 0.25.3 (MIT), ggml-common.h, packed anew.
#pragma once
#include <cstdint>
#include <span>

namespace nibble::kernels {

struct VectorTable {
  std::span<const std::uint16_t> entries;
  std::span<const std::int8_t> values;  // what a digit stands for
  int dimension = 8;                    // elements of an entry
  int digitBits = 2;
  [[nodiscard]] int at(std::size_t entry, int element) const {
    return values[static_cast<std::size_t>(entries[entry] >> (digitBits * element) & ((1 << digitBits) - 1))];
  }
};

const VectorTable& iq2xxsVectors();  // 256 x 8
const VectorTable& iq2xsVectors();   // 512 x 8
const VectorTable& iq2sVectors();    // 1024 x 8
const VectorTable& iq3xxsVectors();  // 256 x 4
const VectorTable& iq3sVectors();    // 512 x 4
const VectorTable& iq1Vectors();     // 2048 x 8, signed

}  // namespace nibble::kernels
