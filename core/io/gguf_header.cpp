// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/gguf.h"
#include "core/io/name_index.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace nibble {
namespace {

constexpr std::uint64_t longestName = 63, mostDimensions = 4;

// Bytes of one scalar; 0 for texts and arrays.
std::size_t scalarBytes(GgufType type) {
  switch (type) {
    case GgufType::U8: case GgufType::I8: case GgufType::Bool: return 1;
    case GgufType::U16: case GgufType::I16: return 2;
    case GgufType::U32: case GgufType::I32: case GgufType::F32: return 4;
    case GgufType::U64: case GgufType::I64: case GgufType::F64: return 8;
    case GgufType::String: case GgufType::Array: return 0;
  }
  return 0;
}

struct PlainType {
  std::uint32_t number;
  DType type;
};
constexpr std::array plainTypes{
    PlainType{0, DType::F32},  PlainType{1, DType::F16},  PlainType{24, DType::I8},  PlainType{25, DType::I16},
    PlainType{26, DType::I32}, PlainType{27, DType::I64}, PlainType{28, DType::F64}, PlainType{30, DType::BF16},
};

std::optional<kernels::BlockType> blockTypeOf(std::uint32_t number) {
  const auto type = static_cast<kernels::BlockType>(number);
  return number < 256 && kernels::blockShape(type).weights != 0 ? std::optional(type) : std::nullopt;
}

// A place in the header that never leaves it.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : m_bytes(bytes) {}
  [[nodiscard]] std::uint64_t position() const { return m_position; }
  [[nodiscard]] std::uint64_t left() const { return m_bytes.size() - m_position; }
  template <class T>
  bool number(T& value) {
    if (left() < sizeof(T)) return false;
    std::memcpy(&value, m_bytes.data() + m_position, sizeof(T));
    m_position += sizeof(T);
    return true;
  }
  bool text(std::string_view& value) {
    std::uint64_t length = 0;
    if (!number(length) || length > left()) return false;
    value = {reinterpret_cast<const char*>(m_bytes.data() + m_position), static_cast<std::size_t>(length)};
    m_position += length;
    return true;
  }
  bool skip(std::uint64_t count) {
    if (count > left()) return false;
    m_position += count;
    return true;
  }
  [[nodiscard]] std::span<const std::byte> since(std::uint64_t begin) const { return m_bytes.subspan(begin, m_position - begin); }

 private:
  std::span<const std::byte> m_bytes;
  std::uint64_t m_position = 0;
};

class Parser {
 public:
  explicit Parser(std::span<const std::byte> file) : m_file(file), m_cursor(file) {}

  Result<GgufHeader> parse() {
    NIBBLE_TRY(readCounts());
    m_header.values.reserve(m_valueCount);
    for (std::uint64_t i = 0; i < m_valueCount; ++i) NIBBLE_TRY(readValue(i));
    NameIndex keys(m_header.values.size());
    for (std::size_t i = 0; i < m_header.values.size(); ++i)
      if (keys.insert(m_header.values[i].key, static_cast<std::uint32_t>(i)))
        return fail("metadata " + printable(m_header.values[i].key) + ": is there twice");
    NIBBLE_TRY(readAlignment());
    m_header.entries.reserve(m_tensorCount);
    for (std::uint64_t i = 0; i < m_tensorCount; ++i) NIBBLE_TRY(readTensor(i));
    NIBBLE_TRY(placeTensors());
    return std::move(m_header);
  }

 private:
  Status readCounts() {
    char magic[4] = {};
    if (!m_cursor.number(magic) || std::memcmp(magic, "GGUF", 4) != 0) return fail("does not begin with GGUF");
    if (!m_cursor.number(m_header.version)) return fail("ends before its version");
    if (m_header.version != 2 && m_header.version != 3) {
      if ((m_header.version & 0xFFFFu) == 0 && m_header.version != 0) return fail("is a big-endian GGUF file, which is not read");
      return fail("GGUF version " + text::number(std::uint64_t{m_header.version}) + " is not read, only 2 and 3");
    }
    if (!m_cursor.number(m_tensorCount) || !m_cursor.number(m_valueCount)) return fail("ends before its counts");
    // A value takes at least 13 bytes, a tensor 24: larger counts are lies, and no memory is taken for them.
    if (m_valueCount > m_cursor.left() / 13) return fail("claims " + text::number(m_valueCount) + " metadata values, more than the file can hold");
    if (m_tensorCount > m_cursor.left() / 24) return fail("claims " + text::number(m_tensorCount) + " tensors, more than the file can hold");
    return {};
  }

