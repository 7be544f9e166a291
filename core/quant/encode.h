// SPDX-License-Identifier: GPL-3.0-or-later
// Tools that every scheme's quantize() is made of: strips of a tensor, parameters in their stored type.
// A strip is some whole groups of consecutive weights as float32, about as much as half a second-level cache holds. Strips run
// over the backend's threads; the stop token is looked at once per strip and progress is reported in weights. Where the tensor
// is stored as float32 a strip is a view of it: no copy of the tensor is made.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"
#include "core/tensor/tensor.h"

#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace nibble {

// What a strip's body gets: weights [begin, begin + weights.size()) of the tensor, row-major.
using StripBody = std::function<Status(std::uint64_t begin, std::span<const float> weights)>;

// Calls `body` for strips of whole units (the last unit of the tensor may be shorter), in any order, from several threads.
// Errors: cancelled, a file that shrank, the body's own: of the first strip that has one.
Status forEachStrip(const Tensor& tensor, std::uint64_t unit, const Context& context, const StripBody& body);

// Calls body(begin, end) for pieces of `grain` of `count` units of `weightsEach` weights, likewise parallel and stoppable.
Status forEachPiece(std::uint64_t count, std::uint64_t grain, std::uint64_t weightsEach, const Context& context,
                    const std::function<Status(std::uint64_t begin, std::uint64_t end)>& body);

// All weights at once, for groupings whose members lie far apart: the tensor's own floats, or a copy where it stores others.
class AllWeights {
 public:
  AllWeights() = default;
  AllWeights(AllWeights&&) = default;
  AllWeights& operator=(AllWeights&&) = default;
  AllWeights(const AllWeights&) = delete;
  AllWeights& operator=(const AllWeights&) = delete;
  static Result<AllWeights> read(const Tensor& tensor, const Context& context);
  [[nodiscard]] std::span<const float> values() const { return m_values; }

 private:
  std::vector<float> m_copy;
  std::span<const float> m_values;
};

// The legal texts of a `params` setting, and what they mean.
inline constexpr std::string_view storedNames[] = {"f16", "f32", "bf16"};
Stored storedFromName(std::string_view name);

// Rounds scales (of groups firstGroup and on) to the type they are stored in. A positive scale never becomes 0: it is raised
// to the smallest positive number of the type. One that is not finite there is an error that names the group.
Status roundScales(std::span<float> scales, Stored stored, std::uint64_t firstGroup);
// Rounds zeros or offsets likewise; `what` names them in the error. Zero is allowed.
Status roundOffsets(std::span<float> offsets, Stored stored, std::uint64_t firstGroup, std::string_view what);

}  // namespace nibble
