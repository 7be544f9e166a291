// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here stands in diffq.cpp: bits of group g = min_bits + the g-th field of bits_width bits of P.bits; codes
// of P.codes one after another, each as wide as its group's bits; both low bits first, unused bits of the last byte 0.
// w = code * (range * (1 / (2^b - 1))) + low, float32 at each step.
#include "core/formats/diffq/proof.h"

#include "core/formats/proof_container.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace nibble::proof {
namespace {

class BitReader {
 public:
  explicit BitReader(const Array& bytes) : m_bytes(bytes) {}
  std::uint64_t next(std::uint64_t width) {
    std::uint64_t value = 0;
    for (std::uint64_t i = 0; i < width; ++i, ++m_at)
      value |= static_cast<std::uint64_t>(m_bytes.bytes[m_at / 8] >> (m_at % 8) & 1u) << i;
    return value;
  }
  bool restIsZero() {
    while (m_at < m_bytes.bytes.size() * 8)
      if (next(1) != 0) return false;
    return true;
  }

 private:
  const Array& m_bytes;
  std::uint64_t m_at = 0;
};

struct Layer {
  std::uint64_t weights = 1, group = 0;
  std::vector<std::uint64_t> bits;  // of each group
  Array codes;
  float low = 0, range = 0;
};

Result<float> floatNumber(const Container& file, const std::string& name) {
  const auto array = file.read(name);
  if (!array) return fail(array.error());
  if (!array->is("F32", {})) return fail(name + ": expected one F32 number");
  const float value = array->floatAt(0);
  if (!std::isfinite(value)) return fail(name + ": not finite");
  return value;
}

Result<std::uint64_t> weightCount(const Container& file, const std::string& p) {
  const auto shape = file.read(p + "shape");
  if (!shape) return fail(shape.error());
  if (shape->type != "I64") return fail(p + "shape: expected I64");
  std::uint64_t weights = 1;
  for (std::uint64_t i = 0; i < shape->count(); ++i) {
    const std::uint64_t side = shape->unsignedAt(i);
    if (side == 0 || side >> 32 != 0 || weights >> 31 != 0) return fail(p + "shape: impossible");
    weights *= side;
  }
  return weights;
}

Status readBits(const Container& file, const std::string& p, Layer& layer) {
  const auto packed = file.read(p + "bits"), width = file.read(p + "bits_width");
  if (!packed) return fail(packed.error());
  if (!width) return fail(width.error());
  const auto smallest = file.number(p + "min_bits", "I64");
  if (!smallest) return fail(smallest.error());
  if (*smallest < 1 || *smallest > 2) return fail(p + "min_bits: expected 1 or 2");
  if (!width->is("U8", {1}) || width->bytes[0] > 4) return fail(p + "bits_width: expected one number, 0..4");
  const std::uint64_t groups = layer.weights / layer.group, each = width->bytes[0];
  if (!packed->is("U8", {(groups * each + 7) / 8})) return fail(p + "bits: unexpected shape");
  BitReader reader(*packed);
  for (std::uint64_t g = 0; g < groups; ++g) layer.bits.push_back(static_cast<std::uint64_t>(*smallest) + reader.next(each));
  if (!reader.restIsZero()) return fail(p + "bits: padding is not 0");
  const auto [fewest, most] = std::minmax_element(layer.bits.begin(), layer.bits.end());
  if (*most > 15) return fail(p + "bits: a group has more than 15");
  if (*smallest == 1 && *fewest != 1) return fail(p + "min_bits: no group has 1 bit");
  if (static_cast<std::uint64_t>(std::bit_width(*most - static_cast<std::uint64_t>(*smallest))) != each) return fail(p + "bits_width: wider than needed");
  return {};
}

Result<Layer> loadLayer(const Container& file, const std::string& p) {
  Layer layer;
  const auto weights = weightCount(file, p);
  if (!weights) return fail(weights.error());
  const auto group = file.number(p + "group_size", "I64");
  if (!group) return fail(group.error());
  layer.weights = *weights;
  if (*group < 1 || layer.weights % static_cast<std::uint64_t>(*group) != 0) return fail(p + "group_size: does not divide the weights");
  layer.group = static_cast<std::uint64_t>(*group);
  if (const Status read = readBits(file, p, layer); !read) return fail(read.error());
  const auto low = floatNumber(file, p + "low"), range = floatNumber(file, p + "range");
  if (!low) return fail(low.error());
  if (!range) return fail(range.error());
  if (*range < 0 || std::signbit(*range)) return fail(p + "range: negative");
  layer.low = *low;
  layer.range = *range;
  std::uint64_t bits = 0;
  for (const std::uint64_t b : layer.bits) bits += b * layer.group;
  auto codes = file.read(p + "codes");
  if (!codes) return fail(codes.error());
  if (!codes->is("U8", {(bits + 7) / 8})) return fail(p + "codes: unexpected shape");
  layer.codes = std::move(*codes);
  return layer;
}

}  // namespace

Result<std::vector<float>> decodeDiffq(const std::filesystem::path& file, const std::string& tensorName) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  auto layer = loadLayer(*container, module + ".");
  if (!layer) return fail(layer.error());
  BitReader reader(layer->codes);
  std::vector<float> values(layer->weights);
  for (std::uint64_t i = 0; i < layer->weights; ++i) {
    const std::uint64_t bits = layer->bits[i / layer->group];
    const float unit = 1.0f / static_cast<float>((std::uint64_t{1} << bits) - 1), step = layer->range * unit;
    const float product = step * static_cast<float>(reader.next(bits));
    values[i] = product + layer->low;
  }
  if (!reader.restIsZero()) return fail(module + ".codes: padding is not 0");
  return values;
}

}  // namespace nibble::proof
