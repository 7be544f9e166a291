// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/dtype.h"

#include "core/base/contracts.h"
#include "kernels/math/minifloat.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace nibble {
namespace {

static_assert(std::endian::native == std::endian::little, "stored bytes are read as they lie");

constexpr std::array<DTypeInfo, 22> table{{
    {DType::Bool, "BOOL", 8, false},
    {DType::F4, "F4", 4, true},
    {DType::F6E2M3, "F6_E2M3", 6, true},
    {DType::F6E3M2, "F6_E3M2", 6, true},
    {DType::U8, "U8", 8, false},
    {DType::I8, "I8", 8, false},
    {DType::F8E5M2, "F8_E5M2", 8, true},
    {DType::F8E4M3, "F8_E4M3", 8, true},
    {DType::F8E8M0, "F8_E8M0", 8, false},
    {DType::F8E4M3FNUZ, "F8_E4M3FNUZ", 8, true},
    {DType::F8E5M2FNUZ, "F8_E5M2FNUZ", 8, true},
    {DType::I16, "I16", 16, false},
    {DType::U16, "U16", 16, false},
    {DType::F16, "F16", 16, true},
    {DType::BF16, "BF16", 16, true},
    {DType::I32, "I32", 32, false},
    {DType::U32, "U32", 32, false},
    {DType::F32, "F32", 32, true},
    {DType::C64, "C64", 64, false},
    {DType::F64, "F64", 64, true},
    {DType::I64, "I64", 64, false},
    {DType::U64, "U64", 64, false},
}};

// A float without infinities or NaN of a sign, `exponentBits` and `fractionBits`.
float finiteFloat(unsigned code, int exponentBits, int fractionBits, int bias) {
  const int fraction = static_cast<int>(code & ((1u << fractionBits) - 1));
  const int exponent = static_cast<int>((code >> fractionBits) & ((1u << exponentBits) - 1));
  const int significand = exponent == 0 ? fraction : fraction + (1 << fractionBits);
  const float magnitude = std::ldexp(static_cast<float>(significand), (exponent == 0 ? 1 : exponent) - bias - fractionBits);
  return ((code >> (exponentBits + fractionBits)) & 1u) != 0 ? -magnitude : magnitude;
}

// The FNUZ types have one zero and one NaN, the code of minus zero, and a bias one above the OCP types'.
float fnuzFloat(unsigned code, int exponentBits) {
  if (code == 0x80) return std::numeric_limits<float>::quiet_NaN();
  return finiteFloat(code, exponentBits, 7 - exponentBits, 1 << (exponentBits - 1));
}

float smallValue(DType type, unsigned code) {
  switch (type) {
    case DType::F4:
      return kernels::miniToFloat<2, 1>(code & 0xFu);
    case DType::F6E2M3:
      return kernels::miniToFloat<2, 3>(code & 0x3Fu);
    case DType::F6E3M2:
      return kernels::miniToFloat<3, 2>(code & 0x3Fu);
    case DType::F8E5M2:
      return kernels::float8ToFloat<5>(static_cast<std::uint8_t>(code));
    case DType::F8E4M3:
      return kernels::float8ToFloat<4>(static_cast<std::uint8_t>(code));
    case DType::F8E4M3FNUZ:
      return fnuzFloat(code, 4);
    case DType::F8E5M2FNUZ:
      return fnuzFloat(code, 5);
    case DType::F8E8M0:
      return kernels::e8m0ToFloat(static_cast<std::uint8_t>(code));
    default:
      return 0.0f;
  }
}

using ByteTable = std::array<float, 256>;

// Values of all codes of a type of at most 8 bits.
const ByteTable& byteTable(DType type) {
  static const std::array<ByteTable, table.size()> all = [] {
    std::array<ByteTable, table.size()> tables{};
    for (std::size_t t = 0; t < table.size(); ++t)
      if (table[t].bits <= 8)
        for (unsigned code = 0; code < 256; ++code) tables[t][code] = smallValue(table[t].type, code);
    return tables;
  }();
  return all[static_cast<std::size_t>(type)];
}

template <class Stored>
[[gnu::always_inline]] inline Stored load(const std::byte* bytes, std::size_t index) {
  Stored value;
  std::memcpy(&value, bytes + index * sizeof(Stored), sizeof(Stored));
  return value;
}

// Same values as kernels::halfToFloat, without branches, so that the compiler can keep it in vector registers. A subnormal
// gets an exponent and loses the leading one it was given with it: an exact subtraction, no denormal operand.
[[gnu::always_inline]] inline float halfWithoutBranches(std::uint16_t bits) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7FFFu) << 13;
  const std::uint32_t exponent = magnitude & 0x0F800000u;
  const std::uint32_t isSpecial = 0u - static_cast<std::uint32_t>(exponent == 0x0F800000u);
  const std::uint32_t isTiny = 0u - static_cast<std::uint32_t>(exponent == 0);
  const std::uint32_t normal = magnitude + 0x38000000u + (isSpecial & 0x38000000u);
  const float tiny = std::bit_cast<float>(magnitude + 0x38800000u) - 0x1p-14f;
  const std::uint32_t chosen = (normal & ~isTiny) | (std::bit_cast<std::uint32_t>(tiny) & isTiny);
  return std::bit_cast<float>(chosen | (static_cast<std::uint32_t>(bits & 0x8000u) << 16));
}

