// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/packed_linear.h"

#include "core/base/text.h"
#include "core/layers/stored_inputs.h"
#include "core/quant/decode.h"
#include "core/quant/encode.h"
#include "kernels/linear.h"

#include <algorithm>
#include <new>

namespace nibble {
namespace {

constexpr std::uint64_t tileWeights = 64 * 1024;    // of one thread: half a second-level cache
constexpr std::uint64_t bandWeights = 1024 * 1024;  // decoded by all threads together, for dX
constexpr std::uint64_t blockColumns = 1024;        // of dX, for one thread

std::uint64_t rowsFor(std::uint64_t weights, const QuantizedTensor& tensor) {
  return std::clamp<std::uint64_t>(weights / std::max<std::uint64_t>(tensor.columns, 1), 1,
                                   std::max<std::uint64_t>(tensor.rows, 1));
}

Error outOfMemory(const std::string& name) {
  return {ErrorKind::Input, name + ": not enough memory for its products"};
}

}  // namespace

Result<PackedLinear> PackedLinear::make(std::string name, QuantizedTensor weights, std::vector<float> bias,
                                        FloatType activations) {
  if (activations != FloatType::F32 && activations != FloatType::F16 && activations != FloatType::BF16)
    return fail(name + ": activations are float32, float16 or bfloat16");
  if (weights.rows == 0 || weights.columns == 0)
    return fail(name + ": a layer without weights (" + toText(weights.shape) + ")");
  if (!bias.empty() && bias.size() != weights.rows)
    return fail(name + ": a bias of " + text::number(std::uint64_t{bias.size()}) + " numbers for " +
                text::number(weights.rows) + " outputs");
  PackedLinear layer;
  layer.m_name = std::move(name);
  layer.m_frame.rows = weights.rows;
  layer.m_frame.columns = weights.columns;
  layer.m_frame.order = weights.order;
  layer.m_frame.channelScale = weights.channelScale;
  layer.m_frame.channelScaleMultiplies = weights.channelScaleMultiplies;
  layer.m_frame.rotation = weights.rotation;
  layer.m_weights = nibble::storedWeights(std::move(weights));
  layer.m_bias = std::move(bias);
  layer.m_type = activations;
  return layer;
}

Result<std::uint64_t> PackedLinear::tokensOf(std::size_t size, std::uint64_t channels, const char* what) const {
  if (size == 0 || size % channels != 0)
    return fail(m_name + ": " + text::number(std::uint64_t{size}) + " " + what + " are not rows of " + text::number(channels));
  return size / channels;
}

std::vector<float> PackedLinear::rounded(std::span<const float> values) const {
  std::vector<float> result(values.begin(), values.end());
  if (m_type != FloatType::F32)
    for (float& value : result) value = kernels::roundTo(m_type, value);
  return result;
}

Result<std::vector<float>> PackedLinear::forward(std::span<const float> x, const Context& context) const try {
  const auto tokens = tokensOf(x.size(), inputs(), "inputs");
  if (!tokens) return fail(tokens.error());
  const std::vector<float> stored = storedInputs(m_frame, rounded(x), *tokens);
  const kernels::LinearLoops& loops = kernels::linearLoops(*context.backend);
  std::vector<float> y(*tokens * outputs());
  NIBBLE_TRY(
      forEachPiece(outputs(), rowsFor(tileWeights, m_weights), *tokens * inputs(), context,
                   [&](std::uint64_t begin, std::uint64_t end) -> Status {
                     const std::uint64_t rows = end - begin;
                     std::vector<float> tile(rows * inputs()), products(rows);
                     decode(m_weights, begin * inputs(), tile);
                     for (std::uint64_t token = 0; token < *tokens; ++token) {
                       if (token % 16 == 15 && context.stopRequested()) return cancelled();
                       loops.floatProducts(stored.data() + token * inputs(), 1, tile.data(), rows, inputs(), products.data());
                       for (std::uint64_t row = 0; row < rows; ++row)
                         y[token * outputs() + begin + row] =
                             kernels::roundTo(m_type, m_bias.empty() ? products[row] : products[row] + m_bias[begin + row]);
                     }
                     return {};
                   }));
  return y;
} catch (const std::bad_alloc&) {
  return fail(outOfMemory(m_name));
}

Result<std::vector<float>> PackedLinear::inputGradient(std::span<const float> dy, const Context& context) const try {
  const auto tokens = tokensOf(dy.size(), outputs(), "gradients");
  if (!tokens) return fail(tokens.error());
  const kernels::LinearLoops& loops = kernels::linearLoops(*context.backend);
  const std::vector<float> incoming = rounded(dy);
  const std::uint64_t columns = inputs(), most = rowsFor(bandWeights, m_weights);
  std::vector<float> band(most * columns), stored(*tokens * columns);
  for (std::uint64_t first = 0; first < outputs(); first += most) {
    const std::uint64_t rows = std::min(most, outputs() - first);
    NIBBLE_TRY(forEachPiece(
        rows, rowsFor(tileWeights, m_weights), columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
          decode(m_weights, (first + begin) * columns, std::span(band).subspan(begin * columns, (end - begin) * columns));
          return {};
        }));
    NIBBLE_TRY(
        forEachPiece(columns, blockColumns, *tokens * rows, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
          loops.addProducts({incoming.data() + first, outputs(), 1}, *tokens, {band.data() + begin, columns, 1}, rows,
                            end - begin, {stored.data() + begin, columns, 1});
          return {};
        }));
  }
  return rounded(gradientsOfInputs(m_frame, stored, *tokens));
} catch (const std::bad_alloc&) {
  return fail(outOfMemory(m_name));
}

Status PackedLinear::addWeightGradient(std::span<const float> x, std::span<const float> dy, std::span<float> gradient,
                                       const Context& context) const try {
  const auto tokens = tokensOf(x.size(), inputs(), "inputs"), others = tokensOf(dy.size(), outputs(), "gradients");
  if (!tokens) return fail(tokens.error());
  if (!others) return fail(others.error());
  if (*tokens != *others)
    return fail(m_name + ": inputs of " + text::number(*tokens) + " tokens, gradients of " + text::number(*others));
  if (gradient.size() != m_weights.weightCount())
    return fail(m_name + ": room for " + text::number(std::uint64_t{gradient.size()}) + " gradients of " +
                text::number(m_weights.weightCount()) + " weights");
  const std::vector<float> in = rounded(x), incoming = rounded(dy);
  const kernels::LinearLoops& loops = kernels::linearLoops(*context.backend);
  return forEachPiece(outputs(), rowsFor(tileWeights, m_weights), *tokens * inputs(), context,
                      [&](std::uint64_t begin, std::uint64_t end) -> Status {
                        loops.addProducts({incoming.data() + begin, 1, outputs()}, end - begin, {in.data(), inputs(), 1},
                                          *tokens, inputs(), {gradient.data() + begin * inputs(), inputs(), 1});
                        return {};
                      });
} catch (const std::bad_alloc&) {
  return fail(outOfMemory(m_name));
}

Result<std::vector<float>> PackedLinear::biasGradient(std::span<const float> dy) const {
  const auto tokens = tokensOf(dy.size(), outputs(), "gradients");
  if (!tokens) return fail(tokens.error());
  std::vector<float> sums(outputs());
  for (std::uint64_t token = 0; token < *tokens; ++token)
    for (std::uint64_t n = 0; n < outputs(); ++n) sums[n] += kernels::roundTo(m_type, dy[token * outputs() + n]);
  return rounded(sums);
}

}  // namespace nibble
