// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/npy.h"

#include <array>
#include <cstring>
#include <utility>

namespace nibble {
namespace {

constexpr std::size_t largestHeader = std::size_t{1} << 20;
constexpr std::string_view magic = "\x93NUMPY";

// The header is a Python dict literal; this reads the part of the language that NumPy writes there.
class Literal {
 public:
  explicit Literal(std::string_view text) : m_rest(text) {}

  bool take(char c) {
    skipSpace();
    if (m_rest.empty() || m_rest.front() != c) return false;
    m_rest.remove_prefix(1);
    return true;
  }
  bool takeWord(std::string_view word) {
    skipSpace();
    if (!m_rest.starts_with(word)) return false;
    m_rest.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string_view> takeString() {
    const char quote = take('\'') ? '\'' : take('"') ? '"' : '\0';
    const std::size_t end = quote == '\0' ? std::string_view::npos : m_rest.find(quote);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view string = m_rest.substr(0, end);
    m_rest.remove_prefix(end + 1);
    return string;
  }
  std::optional<std::uint64_t> takeInteger() {
    skipSpace();
    const std::size_t end = std::min(m_rest.find_first_not_of("0123456789"), m_rest.size());
    const std::optional<std::uint64_t> number = text::parseUnsigned(m_rest.substr(0, end));
    m_rest.remove_prefix(end);
    if (number && m_rest.starts_with('L')) m_rest.remove_prefix(1);  // Python 2 wrote long integers so
    return number;
  }
  bool atEnd() {
    skipSpace();
    return m_rest.empty();
  }

 private:
  void skipSpace() { m_rest.remove_prefix(std::min(m_rest.find_first_not_of(" \n\t\r"), m_rest.size())); }
  std::string_view m_rest;
};

std::optional<DType> namedType(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, DType>, 9> names{{{"bfloat16", DType::BF16},
                                                                            {"float8_e4m3fn", DType::F8E4M3},
                                                                            {"float8_e5m2", DType::F8E5M2},
                                                                            {"float8_e4m3fnuz", DType::F8E4M3FNUZ},
                                                                            {"float8_e5m2fnuz", DType::F8E5M2FNUZ},
                                                                            {"float8_e8m0fnu", DType::F8E8M0},
                                                                            {"float16", DType::F16},
                                                                            {"float32", DType::F32},
                                                                            {"float64", DType::F64}}};
  for (const auto& [known, type] : names)
    if (known == name) return type;
  return std::nullopt;
}

std::optional<DType> codedType(std::string_view code) {
  static constexpr std::array<std::pair<std::string_view, DType>, 15> codes{{{"f8", DType::F64},
                                                                             {"f4", DType::F32},
                                                                             {"f2", DType::F16},
                                                                             {"V2", DType::BF16},
                                                                             {"f1", DType::F8E5M2},
                                                                             {"i1", DType::I8},
                                                                             {"u1", DType::U8},
                                                                             {"i2", DType::I16},
                                                                             {"u2", DType::U16},
                                                                             {"i4", DType::I32},
                                                                             {"u4", DType::U32},
                                                                             {"i8", DType::I64},
                                                                             {"u8", DType::U64},
                                                                             {"b1", DType::Bool},
                                                                             {"c8", DType::C64}}};
  for (const auto& [known, type] : codes)
    if (known == code) return type;
  return std::nullopt;
}

Status foreign(NpyHeader& header, const std::string& what) {
  header.foreignType = what;
  return fail(what);
}

Status readDescriptor(Literal& literal, NpyHeader& header) {
  const std::optional<std::string_view> descriptor = literal.takeString();
  if (!descriptor) return foreign(header, "the array holds records, not numbers");
  if (const std::optional<DType> type = namedType(*descriptor)) {
    header.type = *type;
    return {};
  }
  const std::string_view code = descriptor->substr(descriptor->empty() ? 0 : 1);
  const char order = descriptor->empty() ? '\0' : descriptor->front();
  if (code == "V1")
    return foreign(header, "type " + printable(*descriptor) + " may be any 8-bit type: name it, or store it as u1");
  const std::optional<DType> type = codedType(code);
  if (!type || std::string_view("<>|=").find(order) == std::string_view::npos)
    return foreign(header, "type " + printable(*descriptor) + " is not one of weights");
  header.type = *type;
  header.bigEndian = order == '>' && info(*type).bits > 8;
  if (header.bigEndian && *type == DType::BF16)
    return foreign(header, "type " + printable(*descriptor) + " is not one of weights");
  return {};
}

Status readOrder(Literal& literal, NpyHeader& header) {
  header.fortranOrder = literal.takeWord("True");
  if (!header.fortranOrder && !literal.takeWord("False")) return fail("fortran_order is neither True nor False");
  return {};
}

Status readShape(Literal& literal, NpyHeader& header) {
  if (!literal.take('(')) return fail("shape is not a tuple");
  while (!literal.take(')')) {
    const std::optional<std::uint64_t> side = literal.takeInteger();
    if (!side) return fail("shape holds what is not a whole number from 0");
    header.shape.push_back(*side);
    if (!literal.take(',')) {
      if (!literal.take(')')) return fail("shape does not end");
      if (header.shape.size() == 1) return fail("shape is a number in brackets, not a tuple");
      break;
    }
  }
  return {};
}

Status readDict(Literal literal, NpyHeader& header) {
  static constexpr std::array<std::string_view, 3> keys{"descr", "fortran_order", "shape"};
  static constexpr std::array readers{readDescriptor, readOrder, readShape};
  std::array<bool, 3> seen{};
  if (!literal.take('{')) return fail("the header is not a dict");
  while (!literal.take('}')) {
    const std::optional<std::string_view> key = literal.takeString();
    if (!key || !literal.take(':')) return fail("the header is not a dict of names");
    std::size_t which = 0;
    while (which < keys.size() && keys[which] != *key) ++which;
    if (which == keys.size()) return fail("the header has an unknown key " + printable(*key));
    if (std::exchange(seen[which], true)) return fail("the header has " + printable(*key) + " twice");
    NIBBLE_TRY(readers[which](literal, header));
    if (literal.take(',')) continue;
    if (!literal.take('}')) return fail("the header's dict does not end");
    break;
  }
  if (!literal.atEnd()) return fail("there is more than a dict in the header");
  for (std::size_t i = 0; i < keys.size(); ++i)
    if (!seen[i]) return fail("the header has no " + std::string(keys[i]));
  return {};
}

std::size_t littleEndian(std::span<const std::byte> bytes) {
  std::size_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = (value << 8) | std::to_integer<std::size_t>(bytes[i]);
  return value;
}

}  // namespace

Result<std::size_t> npyHeaderBytes(std::span<const std::byte> start) {
  if (start.size() < 10) return fail("too short for an npy array");
  if (std::memcmp(start.data(), magic.data(), magic.size()) != 0) return fail("does not begin as an npy array");
  const auto major = std::to_integer<unsigned>(start[6]);
  const auto minor = std::to_integer<unsigned>(start[7]);
  if (major < 1 || major > 3 || minor != 0)
    return fail("npy version " + text::number(std::uint64_t{major}) + "." + text::number(std::uint64_t{minor}) +
                " is not known");
  const std::size_t width = major == 1 ? 2 : 4;
  if (start.size() < 8 + width) return fail("too short for an npy array");
  const std::size_t length = littleEndian(start.subspan(8, width));
  if (length > largestHeader) return fail("its header of " + text::byteSize(length) + " is longer than any array needs");
  return 8 + width + length;
}

Result<NpyHeader> readNpyHeader(std::span<const std::byte> bytes) {
  const Result<std::size_t> total = npyHeaderBytes(bytes);
  if (!total) return fail(total.error());
  if (*total > bytes.size()) return fail("the file ends within the header");
  const std::size_t begin = std::to_integer<unsigned>(bytes[6]) == 1 ? 10 : 12;
  NpyHeader header;
  header.dataOffset = *total;
  const std::string_view dict(reinterpret_cast<const char*>(bytes.data()) + begin, *total - begin);
  const Status status = readDict(Literal(dict), header);
  if (!header.foreignType.empty()) return header;
  if (!status) return fail(status.error());
  const std::optional<std::uint64_t> size = storedBytes(header.type, header.shape);
  if (!size) return fail("shape " + toText(header.shape) + " overflows");
  header.dataBytes = *size;
  return header;
}

Result<NpyHeader> parseNpyHeader(std::span<const std::byte> bytes) {
  Result<NpyHeader> header = readNpyHeader(bytes);
  if (header && !header->foreignType.empty()) return fail(header->foreignType);
  return header;
}

}  // namespace nibble
