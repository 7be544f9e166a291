// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/exl2_layers.h"

#include "core/io/atomic_file.h"
#include "kernels/math/minifloat.h"

#include <cstdio>
#include <cstdlib>

namespace nibble::test {

std::uint64_t HandLayer::inputs() const {
  std::uint64_t count = 0;
  for (const HandGroup& group : groups) count += group.inputs;
  return count;
}

std::vector<std::uint32_t> HandLayer::words() const {
  std::uint64_t rows = 0, first = 0, input = 0;
  for (const HandGroup& group : groups) rows += group.inputs * group.bits / 32;
  std::vector<std::uint32_t> words(rows * outputs);
  for (const HandGroup& group : groups) {
    for (std::uint64_t n = 0; n < outputs; ++n)
      for (std::uint64_t j = 0; j < group.inputs; ++j)
        for (unsigned bit = 0; bit < group.bits; ++bit) {
          const std::uint64_t place = j * group.bits + bit;
          if ((code(input + j, n) >> bit & 1) != 0) words[(first + place / 32) * outputs + n] |= 1u << place % 32;
        }
    first += group.inputs * group.bits / 32;
    input += group.inputs;
  }
  return words;
}

std::vector<std::uint16_t> HandLayer::table() const {
  std::vector<std::uint16_t> pairs;
  std::uint64_t row = 0;
  for (const HandGroup& group : groups) {
    pairs.push_back(static_cast<std::uint16_t>(group.bits));
    pairs.push_back(static_cast<std::uint16_t>(row));
    row += group.inputs * group.bits / 32;
  }
  return pairs;
}

std::vector<RawTensor> HandLayer::exl2(const std::string& module) const {
  std::vector<std::uint32_t> scale(groups.size() * outputs / 8);
  std::vector<std::uint16_t> maxima;
  for (std::uint64_t g = 0; g < groups.size(); ++g) {
    maxima.push_back(maximum(g));
    for (std::uint64_t n = 0; n < outputs; ++n) scale[(g * outputs + n) / 8] |= nibble(g, n) << 4 * (n % 8);
  }
  std::vector<std::int32_t> places(inputs());
  for (std::uint64_t k = 0; k < inputs(); ++k) places[order(k)] = static_cast<std::int32_t>(k);
  const auto packed = words();
  const std::string p = module + ".";
  return {arrayOf(p + "q_weight", DType::I32, {packed.size() / outputs, outputs}, packed),
          arrayOf(p + "q_scale", DType::I32, {groups.size(), outputs / 8}, scale),
          arrayOf(p + "q_scale_max", DType::F16, {groups.size()}, maxima),
          arrayOf(p + "q_groups", DType::I16, {2 * groups.size()}, table()),
          arrayOf(p + "q_invperm", DType::I32, {inputs()}, places)};
}

std::vector<RawTensor> HandLayer::mbwq(const std::string& module) const {
  std::vector<std::uint16_t> scales, zeros, perm, ones(inputs(), 0x3C00);
  for (std::uint64_t g = 0; g < groups.size(); ++g) {
    const float unit = kernels::roundTo(kernels::FloatType::F16, kernels::halfToFloat(maximum(g)) / 256);
    for (std::uint64_t n = 0; n < outputs; ++n) {
      const auto root = static_cast<float>(nibble(g, n) + 1);
      scales.push_back(kernels::floatToHalf(root * root * unit));
      zeros.push_back(
          kernels::floatToHalf(kernels::halfToFloat(scales.back()) * static_cast<float>(1u << (groups[g].bits - 1))));
    }
  }
  for (std::uint64_t k = 0; k < inputs(); ++k) perm.push_back(static_cast<std::uint16_t>(order(k)));
  const auto packed = words();
  const std::string p = module + ".";
  return {arrayOf(p + "qweight", DType::I32, {packed.size() / outputs, outputs}, packed),
          arrayOf(p + "scales", DType::F16, {groups.size(), outputs}, scales),
          arrayOf(p + "zeros", DType::F16, {groups.size(), outputs}, zeros),
          arrayOf(p + "q_perm", DType::I16, {inputs()}, perm),
          arrayOf(p + "channel_scale", DType::F16, {1, 1, inputs()}, ones),
          arrayOf(p + "q_groups", DType::I16, {2 * groups.size()}, table())};
}

HandLayer goldenLayer() {
  HandLayer layer;
  layer.outputs = 32;
  layer.groups = {{8, 32}, {6, 32}, {5, 32}, {4, 64}, {3, 32}, {2, 64}};
  layer.code = [groups = layer.groups](std::uint64_t k, std::uint64_t n) {
    std::uint64_t end = 0;
    for (const HandGroup& group : groups)
      if (k < (end += group.inputs)) return static_cast<unsigned>((7 * k + 3 * n + k * n) % (1u << group.bits));
    std::abort();
  };
  layer.nibble = [](std::uint64_t g, std::uint64_t n) { return static_cast<unsigned>((5 * g + n) % 16); };
  layer.maximum = [](std::uint64_t g) { return static_cast<std::uint16_t>(0x1C00 + 0x111 * g); };
  layer.order = [](std::uint64_t k) { return (29 * k + 11) % 256; };
  return layer;
}

std::uint64_t fnv(std::span<const std::byte> bytes) {
  std::uint64_t hash = 1469598103934665603u;
  for (const std::byte byte : bytes) hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 1099511628211u;
  return hash;
}

RawTensor& arrayNamed(std::vector<RawTensor>& arrays, const std::string& ending) {
  for (RawTensor& array : arrays)
    if (array.name.ends_with("." + ending)) return array;
  std::fprintf(stderr, "no array %s\n", ending.c_str());
  std::abort();
}

void writeArrays(const std::filesystem::path& file, const std::vector<RawTensor>& arrays) {
  auto out = AtomicFile::create(file);
  if (out && writeSafetensors(*out, arrays) && out->commit()) return;
  std::fprintf(stderr, "cannot write %s\n", file.c_str());
  std::abort();
}

}  // namespace nibble::test
