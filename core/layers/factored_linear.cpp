// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/factored_linear.h"

#include "core/base/text.h"
#include "core/formats/input_groups.h"
#include "core/layers/stored_inputs.h"
#include "core/quant/encode.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <new>

namespace nibble {
namespace {

using kernels::packedOutputs;
using kernels::PackedRun;

constexpr std::size_t pieceBytes = 128 * 1024;

// Offsets [rows, groups] of value = scale code + offset.
Result<std::vector<float>> offsetsOf(const QuantizedTensor& weights, const formats::InputGroups& groups) {
  if (weights.arithmetic.divides || weights.arithmetic.factor != 1)
    return fail("its values are no scale times code and offset");
  std::vector<float> offsets(groups.scale.size());
  if (groups.zero.empty()) return offsets;
  for (std::size_t i = 0; i < offsets.size(); ++i)
    offsets[i] = weights.rule == ValueRule::ScalePlusBias ? groups.zero[i] : -(groups.scale[i] * groups.zero[i]);
  for (std::size_t i = 0; i < offsets.size(); ++i)
    if (!std::isfinite(offsets[i]) || !std::isfinite(groups.scale[i])) return fail("a scale or offset is not finite");
  return offsets;
}

Result<std::vector<PackedRun>> runsOf(const std::vector<WidthGroup>& groups) {
  std::vector<PackedRun> runs;
  std::uint32_t first = 0;
  for (const WidthGroup& group : groups) {
    if (group.inputs > kernels::mostPackedInputs)
      return fail("a group of " + text::number(group.inputs) + " inputs is too long");
    runs.push_back({first, static_cast<std::uint32_t>(group.inputs), group.bits <= 4 ? 4u : 8u});
    first += static_cast<std::uint32_t>(group.inputs);
  }
  return runs;
}

struct PreparedInputs {
  std::vector<std::int16_t> codes;
  std::vector<std::int8_t> pairs;
  std::vector<float> values, scales, sums;
};

PreparedInputs prepared(std::span<const PackedRun> runs, const std::vector<float>& x, std::uint64_t tokens,
                        Activations activations) {
  PreparedInputs result;
  const std::size_t inputs = x.size() / tokens;
  result.scales.resize(tokens * runs.size());
  result.sums.resize(tokens * runs.size());
  result.codes.resize(activations == Activations::Bytes ? x.size() : 0);
  result.pairs.resize(result.codes.size());
  result.values.resize(activations == Activations::Bytes ? 0 : x.size());
  for (std::uint64_t t = 0; t < tokens; ++t) {
    if (activations == Activations::Bytes)
      kernels::quantizeInputs(runs, x.data() + t * inputs, result.codes.data() + t * inputs, result.pairs.data() + t * inputs,
                              result.scales.data() + t * runs.size(), result.sums.data() + t * runs.size());
    else
      kernels::arrangeInputs(runs, x.data() + t * inputs, result.values.data() + t * inputs,
                             result.sums.data() + t * runs.size());
  }
  return result;
}

}  // namespace

Result<FactoredLinear> FactoredLinear::make(std::string name, const QuantizedTensor& weights, std::vector<float> bias,
                                            const Context& context) try {
  const auto groups = formats::inputGroupsOf(weights);
  if (!groups) return fail(groups.error().within(name));
  const auto offsets = offsetsOf(weights, *groups);
  if (!offsets) return fail(offsets.error().within(name));
  auto runs = runsOf(groups->groups);
  if (!runs) return fail(runs.error().within(name));
  if (!bias.empty() && bias.size() != weights.rows)
    return fail(name + ": a bias of " + text::number(std::uint64_t{bias.size()}) + " numbers for " +
                text::number(weights.rows) + " outputs");
  FactoredLinear layer;
  layer.m_name = std::move(name);
  layer.m_frame.rows = weights.rows;
  layer.m_frame.columns = weights.columns;
  layer.m_frame.order = weights.order;
  layer.m_frame.channelScale = weights.channelScale;
  layer.m_frame.channelScaleMultiplies = weights.channelScaleMultiplies;
  layer.m_bias = std::move(bias);
  layer.m_runs = *std::move(runs);
  for (const PackedRun& run : layer.m_runs) layer.m_blockBytes += kernels::packedBytes(run);
  const std::uint64_t blocks = (weights.rows + packedOutputs - 1) / packedOutputs, columns = weights.columns;
  const std::size_t perRow = layer.m_runs.size();
  auto memory = std::make_shared<HugeArray<std::byte>>(blocks * layer.m_blockBytes);
  const std::vector<std::uint8_t>& codes = *weights.codes.as<std::uint8_t>();
  NIBBLE_TRY(forEachPiece(blocks, 16, packedOutputs * columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    std::vector<std::uint8_t> rowsOfBlock(packedOutputs * columns);
    std::vector<float> scales(packedOutputs * perRow), shifts(scales);
    for (std::uint64_t block = begin; block < end; ++block) {
      const std::uint64_t first = block * packedOutputs, count = std::min<std::uint64_t>(packedOutputs, weights.rows - first);
      const auto copy = [&](const auto& from, auto& to, std::uint64_t each) {
        std::fill(to.begin(), to.end(), 0);
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(first * each), count * each, to.begin());
      };
      copy(codes, rowsOfBlock, columns);
      copy(groups->scale, scales, perRow);
      copy(*offsets, shifts, perRow);
      kernels::packBlock(layer.m_runs, rowsOfBlock.data(), columns, scales.data(), shifts.data(),
                         memory->values().data() + block * layer.m_blockBytes);
    }
    return {};
  }));
  layer.m_blocks = std::move(memory);
  return layer;
} catch (const std::bad_alloc&) {
  return fail("not enough memory for packed weights");
}

