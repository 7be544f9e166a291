// SPDX-License-Identifier: GPL-3.0-or-later
// The types in which trained numbers are stored. A stored number is kept as a double that the type can represent exactly, so
// that a run in bfloat16 or float16 is simulated to the bit. Rounding is half to even, once, from the double: subnormals are
// kept, what is too large becomes infinity (IEEE 754; bfloat16 is float32 with 8 significant bits).
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace nibble::train {

enum class NumberType : std::uint8_t { F64, F32, BF16, F16 };

std::string_view name(NumberType type);  // "f64", "f32", "bf16", "f16"
std::optional<NumberType> numberTypeFromName(std::string_view name);
// The nearest number of the type.
double storedAs(NumberType type, double value);
// Half the distance between `value` (a number of the type) and the next one away from zero: a smaller update rounds to nothing.
double halfUlp(NumberType type, double value);

}  // namespace nibble::train
