// SPDX-License-Identifier: GPL-3.0-or-later
// The container reader of the proof decoders: finds an array in a written .safetensors, .npz or .gguf file and gives its bytes. On
// purpose it shares nothing with core/io and core/quant (plain std, nlohmann-json and libzip), so that a mistake there cannot
// hide itself. The kind of file is told by its first bytes, not its name. Also the few numeric facts proofs need: halves.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace nibble::proof {

struct Array {
  std::string type;  // as in safetensors: "U8", "U16", "I32", "I64", "F16", "BF16", "F32"; "ggml 12": GGUF's block types
  std::vector<std::uint64_t> shape;
  std::vector<unsigned char> bytes;

  [[nodiscard]] std::uint64_t count() const;                      // elements by the shape
  [[nodiscard]] std::uint64_t unsignedAt(std::uint64_t i) const;  // little-endian element as stored
  [[nodiscard]] float floatAt(std::uint64_t i) const;             // F32, F16 and BF16
  [[nodiscard]] std::string text() const;                         // the bytes
  [[nodiscard]] bool is(const std::string& wantedType, const std::vector<std::uint64_t>& wantedShape) const;
};

class Container {
 public:
  static Result<Container> open(const std::filesystem::path& file);
  [[nodiscard]] std::vector<std::string> names() const;
  // Whether `Array::type` is what the file itself says, in these words (.npz has words of its own).
  [[nodiscard]] bool isGguf() const { return m_gguf; }
  [[nodiscard]] bool has(const std::string& name) const { return m_places.count(name) != 0; }
  [[nodiscard]] Result<Array> read(const std::string& name) const;
  // A single number of an integer type.
  [[nodiscard]] Result<std::int64_t> number(const std::string& name, const std::string& type) const;

 private:
  struct Place {
    std::string type;
    std::vector<std::uint64_t> shape;
    std::uint64_t begin = 0, size = 0;  // in the file; npz: index of the entry and its size
  };
  Status openSafetensors();
  Status openNpz();
  Status openGguf();
  std::filesystem::path m_file;
  bool m_zip = false, m_gguf = false;
  std::map<std::string, Place> m_places;
};

// Nearest value of the named float type ("float32", "float16", "bfloat16"), ties to even, from the exact double.
float rounded(double value, const std::string& type);

}  // namespace nibble::proof
