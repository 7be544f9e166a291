// SPDX-License-Identifier: GPL-3.0-or-later
// The layouts followed here, from the format's description alone, for a module P of [N, K]:
//   P.weight_packed I32 [N, ceil(K b / 32)]: each row one little-endian string of bits, K codes of b bits, the rest 0;
//   P.weight_shape I64 = N, K; P.weight_zero_point I32 [ceil(N b / 32), G], down each column the like string, or absent:
//   2^(b-1); P.weight_scale [N, G], G dividing K. w = (code - zero) * scale.
//   P.weight I8 or F8_E4M3 [N, K] with P.weight_scale of floats [1], [N, G] or fewer rows (tiles: the smallest power of two
//   that makes as many), w = value * scale; with P.weight_scale U8 [N, K / 32], w = value * 2^(s - 127).
//   P.weight_packed U8 [N, K / 2], the first of two E2M1 floats in the low nibble, with P.weight_scale U8 as above, or F8_E4M3
//   [N, K / 16] and P.weight_global_scale F32 [1]: w = value * (s / global).
// Products are float32; the result has the type of the float scales.
#include "core/formats/compressed_tensors/proof.h"

#include "core/formats/proof_container.h"

#include <cmath>

namespace nibble::proof {
namespace {

struct Numbers {
  std::uint64_t rows = 0, columns = 0;  // N, K
  std::uint64_t tileRows = 1, tileColumns = 1, across = 1;
  std::vector<float> scale;
  std::string type;  // of the result

