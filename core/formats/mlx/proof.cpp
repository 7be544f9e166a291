// SPDX-License-Identifier: GPL-3.0-or-later
// The layouts followed here, from the format's description alone, for a module P of [N, K]: P.weight U32 [N, K b / 32], each
// row one little-endian string of K codes of b bits. With P.biases: P.scales and P.biases [N, G] of one float type T, the code
// a number, w = T(T(scale * code) + bias). Without: P.scales U8 [N, K / 32] are exponents, w = value * 2^(s - 127), the value
// an E2M1 float at 4 bits, E4M3 at 8; or U8 [N, K / 16] are E4M3 floats and w = value * scale at 4 bits.
#include "core/formats/mlx/proof.h"

#include "core/formats/proof_container.h"

#include <cmath>

namespace nibble::proof {
namespace {

struct Layer {
  std::uint64_t outputs = 0, inputs = 0, bits = 0, groups = 0;
  Array words, scales;
};

Result<double> e4m3(std::uint64_t code) {
  const int exponent = static_cast<int>(code >> 3 & 15u), fraction = static_cast<int>(code & 7u);
  if (exponent == 15 && fraction == 7) return fail("a NaN");
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  return (code & 128u) != 0 ? -magnitude : magnitude;
}

double e2m1(std::uint64_t code) {
  static const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  return (code & 8u) != 0 ? -magnitudes[code & 7u] : magnitudes[code & 7u];
}

std::uint64_t codeAt(const Layer& layer, std::uint64_t output, std::uint64_t input) {
  const std::uint64_t bit = input * layer.bits, word = output * layer.words.shape[1] + bit / 32, shift = bit % 32;
  std::uint64_t window = layer.words.unsignedAt(word);
  if (shift + layer.bits > 32) window |= layer.words.unsignedAt(word + 1) << 32;
  return window >> shift & ((std::uint64_t{1} << layer.bits) - 1);
}

Result<std::vector<float>> decodeAffine(const Layer& layer, const Array& biases, const std::string& p) {
  static const std::map<std::string, std::string> types = {{"F32", "float32"}, {"F16", "float16"}, {"BF16", "bfloat16"}};
  const auto type = types.find(layer.scales.type);
  if (type == types.end() || !biases.is(layer.scales.type, layer.scales.shape))
    return fail(p + "biases: unexpected type or shape");
  std::vector<float> values;
  for (std::uint64_t n = 0; n < layer.outputs; ++n) {
    for (std::uint64_t k = 0; k < layer.inputs; ++k) {
      const std::uint64_t group = n * layer.groups + k / (layer.inputs / layer.groups);
      const float scale = layer.scales.floatAt(group), bias = biases.floatAt(group);
      if (!std::isfinite(scale) || !std::isfinite(bias)) return fail(p + "scales or biases: not finite");
      const float product = rounded(static_cast<double>(scale) * static_cast<double>(codeAt(layer, n, k)), type->second);
      values.push_back(rounded(static_cast<double>(product) + static_cast<double>(bias), type->second));
    }
  }
  return values;
}

Result<double> byteScale(const Layer& layer, std::uint64_t group) {
  const unsigned code = layer.scales.bytes[group];
  if (layer.inputs / layer.groups == 16) return e4m3(code);
  if (code == 255) return fail("a NaN");
  return std::ldexp(1.0, static_cast<int>(code) - 127);
}

Result<std::vector<float>> decodeFloats(const Layer& layer, const std::string& p) {
  const std::uint64_t length = layer.inputs / layer.groups;
  const bool known = layer.scales.type == "U8" &&
                     ((length == 32 && (layer.bits == 4 || layer.bits == 8)) || (length == 16 && layer.bits == 4));
  if (!known) return fail(p + "scales: unexpected type or shape");
  std::vector<float> values;
  for (std::uint64_t n = 0; n < layer.outputs; ++n) {
    for (std::uint64_t k = 0; k < layer.inputs; ++k) {
      const std::uint64_t code = codeAt(layer, n, k);
      const auto level = layer.bits == 8 ? e4m3(code) : Result<double>(e2m1(code));
      const auto scale = byteScale(layer, n * layer.groups + k / length);
      if (!level || !scale) return fail((level ? p + "scales: " : p + "weight: ") + "a NaN");
      values.push_back(static_cast<float>(*level * *scale));
    }
  }
  return values;
}

}  // namespace

Result<std::vector<float>> decodeMlx(const std::filesystem::path& path, const std::string& tensorName,
                                     const std::vector<std::uint64_t>& shape) {
  const auto file = Container::open(path);
  if (!file) return fail(file.error());
  const std::string suffix = ".weight";
  std::string p = tensorName;
  if (p.size() > suffix.size() && p.compare(p.size() - suffix.size(), suffix.size(), suffix) == 0)
    p.resize(p.size() - suffix.size());
  p += '.';
  auto words = file->read(p + "weight"), scales = file->read(p + "scales");
  if (!words) return fail(words.error());
  if (!scales) return fail(scales.error());
  if (shape.size() != 2 || shape[1] == 0 || words->type != "U32" || words->shape.size() != 2 || words->shape[0] != shape[0] ||
      words->shape[1] * 32 % shape[1] != 0)
    return fail(p + "weight: unexpected type or shape");
  Layer layer{shape[0], shape[1], words->shape[1] * 32 / shape[1], 0, {}, {}};
  if (layer.bits < 1 || layer.bits > 8) return fail(p + "weight: impossible width");
  if (scales->shape.size() != 2 || scales->shape[0] != layer.outputs || scales->shape[1] == 0 ||
      layer.inputs % scales->shape[1] != 0)
    return fail(p + "scales: unexpected shape");
  layer.groups = scales->shape[1];
  layer.words = std::move(*words);
  layer.scales = std::move(*scales);
  if (!file->has(p + "biases")) return decodeFloats(layer, p);
  const auto biases = file->read(p + "biases");
  if (!biases) return fail(biases.error());
  return decodeAffine(layer, *biases, p);
}

}  // namespace nibble::proof
