// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from the format's description alone. For a module P of N outputs (a multiple of 32) and K inputs in
// G groups: P.q_groups I16 [2G], pairs (bits, first row of codes); the group's rows of P.q_weight I32 [rows, N] are, down each
// output, one little-endian string of codes. P.q_scale I32 [G, N/8]: eight 4-bit numbers a word, low first, each the root less
// one. P.q_scale_max F16 [G]. P.q_invperm I32 [K]: the place of input i in the stored order.
//   W[n, i] = h(h(q - 2^(b-1)) * h((c+1)^2 * h(max / 256))), h = round to half
#include "core/formats/exl2/proof.h"

#include "core/formats/proof_container.h"

#include <cmath>

namespace nibble::proof {
namespace {

struct Group {
  std::uint64_t bits = 0, firstRow = 0, endRow = 0;
};

struct Layer {
  Array weight, scale, maximum, table, places;
  std::vector<Group> groups;
  std::uint64_t outputs = 0, inputs = 0;
};

float half(double value) {
  return rounded(value, "float16");
}

Status readGroups(Layer& layer, const std::string& p) {
  const std::uint64_t rows = layer.weight.shape[0], count = layer.table.count() / 2;
  std::uint64_t inputs = 0;
  for (std::uint64_t g = 0; g < count; ++g) {
    Group group{layer.table.unsignedAt(2 * g), layer.table.unsignedAt(2 * g + 1), rows};
    if (g + 1 < count) group.endRow = layer.table.unsignedAt(2 * g + 3);
    const bool width =
        group.bits == 2 || group.bits == 3 || group.bits == 4 || group.bits == 5 || group.bits == 6 || group.bits == 8;
    if (!width || (g == 0 && group.firstRow != 0) || group.firstRow >= group.endRow || group.endRow > rows)
      return fail(p + "q_groups: impossible pair at " + std::to_string(g));
    if ((group.endRow - group.firstRow) % group.bits != 0) return fail(p + "q_groups: rows that are no whole 32 inputs");
    if (g > 0 && group.bits > layer.groups.back().bits) return fail(p + "q_groups: widths do not descend");
    inputs += (group.endRow - group.firstRow) * 32 / group.bits;
    layer.groups.push_back(group);
  }
  if (inputs != layer.inputs) return fail(p + "q_groups: another number of inputs than q_invperm");
  return {};
}

Result<Layer> loadLayer(const Container& file, const std::string& p) {
  Layer layer;
  struct Wanted {
    const char* key;
    const char* type;
    std::size_t dimensions;
    Array* place;
  };
  for (const Wanted& wanted : {Wanted{"q_weight", "I32", 2, &layer.weight}, Wanted{"q_scale", "I32", 2, &layer.scale},
                               Wanted{"q_scale_max", "F16", 1, &layer.maximum}, Wanted{"q_groups", "I16", 1, &layer.table},
                               Wanted{"q_invperm", "I32", 1, &layer.places}}) {
    auto array = file.read(p + wanted.key);
    if (!array) return fail(array.error());
    if (array->type != wanted.type || array->shape.size() != wanted.dimensions)
      return fail(p + wanted.key + ": unexpected type or shape");
    *wanted.place = std::move(*array);
  }
  layer.outputs = layer.weight.shape[1];
  layer.inputs = layer.places.shape[0];
  const std::uint64_t groups = layer.table.shape[0] / 2;
  if (layer.outputs % 32 != 0 || layer.table.shape[0] % 2 != 0 || !layer.scale.is("I32", {groups, layer.outputs / 8}) ||
      !layer.maximum.is("F16", {groups}))
    return fail(p + "q_scale, q_scale_max or q_groups: unexpected shape");
  if (file.has(p + "weight")) return fail(p + "weight: stands beside q_weight");
  if (const auto status = readGroups(layer, p); !status) return fail(status.error());
  std::vector<bool> seen(layer.inputs);
  for (std::uint64_t i = 0; i < layer.inputs; ++i) {
    const std::uint64_t place = layer.places.unsignedAt(i);
    if (place >= layer.inputs || seen[place]) return fail(p + "q_invperm: not a permutation");
    seen[place] = true;
  }
  return layer;
}

// The code of width b whose first bit is `bit` of output n's string in this group.
std::uint64_t codeAt(const Layer& layer, const Group& group, std::uint64_t n, std::uint64_t bit) {
  const std::uint64_t row = group.firstRow + bit / 32, shift = bit % 32;
  std::uint64_t window = layer.weight.unsignedAt(row * layer.outputs + n);
  if (shift + group.bits > 32) window |= layer.weight.unsignedAt((row + 1) * layer.outputs + n) << 32;
  return window >> shift & ((std::uint64_t{1} << group.bits) - 1);
}

}  // namespace

Result<std::vector<float>> decodeExl2(const std::filesystem::path& file, const std::string& tensorName) {
  const auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  const auto layer = loadLayer(*container, module + ".");
  if (!layer) return fail(layer.error());
  std::vector<std::uint64_t> input(layer->inputs);  // of each stored place
  for (std::uint64_t i = 0; i < layer->inputs; ++i) input[layer->places.unsignedAt(i)] = i;
  std::vector<float> values(layer->outputs * layer->inputs);
  std::uint64_t first = 0;
  for (std::uint64_t g = 0; g < layer->groups.size(); ++g) {
    const Group& group = layer->groups[g];
    const float maximum = layer->maximum.floatAt(g);
    if (!std::isfinite(maximum)) return fail(module + ".q_scale_max: not finite");
    const float unit = half(static_cast<double>(maximum) / 256.0);
    const std::uint64_t count = (group.endRow - group.firstRow) * 32 / group.bits;
    for (std::uint64_t n = 0; n < layer->outputs; ++n) {
      const std::uint64_t root = (layer->scale.unsignedAt((g * layer->outputs + n) / 8) >> (4 * (n % 8)) & 15u) + 1;
      const float scale = half(static_cast<double>(root * root) * static_cast<double>(unit));
      for (std::uint64_t j = 0; j < count; ++j) {
        const auto code = static_cast<double>(codeAt(*layer, group, n, j * group.bits));
        const double middle = std::ldexp(1.0, static_cast<int>(group.bits) - 1);
        values[n * layer->inputs + input[first + j]] = half((code - middle) * static_cast<double>(scale));
      }
    }
    first += count;
  }
  return values;
}

}  // namespace nibble::proof