  [[nodiscard]] float scaleOf(std::uint64_t row, std::uint64_t column) const {
    return scale[row / tileRows * across + column / tileColumns];
  }
};

Result<float> e4m3(unsigned code) {
  const int exponent = static_cast<int>(code >> 3 & 15u), fraction = static_cast<int>(code & 7u);
  if (exponent == 15 && fraction == 7) return fail("a NaN");
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return static_cast<float>((code & 128u) != 0 ? -magnitude : magnitude);
}

float e2m1(unsigned code) {
  const int exponent = static_cast<int>(code >> 1 & 3u), fraction = static_cast<int>(code & 1u);
  const double magnitude = exponent == 0 ? 0.5 * fraction : std::ldexp(2 + fraction, exponent - 2);
  return static_cast<float>((code & 8u) != 0 ? -magnitude : magnitude);
}

// The smallest power of two of which `parts` cover `whole`, no fewer.
std::uint64_t tileFor(std::uint64_t whole, std::uint64_t parts) {
  if (parts == 1) return whole;
  for (std::uint64_t tile = 1; tile < whole; tile *= 2)
    if ((whole + tile - 1) / tile == parts) return tile;
  return whole % parts == 0 ? whole / parts : 0;
}

Status placeScales(const std::string& p, const Array& scale, Numbers& numbers) {
  if (scale.count() == 1 && scale.shape.size() == 1) {
    numbers.tileRows = numbers.rows;
    numbers.tileColumns = numbers.columns;
    return {};
  }
  if (scale.shape.size() != 2 || scale.count() == 0) return fail(p + "weight_scale: unexpected shape");
  numbers.across = scale.shape[1];
  if (scale.shape[0] == numbers.rows) {
    if (numbers.columns % numbers.across != 0) return fail(p + "weight_scale: groups that differ");
    numbers.tileColumns = numbers.columns / numbers.across;
    return {};
  }
  numbers.tileRows = tileFor(numbers.rows, scale.shape[0]);
  numbers.tileColumns = tileFor(numbers.columns, scale.shape[1]);
  if (numbers.tileRows == 0 || numbers.tileColumns == 0) return fail(p + "weight_scale: unexpected shape");
  return {};
}

Status loadFloatScales(const std::string& p, const Array& scale, Numbers& numbers) {
  static const std::map<std::string, std::string> types = {{"F32", "float32"}, {"F16", "float16"}, {"BF16", "bfloat16"}};
  const auto type = types.find(scale.type);
  if (type == types.end()) return fail(p + "weight_scale: unexpected type");
  numbers.type = type->second;
  NIBBLE_TRY(placeScales(p, scale, numbers));
  for (std::uint64_t i = 0; i < scale.count(); ++i) {
    numbers.scale.push_back(scale.floatAt(i));
    if (!std::isfinite(numbers.scale.back())) return fail(p + "weight_scale: not finite");
  }
  return {};
}

Status loadMxScales(const std::string& p, const Array& scale, Numbers& numbers) {
  if (!scale.is("U8", {numbers.rows, numbers.columns / 32}) || numbers.columns % 32 != 0)
    return fail(p + "weight_scale: unexpected shape");
  NIBBLE_TRY(placeScales(p, scale, numbers));
  numbers.type = "float32";
  for (const unsigned char byte : scale.bytes) {
    if (byte == 255) return fail(p + "weight_scale: NaN");
    numbers.scale.push_back(static_cast<float>(std::ldexp(1.0, byte - 127)));
  }
  return {};
}

Status loadNvfp4Scales(const Container& file, const std::string& p, const Array& scale, Numbers& numbers) {
  const auto global = file.read(p + "weight_global_scale");
  if (!global) return fail(global.error());
  if (!global->is("F32", {1}) || !(global->floatAt(0) > 0) || !std::isfinite(global->floatAt(0)))
    return fail(p + "weight_global_scale: expected one positive number");
  if (scale.shape != std::vector<std::uint64_t>{numbers.rows, numbers.columns / 16} || numbers.columns % 16 != 0)
    return fail(p + "weight_scale: unexpected shape");
  NIBBLE_TRY(placeScales(p, scale, numbers));
  numbers.type = "float32";
  for (const unsigned char byte : scale.bytes) {
    const auto value = e4m3(byte);
    if (!value) return fail(value.error().within(p + "weight_scale"));
    numbers.scale.push_back(*value / global->floatAt(0));
  }
  return {};
}

std::uint64_t bitsAt(const Array& words, std::uint64_t first, std::uint64_t step, std::uint64_t bit, std::uint64_t count) {
  const std::uint64_t word = bit / 32, shift = bit % 32;
  std::uint64_t window = words.unsignedAt(first + word * step);
  if (shift + count > 32) window |= words.unsignedAt(first + (word + 1) * step) << 32;
  return window >> shift & ((std::uint64_t{1} << count) - 1);
}

// Nothing beyond `used` bits of a string of `words` words.
bool restIsZero(const Array& words, std::uint64_t first, std::uint64_t step, std::uint64_t used, std::uint64_t count) {
  if (used == count * 32) return true;
  return words.unsignedAt(first + (count - 1) * step) >> (used % 32) == 0;
}

Result<std::vector<float>> zeroPoints(const Container& file, const std::string& p, const Numbers& numbers, std::uint64_t bits) {
  std::vector<float> zeros(numbers.rows * numbers.across, static_cast<float>(std::uint64_t{1} << (bits - 1)));
  if (!file.has(p + "weight_zero_point")) return zeros;
  const auto array = file.read(p + "weight_zero_point");
  if (!array) return fail(array.error());
  const std::uint64_t words = (numbers.rows * bits + 31) / 32;
  if (!array->is("I32", {words, numbers.across})) return fail(p + "weight_zero_point: unexpected type or shape");
  for (std::uint64_t g = 0; g < numbers.across; ++g) {
    for (std::uint64_t n = 0; n < numbers.rows; ++n)
      zeros[n * numbers.across + g] = static_cast<float>(bitsAt(*array, g, numbers.across, n * bits, bits));
    if (!restIsZero(*array, g, numbers.across, numbers.rows * bits, words))
      return fail(p + "weight_zero_point: filled with other than 0");
  }
  return zeros;
}

Result<std::vector<float>> decodePacked(const Container& file, const std::string& p, const Array& packed, const Array& scale) {
  const auto shape = file.read(p + "weight_shape");
  if (!shape) return fail(shape.error());
  if (!shape->is("I64", {2}) || packed.shape.size() != 2 || shape->unsignedAt(0) != packed.shape[0])
    return fail(p + "weight_shape: does not fit the words");
  Numbers numbers;
  numbers.rows = packed.shape[0];
  numbers.columns = shape->unsignedAt(1);
  const std::uint64_t words = packed.shape[1];
  if (numbers.columns < 32 || numbers.columns > words * 32) return fail(p + "weight_shape: impossible");
  std::uint64_t bits = 1;
  while (bits <= 8 && (numbers.columns * bits + 31) / 32 != words) ++bits;
  if (bits > 8) return fail(p + "weight_packed: impossible width");
  NIBBLE_TRY(loadFloatScales(p, scale, numbers));
  if (scale.shape.size() != 2 || scale.shape[0] != numbers.rows) return fail(p + "weight_scale: unexpected shape");
  const auto zeros = zeroPoints(file, p, numbers, bits);
  if (!zeros) return fail(zeros.error());
  std::vector<float> values;
  for (std::uint64_t n = 0; n < numbers.rows; ++n) {
    for (std::uint64_t k = 0; k < numbers.columns; ++k) {
      const auto code = static_cast<float>(bitsAt(packed, n * words, 1, k * bits, bits));
      const float product = (code - (*zeros)[n * numbers.across + k / numbers.tileColumns]) * numbers.scaleOf(n, k);
      values.push_back(rounded(product, numbers.type));
    }
    if (!restIsZero(packed, n * words, 1, numbers.columns * bits, words))
      return fail(p + "weight_packed: filled with other than 0");
  }
  return values;
}

Result<std::vector<float>> decodeBytes(const std::string& p, const Array& weight, const Array& scale) {
  if (weight.shape.size() != 2 || weight.bytes.size() != weight.count()) return fail(p + "weight: unexpected shape");
  Numbers numbers;
  numbers.rows = weight.shape[0];
  numbers.columns = weight.shape[1];
  NIBBLE_TRY(scale.type == "U8" ? loadMxScales(p, scale, numbers) : loadFloatScales(p, scale, numbers));
  std::vector<float> values;
  for (std::uint64_t i = 0; i < weight.bytes.size(); ++i) {
    float level = static_cast<float>(static_cast<signed char>(weight.bytes[i]));
    if (weight.type == "F8_E4M3") {
      const auto value = e4m3(weight.bytes[i]);
      if (!value) return fail(value.error().within(p + "weight"));
      level = *value;
    }
    values.push_back(rounded(level * numbers.scaleOf(i / numbers.columns, i % numbers.columns), numbers.type));
  }
  return values;
}

Result<std::vector<float>> decodeNibbles(const Container& file, const std::string& p, const Array& packed, const Array& scale) {
  if (packed.shape.size() != 2) return fail(p + "weight_packed: unexpected shape");
  Numbers numbers;
  numbers.rows = packed.shape[0];
  numbers.columns = packed.shape[1] * 2;
  NIBBLE_TRY(scale.type == "U8" ? loadMxScales(p, scale, numbers) : loadNvfp4Scales(file, p, scale, numbers));
  std::vector<float> values;
  for (std::uint64_t i = 0; i < packed.count() * 2; ++i) {
    const unsigned byte = packed.bytes[i / 2], code = i % 2 == 0 ? byte & 15u : byte >> 4;
    values.push_back(e2m1(code) * numbers.scaleOf(i / numbers.columns, i % numbers.columns));
  }
  return values;
}

}  // namespace

Result<std::vector<float>> decodeCompressedTensors(const std::filesystem::path& path, const std::string& tensorName) {
  const auto file = Container::open(path);
  if (!file) return fail(file.error());
  const std::string suffix = ".weight";
  std::string p = tensorName;
  if (p.size() > suffix.size() && p.compare(p.size() - suffix.size(), suffix.size(), suffix) == 0)
    p.resize(p.size() - suffix.size());
  p += '.';
  const bool packed = file->has(p + "weight_packed");
  const auto weight = file->read(p + (packed ? "weight_packed" : "weight")), scale = file->read(p + "weight_scale");
  if (!weight) return fail(weight.error());
  if (!scale) return fail(scale.error());
  if (packed && weight->type == "I32") return decodePacked(*file, p, *weight, *scale);
  if (packed && weight->type == "U8") return decodeNibbles(*file, p, *weight, *scale);
  if (!packed && (weight->type == "I8" || weight->type == "F8_E4M3")) return decodeBytes(p, *weight, *scale);
  return fail(p + "weight: unexpected type");
}

}  // namespace nibble::proof
