// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from reference document 000: word = sum over k = 0..9 of v[10 i + k] << (27 - 3 k), top two bits 0;
// the values run over whole groups (the last weight's code repeated), w = v * scale + zero with the group's numbers.
#include "core/formats/document000/proof.h"

#include "core/formats/proof_container.h"

namespace nibble::proof {
namespace {

struct Layer {
  std::uint64_t weights = 1, group = 0, groups = 0;
  std::int64_t bits = 0;
  Array words, scale, zero;
};

Result<Layer> loadLayer(const Container& file, const std::string& p) {
  Layer layer;
  auto words = file.read(p + "pqdata"), scale = file.read(p + "scale"), zero = file.read(p + "zero"),
       shape = file.read(p + "shape");
  if (!words) return fail(words.error());
  if (!scale) return fail(scale.error());
  if (!zero) return fail(zero.error());
  if (!shape) return fail(shape.error());
  const auto bits = file.number(p + "bits", "I64"), group = file.number(p + "group_size", "I64");
  if (!bits) return fail(bits.error());
  if (!group) return fail(group.error());
  if (*bits < 1 || *bits > 3) return fail(p + "bits: outside 1..3");
  if (*group < 1 || *group >> 40 != 0) return fail(p + "group_size: impossible");
  if (shape->type != "I64") return fail(p + "shape: expected I64");
  for (std::uint64_t i = 0; i < shape->count(); ++i) {
    if (shape->unsignedAt(i) >> 32 != 0) return fail(p + "shape: impossible");
    layer.weights *= shape->unsignedAt(i);
  }
  layer.bits = *bits;
  layer.group = static_cast<std::uint64_t>(*group);
  layer.groups = (layer.weights + layer.group - 1) / layer.group;
  if (scale->type != "F32" && scale->type != "F16" && scale->type != "BF16") return fail(p + "scale: unexpected type");
  if (!scale->is(scale->type, {layer.groups, 1}) || !zero->is(scale->type, {layer.groups, 1}))
    return fail(p + "scale or zero: unexpected shape");
  if (!words->is("I32", {(layer.groups * layer.group + 9) / 10})) return fail(p + "pqdata: unexpected shape");
  layer.words = std::move(*words);
  layer.scale = std::move(*scale);
  layer.zero = std::move(*zero);
  return layer;
}

Result<std::vector<float>> decodeWords(const Layer& layer, const std::string& p) {
  const std::string arithmetic = layer.scale.type == "F16" ? "float16" : layer.scale.type == "BF16" ? "bfloat16" : "float32";
  const std::uint64_t filled = layer.groups * layer.group;
  std::vector<float> values(layer.weights);
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < (filled + 9) / 10 * 10; ++i) {
    const std::uint64_t word = layer.words.unsignedAt(i / 10);
    if (word >> 30 != 0) return fail(p + "pqdata: the top two bits of a word are not 0");
    const std::uint64_t code = word >> (27 - 3 * (i % 10)) & 7u;
    if (i >= filled) {
      if (code != 0) return fail(p + "pqdata: padding after the last group is not 0");
    } else if (i >= layer.weights) {
      if (code != last) return fail(p + "pqdata: the last group is not filled with its last code");
    } else {
      if (code >> layer.bits != 0) return fail(p + "pqdata: a code is wider than bits");
      last = code;
      const std::uint64_t group = i / layer.group;
      const float product = rounded(static_cast<float>(code) * layer.scale.floatAt(group), arithmetic);
      values[i] = rounded(product + layer.zero.floatAt(group), arithmetic);
    }
  }
  return values;
}

}  // namespace

Result<std::vector<float>> decodeDocument000(const std::filesystem::path& file, const std::string& tensorName) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  auto layer = loadLayer(*container, module + ".");
  if (!layer) return fail(layer.error());
  return decodeWords(*layer, module + ".");
}

}  // namespace nibble::proof