  Status readValue(std::uint64_t index) {
    std::string_view key;
    if (!m_cursor.text(key)) return fail("metadata value " + text::number(index) + ": its key does not fit in the file");
    if (key.empty()) return fail("metadata value " + text::number(index) + ": has an empty key");
    std::uint32_t type = 0;
    const auto ends = [&] { return fail("metadata " + printable(key) + ": does not fit in the file"); };
    if (!m_cursor.number(type)) return ends();
    if (type > static_cast<std::uint32_t>(GgufType::F64))
      return fail("metadata " + printable(key) + ": unknown value type " + text::number(std::uint64_t{type}));
    GgufValue value{std::string(key), static_cast<GgufType>(type), {}};
    const std::uint64_t begin = m_cursor.position();
    if (value.type != GgufType::Array) {
      if (!skipScalar(value.type)) return ends();
    } else {
      std::uint32_t element = 0;
      std::uint64_t count = 0;
      if (!m_cursor.number(element) || !m_cursor.number(count)) return ends();
      if (element > static_cast<std::uint32_t>(GgufType::F64))
        return fail("metadata " + printable(key) + ": unknown element type " + text::number(std::uint64_t{element}));
      if (static_cast<GgufType>(element) == GgufType::Array) return fail("metadata " + printable(key) + ": arrays of arrays are not read");
      if (!skipElements(static_cast<GgufType>(element), count)) return ends();
    }
    const std::span<const std::byte> bytes = m_cursor.since(begin);
    value.bytes.assign(bytes.begin(), bytes.end());
    m_header.values.push_back(std::move(value));
    return {};
  }

  bool skipScalar(GgufType type) {
    std::string_view ignored;
    return type == GgufType::String ? m_cursor.text(ignored) : m_cursor.skip(scalarBytes(type));
  }

  bool skipElements(GgufType type, std::uint64_t count) {
    if (type != GgufType::String) return count <= m_cursor.left() / scalarBytes(type) && m_cursor.skip(count * scalarBytes(type));
    if (count > m_cursor.left() / 8) return false;
    std::string_view ignored;
    for (std::uint64_t i = 0; i < count; ++i)
      if (!m_cursor.text(ignored)) return false;
    return true;
  }

  Status readAlignment() {
    for (const GgufValue& value : m_header.values) {
      if (value.key != "general.alignment") continue;
      if (value.type != GgufType::U32) return fail("metadata \"general.alignment\": must be a u32");
      std::uint32_t alignment = 0;
      std::memcpy(&alignment, value.bytes.data(), 4);
      if (!std::has_single_bit(alignment)) return fail("metadata \"general.alignment\": is no power of two");
      m_header.alignment = alignment;
    }
    return {};
  }

  Status readTensor(std::uint64_t index) {
    std::string_view name;
    if (!m_cursor.text(name)) return fail("tensor " + text::number(index) + ": its name does not fit in the file");
    const auto refuse = [&](const std::string& why) { return fail("tensor " + printable(name) + ": " + why); };
    if (name.size() > longestName) return refuse("its name has more than 63 bytes");
    std::uint32_t dimensions = 0, type = 0;
    if (!m_cursor.number(dimensions)) return refuse("its entry does not fit in the file");
    if (dimensions > mostDimensions) return refuse("has " + text::number(std::uint64_t{dimensions}) + " dimensions, at most 4 are allowed");
    Shape shape(dimensions);
    for (std::uint64_t& side : shape)
      if (!m_cursor.number(side)) return refuse("its entry does not fit in the file");
    std::uint64_t offset = 0;
    if (!m_cursor.number(type) || !m_cursor.number(offset)) return refuse("its entry does not fit in the file");
    TensorEntry entry;
    entry.name = name;
    entry.shape = Shape(shape.rbegin(), shape.rend());
    NIBBLE_TRY(setType(entry, type));
    m_header.entries.push_back(std::move(entry));
    m_header.offsets.push_back(offset);
    return {};
  }

