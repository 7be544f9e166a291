// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/proof.h"

#include "core/formats/proof_container.h"

#include <cmath>
#include <limits>

namespace nibble::proof {
namespace {

constexpr const char* blockPrefix = "ggml ";

const GgufBlock* blockOf(const std::string& type) {
  for (const auto& family : {plainGgufBlocks(), superGgufBlocks(), vectorGgufBlocks()})
    for (const GgufBlock& block : family)
      if (type == blockPrefix + std::to_string(block.number)) return &block;
  return nullptr;
}

Result<std::vector<float>> decodeBlocks(const Array& array, const GgufBlock& block, const std::string& name) {
  if (array.bytes.size() % block.bytes != 0 || array.shape.empty() || array.shape.back() % block.bytes != 0)
    return fail(name + ": its rows are no whole blocks");
  std::vector<float> values(array.bytes.size() / block.bytes * block.weights);
  for (std::size_t i = 0; i * block.bytes < array.bytes.size(); ++i) {
    float* const weights = values.data() + i * block.weights;
    if (!block.decode(array.bytes.data() + i * block.bytes, weights))
      return fail(name + ": block " + std::to_string(i) + " is none that an encoder writes");
    for (unsigned k = 0; k < block.weights; ++k)
      if (!std::isfinite(weights[k])) return fail(name + ": block " + std::to_string(i) + " decodes to no finite number");
  }
  return values;
}

}  // namespace

float ggufHalf(const unsigned char* bytes) {
  const unsigned bits = bytes[0] | bytes[1] << 8;
  const int exponent = static_cast<int>(bits >> 10 & 31u), fraction = static_cast<int>(bits & 1023u);
  float magnitude = exponent == 31  ? std::numeric_limits<float>::infinity()
                    : exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                    : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  if (exponent == 31 && fraction != 0) magnitude = std::numeric_limits<float>::quiet_NaN();
  return (bits & 0x8000u) != 0 ? -magnitude : magnitude;
}

Result<std::vector<float>> decodeGguf(const std::filesystem::path& file, const std::string& tensorName) {
  const auto container = Container::open(file);
  if (!container) return fail(container.error());
  const auto array = container->read(tensorName);
  if (!array) return fail(array.error());
  if (const GgufBlock* block = blockOf(array->type)) return decodeBlocks(*array, *block, tensorName);
  if (array->type != "F32" && array->type != "F16" && array->type != "BF16")
    return fail(tensorName + ": type " + array->type + " holds no weights");
  std::vector<float> values(array->count());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = array->floatAt(i);
  return values;
}

}  // namespace nibble::proof
