// SPDX-License-Identifier: GPL-3.0-or-later
// Quantized weights in one description, whatever the scheme or file they came from: codes, how wide each code is, what value a
// code stands for (levels), and parameter planes. One value rule in three spellings (ValueRule). There is one decoder
// (decode.h); size comes from the layout (layout.h). Encoding is plural, decoding is singular.
// A plane may itself be stored quantized: k-quant sub-scales, NF4 double quantization, NVFP4, EXL2 scales are one recursion.
// Immutable once built and shared as shared_ptr<const QuantizedTensor>.
#pragma once
#include "core/quant/grouping.h"
#include "core/tensor/tensor.h"
#include "kernels/math/minifloat.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace nibble {

class Layout;
struct QuantizedTensor;
using kernels::FloatType;

// One code per weight (per `levels.dimension` weights), row-major. Unsigned codes are the rule; int32 is for codes that leave
// their width (reference document 001) and for float bit patterns of 32 bits.
class Codes {
 public:
  Codes() = default;
  Codes(std::vector<std::uint8_t> codes) : m_codes(std::move(codes)) {}
  Codes(std::vector<std::uint16_t> codes) : m_codes(std::move(codes)) {}
  Codes(std::vector<std::int32_t> codes) : m_codes(std::move(codes)) {}
  [[nodiscard]] std::size_t size() const {
    return std::visit([](const auto& codes) { return codes.size(); }, m_codes);
  }
  [[nodiscard]] std::int64_t at(std::size_t i) const {
    return std::visit([i](const auto& codes) { return static_cast<std::int64_t>(codes[i]); }, m_codes);
  }
  // Calls the visitor with the vector of whatever element type there is.
  template <class Visitor>
  auto visit(Visitor&& visitor) const { return std::visit(std::forward<Visitor>(visitor), m_codes); }
  // The raw vector, where it has this element type.
  template <class T>
  [[nodiscard]] const std::vector<T>* as() const { return std::get_if<std::vector<T>>(&m_codes); }
  [[nodiscard]] bool isSigned() const { return std::holds_alternative<std::vector<std::int32_t>>(m_codes); }
  bool operator==(const Codes&) const = default;

 private:
  std::variant<std::vector<std::uint8_t>, std::vector<std::uint16_t>, std::vector<std::int32_t>> m_codes;
};

// How a parameter's numbers are stored. Implied numbers follow from the scheme's settings and cost no bytes (the 2^(b-1) of
// symmetric codes, NF4's levels).
enum class Stored : std::uint8_t { Implied, F32, F16, BF16, F8E4M3, F8E8M0, U8, I8, I32, Nested };
int storedBits(Stored stored);  // 0 for Implied and Nested

// Numbers shared by groups of weights. `values` are always there, as the decoder uses them; for Stored::Nested they are the
// decoded `nested` tensor ([1, groups]), which is what is written.
struct Plane {
  Grouping grouping;
  std::vector<float> values;  // one per group
  Stored stored = Stored::F32;
  std::shared_ptr<const QuantizedTensor> nested;

  // Rounds `values` to the stored type, so that what is written decodes to what is shown.
  static Plane numbers(Grouping grouping, std::vector<float> values, Stored stored);
  static Plane implied(Grouping grouping, float value);  // the same number for every group
  static Plane quantized(Grouping grouping, std::shared_ptr<const QuantizedTensor> nested);
};

// What a code stands for.
struct Levels {
  enum class Kind { Identity, Table, Float };  // the code itself | an entry of `table` | the code's bits as a float of `type`
  Kind kind = Kind::Identity;
  FloatType type = FloatType::F32;             // Float; Table: the small float type whose codes it lists, F32 = none
  std::vector<float> table;                    // Table: tableCount x levelCount x dimension numbers
  std::uint32_t levelCount = 0;                // Table: entries of one table; Identity: codes in use, 0 = all that the width has
  std::uint32_t dimension = 1;                 // Table: consecutive weights one code stands for (IQ2, IQ3 grids: 8, 4)
  std::optional<Grouping> grouping;            // Table: which table a weight uses; none = one for all
  Stored stored = Stored::Implied;             // Table: how its numbers are stored

  static Levels identity() { return {}; }
  static Levels fixedTable(std::vector<float> table);  // one table, given by the format, no bytes
  // The code's bits as a float. A type of at most 8 bits becomes the table of all its codes (NaN and infinities among them).
  static Levels floats(FloatType type);
  // The type, where codes are the bits of one of at most 8 bits.
  [[nodiscard]] std::optional<FloatType> smallFloat() const {
    return kind == Kind::Table && type != FloatType::F32 ? std::optional(type) : std::nullopt;
  }
};

// Bits per code: one number, or one per input column (EXL2, MBWQ), or one per group (DiffQ).
struct WidthPlane {
  std::uint8_t uniform = 0;                // used when `bits` is empty
  std::optional<Grouping> grouping;
  std::vector<std::uint8_t> bits;          // one per group of `grouping`
  Stored stored = Stored::Implied;
  std::vector<std::byte> table;            // what is written where that is not one number per group (EXL2's group table)
  [[nodiscard]] int at(std::uint64_t flatIndex) const { return bits.empty() ? uniform : bits[grouping->groupOf(flatIndex)]; }
};

enum class ValueRule : std::uint8_t {
  Scale,          // scale * level
  ScaleMinusZero, // scale * (level - zero)
  ScalePlusBias,  // scale * level + bias
};

// Which float type each step of the value rule is rounded to, and the type of the final value. `fused` rounds the last multiply
// and add once (MBWQ's half-precision fma). Default: every step in float32.
struct Arithmetic {
  FloatType step = FloatType::F32;
  FloatType result = FloatType::F32;
  bool fused = false;
  bool divides = false;  // rule Scale: level / scale (the global scale of compressed-tensors' NVFP4)
  float factor = 1;      // what comes out of the rule is multiplied by this and rounded again (1/127 of bitsandbytes' int8)
  bool operator==(const Arithmetic&) const = default;
};

// Random signs, then an orthonormal Walsh-Hadamard transform over blocks of the input dimension; the decoder undoes both.
struct Rotation {
  std::uint32_t block = 128;   // a power of two that divides the columns
  std::vector<float> signs;    // +-1 per input column
};

struct QuantizedTensor {
  std::string scheme;                     // canonical text of the choice, or the file format it was read from
  std::uint64_t rows = 0, columns = 0;
  Shape shape;                            // of the original tensor
  Codes codes;
  WidthPlane width;
  Levels levels;
  ValueRule rule = ValueRule::Scale;
  std::optional<Plane> scale;             // absent: 1
  std::optional<Plane> zero;              // ScaleMinusZero: subtracted from the level; ScalePlusBias: added at the end
  Arithmetic arithmetic;
  std::vector<std::uint8_t> signs;        // one bit per weight, low bit first, 1 = negative; empty: none
  std::vector<std::uint32_t> order;       // stored column j holds input column order[j]; empty: identity, not written
  std::uint8_t orderBytes = 4;            // of one entry as written
  std::vector<float> channelScale;        // the stored column j was multiplied by this; empty: 1, not written
  Stored channelScaleStored = Stored::F16;
  bool channelScaleMultiplies = false;    // the other way: the layer multiplies its inputs by channelScale, so the weight does
  std::optional<Rotation> rotation;
  std::shared_ptr<const Layout> layout;   // how codes lie in bytes; never null in a finished tensor
  std::vector<std::string> notes;         // what a person should know ("no activations: rounded plainly")

  [[nodiscard]] std::uint64_t weightCount() const { return rows * columns; }
};

}  // namespace nibble
