// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from the layer's description alone. For a module P of N outputs and K inputs: P.scales and P.zeros
// F16 [G, N]; P.q_perm I16 [K], the input each stored place holds; P.channel_scale F16 [1, 1, K], by input; P.q_groups I16
// [2G], where there is one, pairs (bits, first row of P.qweight I32 [rows, N]); without it all groups are K / G inputs of 2 or
// 4 bits. The rows of a group are, down each output, one little-endian string of codes.
//   W[n, q_perm[k]] = h(q * scale - zero) * channel_scale[q_perm[k]], h = one rounding to half
// (what the layer does to x; the last product is exact in float32)
#include "core/formats/mbwq/proof.h"

#include "core/formats/proof_container.h"

#include <algorithm>
#include <cmath>

namespace nibble::proof {
namespace {

struct Run {
  std::uint64_t bits = 0, firstRow = 0, inputs = 0;
};

struct Layer {
  Array weight, scales, zeros, order, channelScale;
  std::vector<Run> runs;
  std::uint64_t outputs = 0, inputs = 0;
};

bool isWidth(std::uint64_t bits) {
  return bits == 8 || (bits >= 2 && bits <= 6);
}

Status readRuns(const Container& file, Layer& layer, const std::string& p) {
  const std::uint64_t rows = layer.weight.shape[0], groups = layer.scales.shape[0];
  if (!file.has(p + "q_groups")) {
    const std::uint64_t bits = rows * 32 / layer.inputs, size = layer.inputs / groups;
    if ((bits != 2 && bits != 4) || bits * layer.inputs != rows * 32 || size * groups != layer.inputs || size % 32 != 0)
      return fail(p + "qweight: not 2 or 4 bits in equal groups");
    for (std::uint64_t g = 0; g < groups; ++g) layer.runs.push_back({bits, g * size * bits / 32, size});
    return {};
  }
  const auto table = file.read(p + "q_groups");
  if (!table) return fail(table.error());
  if (!table->is("I16", {2 * groups})) return fail(p + "q_groups: unexpected type or shape");
  std::uint64_t inputs = 0;
  for (std::uint64_t g = 0; g < groups; ++g) {
    const std::uint64_t bits = table->unsignedAt(2 * g), first = table->unsignedAt(2 * g + 1);
    const std::uint64_t end = g + 1 < groups ? table->unsignedAt(2 * g + 3) : rows;
    if (!isWidth(bits) || (g == 0 && first != 0) || end <= first || end > rows || (end - first) % bits != 0)
      return fail(p + "q_groups: impossible pair at " + std::to_string(g));
    if (g > 0 && bits > layer.runs.back().bits) return fail(p + "q_groups: widths do not descend");
    layer.runs.push_back({bits, first, (end - first) * 32 / bits});
    inputs += layer.runs.back().inputs;
  }
  if (inputs != layer.inputs) return fail(p + "q_groups: another number of inputs than q_perm");
  return {};
}

Result<Layer> loadLayer(const Container& file, const std::string& p) {
  Layer layer;
  struct Wanted {
    const char* key;
    Array* place;
  };
  for (const Wanted& wanted : {Wanted{"qweight", &layer.weight}, Wanted{"scales", &layer.scales}, Wanted{"zeros", &layer.zeros},
                               Wanted{"q_perm", &layer.order}, Wanted{"channel_scale", &layer.channelScale}}) {
    auto array = file.read(p + wanted.key);
    if (!array) return fail(array.error());
    *wanted.place = std::move(*array);
  }
  if (layer.weight.type != "I32" || layer.weight.shape.size() != 2 || layer.scales.type != "F16" ||
      layer.scales.shape.size() != 2 || layer.order.type != "I16" || layer.order.shape.size() != 1)
    return fail(p + "qweight, scales or q_perm: unexpected type");
  layer.outputs = layer.weight.shape[1];
  layer.inputs = layer.order.shape[0];
  if (layer.scales.shape[1] != layer.outputs || layer.scales.shape[0] == 0 || layer.inputs == 0 ||
      !layer.zeros.is("F16", layer.scales.shape) || !layer.channelScale.is("F16", {1, 1, layer.inputs}))
    return fail(p + "scales, zeros or channel_scale: unexpected shape");
  if (const auto status = readRuns(file, layer, p); !status) return fail(status.error());
  std::vector<bool> seen(layer.inputs);
  for (std::uint64_t k = 0; k < layer.inputs; ++k) {
    const std::uint64_t input = layer.order.unsignedAt(k);
    if (input >= layer.inputs || seen[input]) return fail(p + "q_perm: not a permutation");
    seen[input] = true;
  }
  for (const Array* array : {&layer.scales, &layer.zeros, &layer.channelScale})
    for (std::uint64_t i = 0; i < array->count(); ++i)
      if (!std::isfinite(array->floatAt(i))) return fail(p + "scales, zeros or channel_scale: not finite");
  return layer;
}

std::uint64_t codeAt(const Layer& layer, const Run& run, std::uint64_t n, std::uint64_t bit) {
  const std::uint64_t row = run.firstRow + bit / 32, shift = bit % 32;
  std::uint64_t window = layer.weight.unsignedAt(row * layer.outputs + n);
  if (shift + run.bits > 32) window |= layer.weight.unsignedAt((row + 1) * layer.outputs + n) << 32;
  return window >> shift & ((std::uint64_t{1} << run.bits) - 1);
}

}  // namespace

Result<std::vector<float>> decodeMbwq(const std::filesystem::path& file, const std::string& tensorName) {
  const auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  const auto layer = loadLayer(*container, module + ".");
  if (!layer) return fail(layer.error());
  std::vector<float> values(layer->outputs * layer->inputs);
  std::uint64_t first = 0;
  for (std::uint64_t g = 0; g < layer->runs.size(); ++g) {
    const Run& run = layer->runs[g];
    for (std::uint64_t n = 0; n < layer->outputs; ++n) {
      const std::uint64_t parameter = g * layer->outputs + n;
      for (std::uint64_t j = 0; j < run.inputs; ++j) {
        const std::uint64_t input = layer->order.unsignedAt(first + j);
        const double exact = static_cast<double>(codeAt(*layer, run, n, j * run.bits)) * layer->scales.floatAt(parameter) -
                             layer->zeros.floatAt(parameter);
        values[n * layer->inputs + input] = rounded(exact, "float16") * layer->channelScale.floatAt(input);
      }
    }
    first += run.inputs;
  }
  return values;
}

}  // namespace nibble::proof
