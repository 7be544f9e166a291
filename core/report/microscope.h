// SPDX-License-Identifier: GPL-3.0-or-later
// One weight under the lens, as data for the command line and the window: its group, what the group's codes stand for, where
// the bits of a code lie in the packed bytes, and what another scale or zero would do to the group.
// Two numberings: the model's place (row, column, flatIndex = row * columns + column) and the stored place, which differs where
// columns are permuted: groups, codes and layouts count stored places, `weight`, `decoded` and `error` are the model's.
// `target` is what the code stands for the best it can: the weight, times the channel scale and rotated where the tensor says
// so; `level` is what it does stand for. Without channel scale and rotation they are the weight and the decoded value. Levels,
// scale and zero belong on that line. Immutable values; all functions are safe to call from many threads.
#pragma once
#include "core/base/result.h"
#include "core/quant/layout.h"
#include "core/quant/quantized_tensor.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace nibble {

struct MicroscopeMember {
  std::uint64_t row = 0, column = 0, flatIndex = 0;  // in the model
  std::uint64_t storedIndex = 0;                     // stored place, row-major
  std::uint64_t codeIndex = 0;  // in Codes; differs from storedIndex where one code stands for several weights
  std::int64_t code = 0;
  float weight = 0, decoded = 0, error = 0;  // error = weight - decoded
  float target = 0, level = 0;
};

struct Microscope {
  std::uint64_t row = 0, column = 0;
  std::string grouping;                    // "64 along the input"
  std::uint64_t group = 0, groupSize = 0;  // groupSize counts all members, shown or not
  std::vector<MicroscopeMember> members;   // ascending stored place; all, or the nearest ones in the group's order
  std::size_t selected = 0;                // index of the chosen weight in `members`
  ValueRule rule = ValueRule::Scale;
  bool hasScale = false, hasZero = false;
  float scale = 1, zero = 0;  // zero: in code units (ScaleMinusZero) or weight units (ScalePlusBias, "bias")
  std::vector<float> levels;  // levelsAt: by ascending code, at most 256, thinned evenly; empty where there are none
  int width = 0;              // bits of a code
  std::int64_t lowestCode = 0, highestCode = 0;  // legal codes, widened to those in the group where a scheme leaves its width
  std::vector<float> table;                      // level numbers by code before scale and zero; empty: the code itself
  Arithmetic arithmetic;
  std::string whatIfRefusal;  // why whatIf cannot be asked; empty: it can
  double errorSquared = 0;    // sums over `members` of (target - level)^2 and its largest root
  float maxError = 0;

  [[nodiscard]] const MicroscopeMember& chosen() const { return members[selected]; }
};

inline constexpr std::size_t mostMicroscopeMembers = 4096;

// The group is that of the scale plane, else of the levels, else the whole tensor. `original` may be null where there is only
// the packed tensor: weights are then the decoded values. Errors: a place outside the matrix, another shape, a file that
// shrank.
Result<Microscope> microscope(const Tensor* original, const QuantizedTensor& quantized, std::uint64_t row, std::uint64_t column,
                              std::size_t mostMembers = mostMicroscopeMembers);

// One run of a code's bits inside one word. Bit 0 is the low bit of the word and of the code.
struct BitPlace {
  std::uint64_t word = 0;       // index of the word
  int firstBit = 0, width = 0;  // bits [firstBit, firstBit + width) of it
  int codeShift = 0;            // hold the code from this bit up
  std::uint64_t value = 0;      // of the whole word
};

// The codes of a tensor as a layout packs them (the tensor's own, or a format's). The whole tensor is packed at the first
// question and kept: exact for every layout, whatever it interleaves. Bits that belong to no code are shown as 0, but for
// blocks, which are shown whole. Not for codes outside the layout. Thread-safe; keeps tensor and layout alive.
class PackedView {
 public:
  PackedView(std::shared_ptr<const QuantizedTensor> tensor, std::shared_ptr<const Layout> layout);
  explicit PackedView(std::shared_ptr<const QuantizedTensor> tensor);  // its own layout

  [[nodiscard]] std::string layoutName() const { return m_layout->name(); }
  [[nodiscard]] int wordBits() const { return m_layout->wordBits(); }
  // From the code's low bits up; pieces that cross a word are split there. Error: not enough memory to pack.
  [[nodiscard]] Result<std::vector<BitPlace>> places(std::uint64_t codeIndex) const;
  [[nodiscard]] std::string hex(std::uint64_t value) const;  // "D5": as many digits as a word has, capitals

 private:
  [[nodiscard]] std::uint64_t word(std::uint64_t index) const;
  std::shared_ptr<const QuantizedTensor> m_tensor;
  std::shared_ptr<const Layout> m_layout;
  mutable std::once_flag m_packed;
  mutable std::vector<std::byte> m_bytes;
};

// The group under another scale and zero (finite float32 numbers, not rounded to a stored type): nearest legal codes, ties to
// the lower level, and what they stand for. Sums run over the members shown. A rule without scale or zero ignores that number.
struct GroupWhatIf {
  std::vector<std::int64_t> codes;  // one per member
  std::vector<float> levels;        // what each member's code stands for, beside its `target`
  double errorSquared = 0;
  float maxError = 0;
  [[nodiscard]] double mse() const { return codes.empty() ? 0 : errorSquared / static_cast<double>(codes.size()); }
};
GroupWhatIf whatIf(const Microscope& microscope, double scale, double zero);

}  // namespace nibble
