// SPDX-License-Identifier: GPL-3.0-or-later
// The storage types a checkpoint tensor can have, under the names safetensors uses, and their exact conversion to float32.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace nibble {

enum class DType : std::uint8_t {
  Bool, F4, F6E2M3, F6E3M2, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ,
  I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64,
};

struct DTypeInfo {
  DType type;
  std::string_view name;  // as in a safetensors header: "BF16", "F8_E4M3"
  int bits;               // per element; 4 and 6 for the packed sub-byte types
  bool floating;          // a real floating-point number (not complex, not F8_E8M0 scales)
};

const DTypeInfo& info(DType type);
std::span<const DTypeInfo> allDTypes();
std::optional<DType> dtypeFromName(std::string_view name);

// Elements [begin, begin + out.size()) of a little-endian array as float32. Exact for every type of at most 24 significant
// bits; F64, I32, U32, I64 and U64 round to nearest even. Sub-byte types are read low bits first. C64 gives the real part.
void toFloat(DType type, std::span<const std::byte> bytes, std::uint64_t begin, std::span<float> out);

}  // namespace nibble
