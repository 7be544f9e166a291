// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF files, versions 2 and 3: magic, version, counts, metadata of typed values, the list of tensors, their bytes aligned.
// Dimensions stand in the file fastest first and here slowest first ([out, in]). Block-typed tensors are U8 with rows of bytes and
// `TensorEntry::block`. Parts "-0000i-of-0000N" of a split model are opened together by any of their names.
// As ggml's own reader (0.25.3) we refuse: tensors that are not listed in the order of their bytes without holes, more than four
// dimensions, names above 63 bytes or twice, nested arrays, empty or repeated keys, an alignment that is no power of two,
// unknown types. Unlike it we take a file that ends right after its last tensor. A bool other than 0 counts as true, as there.
// Source: docs/gguf.md and gguf.cpp of ggml (MIT).
#pragma once
#include "core/base/result.h"
#include "core/io/file_checkpoint.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nibble {

class AtomicFile;
struct RawTensor;

enum class GgufType : std::uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

// One metadata value as it stands in the file (of an array: element type, count, elements).
struct GgufValue {
  std::string key;
  GgufType type = GgufType::U8;
  std::vector<std::byte> bytes;

  static GgufValue text(std::string key, std::string_view value);
  static GgufValue number(std::string key, std::uint32_t value);  // U32
  static GgufValue real(std::string key, float value);            // F32
  static GgufValue flag(std::string key, bool value);
  static GgufValue texts(std::string key, std::span<const std::string> values);
  static GgufValue numbers(std::string key, std::span<const std::int32_t> values);
  static GgufValue reals(std::string key, std::span<const float> values);
};

// For people: long arrays and texts are cut and say how long they are.
std::string displayText(const GgufValue& value);

struct GgufHeader {
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  std::vector<GgufValue> values;
  std::vector<TensorEntry> entries;
  std::vector<std::uint64_t> offsets;  // of each tensor's first byte in the file
};

// `file` is the whole file; only the header's bytes are touched. Refusals name the key or tensor; the caller knows the file.
Result<GgufHeader> parseGgufHeader(std::span<const std::byte> file);

// A GGUF file or its parts. Metadata of the first part that has a key counts.
class GgufCheckpoint final : public FileCheckpoint {
 public:
  static Result<std::shared_ptr<const GgufCheckpoint>> open(const std::filesystem::path& path, const Context& context);
  using FileCheckpoint::read;
  [[nodiscard]] std::string_view format() const override { return "gguf"; }
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override;
  [[nodiscard]] const std::vector<GgufValue>& values() const { return m_values; }  // of the first file

 private:
  explicit GgufCheckpoint(std::filesystem::path path) : FileCheckpoint(std::move(path)) {}
  Status addPart(const std::filesystem::path& path);
  std::vector<std::uint64_t> m_offsets;
  std::vector<GgufValue> m_values;
};

// Number of a type in the file for a stored tensor; none: GGUF has no such type.
std::optional<std::uint32_t> ggufTypeOf(DType type, std::optional<kernels::BlockType> block);

// Writes version 3. `general.alignment` among the values sets the alignment, else 32. Refuses what the reader would.
Status writeGguf(AtomicFile& file, const std::vector<RawTensor>& tensors, const std::vector<GgufValue>& values);

}  // namespace nibble