  // Element type and size in bytes; rows of blocks become rows of bytes.
  static Status setType(TensorEntry& entry, std::uint32_t number) {
    const auto refuse = [&](const std::string& why) { return fail("tensor " + printable(entry.name) + ": " + why); };
    std::uint64_t elements = 1;
    for (const std::uint64_t side : entry.shape) {
      if (side != 0 && elements > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) / side)
        return refuse("its dimensions overflow");
      elements *= side;
    }
    entry.block = blockTypeOf(number);
    if (entry.block) {
      const kernels::BlockShape block = kernels::blockShape(*entry.block);
      if (entry.shape.empty() || entry.shape.back() % block.weights != 0)
        return refuse("its rows are no multiple of " + text::number(std::uint64_t{block.weights}) + " weights, the block of its type");
      entry.type = DType::U8;
      entry.shape.back() = entry.shape.back() / block.weights * block.bytes;
    } else {
      const auto known = std::find_if(plainTypes.begin(), plainTypes.end(), [&](const PlainType& plain) { return plain.number == number; });
      if (known == plainTypes.end()) return refuse("type " + text::number(std::uint64_t{number}) + " is none for weights that is known");
      entry.type = known->type;
    }
    const auto bytes = storedBytes(entry.type, entry.shape);
    if (!bytes) return refuse("its size overflows");
    entry.sizeBytes = *bytes;
    return {};
  }

  [[nodiscard]] std::optional<std::uint64_t> padded(std::uint64_t size) const {
    const std::uint64_t mask = m_header.alignment - 1;
    return size > std::numeric_limits<std::uint64_t>::max() - mask ? std::nullopt : std::optional((size + mask) & ~mask);
  }

  // Each tensor begins where the one before ends, padded.
  Status placeTensors() {
    const std::uint64_t begin = *padded(m_cursor.position());
    std::uint64_t expected = 0;
    NameIndex names(m_header.entries.size());
    for (std::size_t i = 0; i < m_header.entries.size(); ++i) {
      const TensorEntry& entry = m_header.entries[i];
      const auto refuse = [&](const std::string& why) { return fail("tensor " + printable(entry.name) + ": " + why); };
      if (names.insert(entry.name, static_cast<std::uint32_t>(i))) return refuse("is there twice");
      if (m_header.offsets[i] % m_header.alignment != 0) return refuse("its offset is no multiple of the alignment");
      if (m_header.offsets[i] != expected)
        return refuse("begins at " + text::number(m_header.offsets[i]) + " instead of " + text::number(expected) +
                      ": tensors overlap, leave a hole or are not in order");
      const std::uint64_t room = m_file.size() > begin ? m_file.size() - begin : 0;
      if (entry.sizeBytes != 0 && (expected > room || entry.sizeBytes > room - expected)) return refuse("ends after the file does");
      m_header.offsets[i] = entry.sizeBytes == 0 ? 0 : begin + expected;
      const auto next = padded(expected + entry.sizeBytes);
      if (!next) return refuse("its place overflows");
      expected = *next;
    }
    return {};
  }

  std::span<const std::byte> m_file;
  Cursor m_cursor;
  GgufHeader m_header;
  std::uint64_t m_tensorCount = 0, m_valueCount = 0;
};

template <class T>
T take(const std::byte* bytes) {
  T value{};
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

std::string scalarText(GgufType type, const std::byte* bytes) {
  switch (type) {
    case GgufType::U8: return text::number(std::uint64_t{take<std::uint8_t>(bytes)});
    case GgufType::I8: return text::number(std::int64_t{take<std::int8_t>(bytes)});
    case GgufType::U16: return text::number(std::uint64_t{take<std::uint16_t>(bytes)});
    case GgufType::I16: return text::number(std::int64_t{take<std::int16_t>(bytes)});
    case GgufType::U32: return text::number(std::uint64_t{take<std::uint32_t>(bytes)});
    case GgufType::I32: return text::number(std::int64_t{take<std::int32_t>(bytes)});
    case GgufType::U64: return text::number(take<std::uint64_t>(bytes));
    case GgufType::I64: return text::number(take<std::int64_t>(bytes));
    case GgufType::F32: return text::number(take<float>(bytes));
    case GgufType::F64: return text::number(take<double>(bytes));
    case GgufType::Bool: return take<std::uint8_t>(bytes) != 0 ? "true" : "false";
    case GgufType::String: case GgufType::Array: break;
  }
  return {};
}

}  // namespace

Result<GgufHeader> parseGgufHeader(std::span<const std::byte> file) { return Parser(file).parse(); }

std::string displayText(const GgufValue& value) {
  constexpr std::uint64_t shownElements = 8;
  const std::byte* at = value.bytes.data();
  const auto textAt = [](const std::byte* from) {
    return std::string(reinterpret_cast<const char*>(from + 8), take<std::uint64_t>(from));
  };
  if (value.type == GgufType::String) return textAt(at);
  if (value.type != GgufType::Array) return scalarText(value.type, at);
  const auto element = static_cast<GgufType>(take<std::uint32_t>(at));
  const auto count = take<std::uint64_t>(at + 4);
  at += 12;
  std::string line = "[";
  for (std::uint64_t i = 0; i < std::min(count, shownElements); ++i) {
    if (i != 0) line += ", ";
    if (element == GgufType::String) {
      line += printable(textAt(at));
      at += 8 + take<std::uint64_t>(at);
    } else {
      line += scalarText(element, at);
      at += scalarBytes(element);
    }
  }
  return line + (count > shownElements ? ", ... " + text::number(count) + " in all]" : "]");
}

std::optional<std::uint32_t> ggufTypeOf(DType type, std::optional<kernels::BlockType> block) {
  if (block) return static_cast<std::uint32_t>(*block);
  for (const PlainType& plain : plainTypes)
    if (plain.type == type) return plain.number;
  return std::nullopt;
}

}  // namespace nibble