[[gnu::always_inline]] inline void halvesLoop(const std::byte* bytes, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = halfWithoutBranches(load<std::uint16_t>(bytes, i));
}

[[gnu::always_inline]] inline void bfloatsLoop(const std::byte* bytes, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = kernels::bfloatToFloat(load<std::uint16_t>(bytes, i));
}

// The same loops for wider registers where the machine has them.
#if defined(__x86_64__) && defined(__GNUC__)
__attribute__((target("avx2"))) void halvesWide(const std::byte* bytes, float* out, std::size_t count) {
  halvesLoop(bytes, out, count);
}
__attribute__((target("avx2"))) void bfloatsWide(const std::byte* bytes, float* out, std::size_t count) {
  bfloatsLoop(bytes, out, count);
}
bool hasWide() {
  return __builtin_cpu_supports("avx2") != 0;
}
#else
void halvesWide(const std::byte* bytes, float* out, std::size_t count) {
  halvesLoop(bytes, out, count);
}
void bfloatsWide(const std::byte* bytes, float* out, std::size_t count) {
  bfloatsLoop(bytes, out, count);
}
bool hasWide() {
  return false;
}
#endif

template <class Stored>
void numbers(const std::byte* bytes, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(load<Stored>(bytes, i));
}

void codes8(DType type, const std::byte* bytes, std::span<float> out) {
  const ByteTable& values = byteTable(type);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = values[std::to_integer<unsigned>(bytes[i])];
}

// Codes of 4 or 6 bits in one little-endian bit stream.
void packedCodes(DType type, int bits, std::span<const std::byte> bytes, std::uint64_t begin, std::span<float> out) {
  const ByteTable& values = byteTable(type);
  const unsigned mask = (1u << bits) - 1;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t bit = (begin + i) * static_cast<std::uint64_t>(bits);
    const std::size_t at = bit / 8;
    unsigned word = std::to_integer<unsigned>(bytes[at]);
    if (at + 1 < bytes.size()) word |= std::to_integer<unsigned>(bytes[at + 1]) << 8;
    out[i] = values[(word >> (bit % 8)) & mask];
  }
}

}  // namespace

const DTypeInfo& info(DType type) {
  return table[static_cast<std::size_t>(type)];
}

std::span<const DTypeInfo> allDTypes() {
  return table;
}

std::optional<DType> dtypeFromName(std::string_view name) {
  for (const DTypeInfo& entry : table)
    if (entry.name == name) return entry.type;
  return std::nullopt;
}

void toFloat(DType type, std::span<const std::byte> bytes, std::uint64_t begin, std::span<float> out) {
  const auto bits = static_cast<std::uint64_t>(info(type).bits);
  const std::uint64_t elements = bits >= 8 ? bytes.size() / (bits / 8) : bytes.size() * 8 / bits;
  NIBBLE_EXPECTS(begin <= elements && out.size() <= elements - begin);
  if (out.empty()) return;
  if (bits < 8) return packedCodes(type, static_cast<int>(bits), bytes, begin, out);
  const std::byte* from = bytes.data() + begin * (bits / 8);
  switch (type) {
    case DType::F32:
      std::memcpy(out.data(), from, out.size_bytes());
      return;
    case DType::F16:
      hasWide() ? halvesWide(from, out.data(), out.size()) : halvesLoop(from, out.data(), out.size());
      return;
    case DType::BF16:
      hasWide() ? bfloatsWide(from, out.data(), out.size()) : bfloatsLoop(from, out.data(), out.size());
      return;
    case DType::F64:
      return numbers<double>(from, out);
    case DType::Bool:
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = from[i] != std::byte{0} ? 1.0f : 0.0f;
      return;
    case DType::U8:
      return numbers<std::uint8_t>(from, out);
    case DType::I8:
      return numbers<std::int8_t>(from, out);
    case DType::I16:
      return numbers<std::int16_t>(from, out);
    case DType::U16:
      return numbers<std::uint16_t>(from, out);
    case DType::I32:
      return numbers<std::int32_t>(from, out);
    case DType::U32:
      return numbers<std::uint32_t>(from, out);
    case DType::I64:
      return numbers<std::int64_t>(from, out);
    case DType::U64:
      return numbers<std::uint64_t>(from, out);
    case DType::C64:
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = load<float>(from, 2 * i);
      return;
    default:
      return codes8(type, from, out);
  }
}

}  // namespace nibble
