// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from the format's description alone: P.qweight I32 [K b / 32, N] - down one column n, 32 inputs are
// b words read as one little-endian string of bits; P.qzeros I32 [G, N b / 32] - along one row the same over 32 outputs,
// storing the zero point less the version's offset; P.scales F16 [G, N]; P.g_idx I32 [K]. W[n, k] = scale[g, n] * (q - zero[g,
// n]). Planar: the b words of 32 numbers hold first their low 4 bits (where b has them), then the next 2, then the last 1, each
// a string of bits of its own.
#include "core/formats/gptq/proof.h"

#include "core/formats/proof_container.h"

namespace nibble::proof {
namespace {

struct Layer {
  std::uint64_t outputs = 0, inputs = 0, groups = 0, bits = 0;
  Array weight, zeros, scales, index;
};

Result<Layer> loadLayer(const Container& file, const std::string& p) {
  Layer layer;
  auto weight = file.read(p + "qweight"), zeros = file.read(p + "qzeros"), scales = file.read(p + "scales"),
       index = file.read(p + "g_idx");
  if (!weight) return fail(weight.error());
  if (!zeros) return fail(zeros.error());
  if (!scales) return fail(scales.error());
  if (!index) return fail(index.error());
  if (scales->type != "F16" || scales->shape.size() != 2) return fail(p + "scales: expected F16 [groups, out]");
  if (index->type != "I32" || index->shape.size() != 1) return fail(p + "g_idx: expected I32 [in]");
  layer.groups = scales->shape[0];
  layer.outputs = scales->shape[1];
  layer.inputs = index->shape[0];
  if (weight->type != "I32" || weight->shape.size() != 2 || layer.inputs == 0)
    return fail(p + "qweight: expected I32 [in * bits / 32, out]");
  layer.bits = weight->shape[0] * 32 / layer.inputs;
  if (layer.bits < 2 || layer.bits > 8) return fail(p + "qweight: impossible width");
  if (!weight->is("I32", {layer.inputs * layer.bits / 32, layer.outputs}) ||
      !zeros->is("I32", {layer.groups, layer.outputs * layer.bits / 32}))
    return fail(p + "qweight or qzeros: unexpected shape");
  for (std::uint64_t k = 0; k < layer.inputs; ++k)
    if (index->unsignedAt(k) >= layer.groups) return fail(p + "g_idx: no such group");
  layer.weight = std::move(*weight);
  layer.zeros = std::move(*zeros);
  layer.scales = std::move(*scales);
  layer.index = std::move(*index);
  return layer;
}

// `count` bits from bit `bit` of the string whose word w is element first + w * step; at most two words hold them.
std::uint64_t bitsAt(const Array& words, std::uint64_t first, std::uint64_t step, std::uint64_t bit, std::uint64_t count) {
  const std::uint64_t word = bit / 32, shift = bit % 32;
  std::uint64_t window = words.unsignedAt(first + word * step);
  if (shift + count > 32) window |= words.unsignedAt(first + (word + 1) * step) << 32;
  return window >> shift & ((std::uint64_t{1} << count) - 1);
}

// Number `place` of the string, `bits` wide.
std::uint64_t numberAt(const Array& words, std::uint64_t first, std::uint64_t step, std::uint64_t place, std::uint64_t bits,
                       bool planar) {
  if (!planar) return bitsAt(words, first, step, place * bits, bits);
  std::uint64_t value = 0, above = 0;
  for (std::uint64_t part = 4; part != 0; part /= 2) {
    if (bits / part % 2 == 0) continue;
    // Planes before this one took `above` of the block's words.
    const std::uint64_t begin = (place / 32 * bits + above) * 32;
    value += bitsAt(words, first, step, begin + place % 32 * part, part) << above;
    above += part;
  }
  return value;
}

}  // namespace

Result<std::vector<float>> decodeGptq(const std::filesystem::path& file, const std::string& tensorName, unsigned storedOffset,
                                      bool planar) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  const auto layer = loadLayer(*container, module + ".");
  if (!layer) return fail(layer.error());
  const std::uint64_t perRow = layer->outputs * layer->bits / 32;
  std::vector<float> zeros(layer->groups * layer->outputs);
  for (std::uint64_t g = 0; g < layer->groups; ++g) {
    for (std::uint64_t n = 0; n < layer->outputs; ++n) {
      const std::uint64_t zero = numberAt(layer->zeros, g * perRow, 1, n, layer->bits, planar) + storedOffset;
      if (zero >> layer->bits != 0) return fail(module + ".qzeros: a zero point beyond the codes");
      zeros[g * layer->outputs + n] = static_cast<float>(zero);
    }
  }
  std::vector<float> values(layer->outputs * layer->inputs);
  for (std::uint64_t n = 0; n < layer->outputs; ++n) {
    for (std::uint64_t k = 0; k < layer->inputs; ++k) {
      const auto code = static_cast<float>(numberAt(layer->weight, n, layer->outputs, k, layer->bits, planar));
      const std::uint64_t parameter = layer->index.unsignedAt(k) * layer->outputs + n;
      values[n * layer->inputs + k] = layer->scales.floatAt(parameter) * (code - zeros[parameter]);
    }
  }
  return values;
}

}  // namespace nibble::proof