Result<std::vector<float>> FactoredLinear::forward(std::span<const float> x, Activations activations,
                                                   const Context& context) const try {
  if (x.empty() || x.size() % inputs() != 0)
    return fail(m_name + ": " + text::number(std::uint64_t{x.size()}) + " inputs are not rows of " + text::number(inputs()));
  const std::uint64_t tokens = x.size() / inputs(), blocks = packed().size() / m_blockBytes;
  const std::vector<float> stored = storedInputs(m_frame, x, tokens);
  if (context.backend->firstNonFinite(stored.data(), stored.size()) != stored.size())
    return fail(m_name + ": an input is not finite");
  const PreparedInputs in = prepared(m_runs, stored, tokens, activations);
  const kernels::PackedLoops& loops = kernels::packedLoops(*context.backend);
  std::vector<float> y(tokens * outputs());
  const std::uint64_t grain = std::max<std::uint64_t>(1, pieceBytes / m_blockBytes);
  NIBBLE_TRY(forEachPiece(
      blocks, grain, packedOutputs * inputs() * tokens, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
        float out[packedOutputs];
        for (std::uint64_t block = begin; block < end; ++block) {
          const std::byte* words = packed().data() + block * m_blockBytes;
          for (std::uint64_t t = 0; t < tokens; ++t) {
            const float* sums = in.sums.data() + t * m_runs.size();
            if (activations == Activations::Bytes)
              loops.byteProducts(
                  m_runs, words,
                  {in.codes.data() + t * inputs(), in.pairs.data() + t * inputs(), in.scales.data() + t * m_runs.size(), sums},
                  out);
            else
              loops.floatProducts(m_runs, words, {in.values.data() + t * inputs(), sums}, out);
            const std::uint64_t first = block * packedOutputs,
                                count = std::min<std::uint64_t>(packedOutputs, outputs() - first);
            for (std::uint64_t n = 0; n < count; ++n)
              y[t * outputs() + first + n] = m_bias.empty() ? out[n] : out[n] + m_bias[first + n];
          }
        }
        return {};
      }));
  return y;
} catch (const std::bad_alloc&) {
  return fail(m_name + ": not enough memory for its products");
}

}  // namespace nibble
