// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/group_parts.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <cmath>

namespace nibble::formats {

Result<std::vector<float>> groupScales(const Checkpoint& checkpoint, const std::string& name, std::uint64_t groups,
                                       std::uint64_t rows) {
  const auto scales = readFloats(checkpoint, name);
  if (!scales) return fail(scales.error());
  std::vector<float> turned(rows * groups);
  for (std::uint64_t group = 0; group < groups; ++group) {
    for (std::uint64_t row = 0; row < rows; ++row) {
      const float scale = (*scales)[group * rows + row];
      if (!std::isfinite(scale)) return fail(name + ": not finite at [" + text::number(group) + ", " + text::number(row) + "]");
      turned[row * groups + group] = scale;
    }
  }
  return turned;
}

std::vector<float> byGroup(const std::vector<float>& values, std::uint64_t rows, std::uint64_t groups) {
  std::vector<float> turned(values.size());
  for (std::uint64_t row = 0; row < rows; ++row)
    for (std::uint64_t group = 0; group < groups; ++group) turned[group * rows + row] = values[row * groups + group];
  return turned;
}

Plane packedIntegers(Grouping grouping, const std::vector<float>& values, int bits) {
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = values.size();
  nested->shape = {1, values.size()};
  nested->codes = Codes(std::vector<std::uint8_t>(values.begin(), values.end()));
  nested->width.uniform = static_cast<std::uint8_t>(bits);
  nested->layout = denseLayout(values.size(), bits);
  return Plane::quantized(std::move(grouping), std::move(nested));
}

Stored storedLike(DType type) {
  return type == DType::F32 ? Stored::F32 : type == DType::BF16 ? Stored::BF16 : Stored::F16;
}

std::string typeAndShape(const TensorEntry& entry) {
  return entry.name + " is " + std::string(info(entry.type).name) + " " + toText(entry.shape);
}

}  // namespace nibble::formats
