// SPDX-License-Identifier: GPL-3.0-or-later
// The layouts followed here, from the format's description alone, for a module P of [N, K]: P.weight [N, K] of bytes, F8_E4M3
// (sign, 4 bits of exponent less 7, 3 of fraction; all ones a NaN) or F8_E5M2 (5 bits less 15, 2 of fraction; exponent 31 not
// finite); and either P.weight_scale of floats, one number or [N, 1], or P.weight_scale_inv [n, k], one number for each tile,
// tiles being the powers of two of which n cover N and k cover K. Floats, or F8_E8M0 bytes s that stand for 2^(s - 127).
// w = value * scale, rounded once to float32.
#include "core/formats/fp8/proof.h"

#include "core/formats/proof_container.h"

#include <cmath>

namespace nibble::proof {
namespace {

using Sides = std::vector<std::uint64_t>;

Result<double> valueOf(unsigned code, int fractionBits) {
  const int exponentBits = 7 - fractionBits, bias = (1 << (exponentBits - 1)) - 1;
  const int exponent = static_cast<int>(code & 127u) >> fractionBits;
  const int fraction = static_cast<int>(code) & ((1 << fractionBits) - 1), top = (1 << exponentBits) - 1;
  const bool finite = fractionBits == 3 ? exponent != top || fraction != 7 : exponent != top;
  if (!finite) return fail("not finite");
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - fractionBits)
                                         : std::ldexp((1 << fractionBits) + fraction, exponent - bias - fractionBits);
  return (code & 128u) != 0 ? -magnitude : magnitude;
}

Result<std::vector<double>> numbersOf(const Array& scale, const std::string& name) {
  std::vector<double> numbers;
  for (std::uint64_t i = 0; i < scale.count(); ++i) {
    if (scale.type == "F8_E8M0") {
      if (scale.bytes[i] == 255) return fail(name + ": a NaN");
      numbers.push_back(std::ldexp(1.0, scale.bytes[i] - 127));
    } else if (scale.type == "F32" || scale.type == "F16" || scale.type == "BF16") {
      numbers.push_back(static_cast<double>(scale.floatAt(i)));
      if (!std::isfinite(numbers.back())) return fail(name + ": not finite");
    } else {
      return fail(name + ": unexpected type " + scale.type);
    }
  }
  return numbers;
}

// 0: no power of two does.
std::uint64_t tileFor(std::uint64_t side, std::uint64_t count) {
  if (count == 1) return side;
  std::uint64_t tile = 1;
  while (tile < side && (side - 1) / tile + 1 != count) tile *= 2;
  return tile < side ? tile : 0;
}

}  // namespace

Result<std::vector<float>> decodeFp8(const std::filesystem::path& path, const std::string& tensorName) {
  const auto file = Container::open(path);
  if (!file) return fail(file.error());
  const bool tiled = file->has(tensorName + "_scale_inv");
  const std::string scaleName = tensorName + (tiled ? "_scale_inv" : "_scale");
  const auto weight = file->read(tensorName), scale = file->read(scaleName);
  if (!weight) return fail(weight.error());
  if (!scale) return fail(scale.error());
  if ((weight->type != "F8_E4M3" && weight->type != "F8_E5M2") || weight->shape.size() != 2 || weight->count() == 0)
    return fail(tensorName + ": unexpected type or shape");
  const std::uint64_t rows = weight->shape[0], columns = weight->shape[1];
  std::uint64_t tileRows = rows, tileColumns = columns, across = 1;
  if (tiled) {
    if (scale->shape.size() != 2 || scale->count() == 0) return fail(scaleName + ": unexpected shape");
    tileRows = tileFor(rows, scale->shape[0]);
    tileColumns = tileFor(columns, scale->shape[1]);
    across = scale->shape[1];
    if (tileRows == 0 || tileColumns == 0) return fail(scaleName + ": does not cover the weight");
  } else if (scale->shape == Sides{rows, 1}) {
    tileRows = 1;
  } else if (scale->shape != Sides{1}) {
    return fail(scaleName + ": unexpected shape");
  }
  const auto numbers = numbersOf(*scale, scaleName);
  if (!numbers) return fail(numbers.error());
  std::vector<float> values(weight->count());
  for (std::uint64_t i = 0; i < values.size(); ++i) {
    const auto value = valueOf(weight->bytes[i], weight->type == "F8_E4M3" ? 3 : 2);
    if (!value) return fail(value.error().within(tensorName));
    values[i] = rounded(*value * (*numbers)[i / columns / tileRows * across + i % columns / tileColumns], "float32");
  }
  return values;
}

}  // namespace nibble::proof
