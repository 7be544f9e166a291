// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/products.h"

#include "core/quant/decode.h"
#include "core/quant/encode.h"
#include "kernels/backend.h"
#include "kernels/linear.h"
#include "kernels/products.h"

#include <algorithm>
#include <array>

namespace nibble {
namespace {

constexpr std::uint64_t lanes = 8, tileRows = 16;

// Lane j sums columns j, j + 8, ...; the lanes are then added pairwise.
double dot(const float* a, const float* b, std::uint64_t columns) {
  std::array<double, lanes> sums{};
  std::uint64_t c = 0;
  for (; c + lanes <= columns; c += lanes)
    for (std::uint64_t j = 0; j < lanes; ++j) sums[j] += static_cast<double>(a[c + j]) * static_cast<double>(b[c + j]);
  for (std::uint64_t j = 0; c + j < columns; ++j) sums[j] += static_cast<double>(a[c + j]) * static_cast<double>(b[c + j]);
  for (std::uint64_t half = lanes / 2; half > 0; half /= 2)
    for (std::uint64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

float finished(float inputScale, float weightScale, double sum, float bias) {
  return static_cast<float>(static_cast<double>(inputScale) * static_cast<double>(weightScale) * sum +
                            static_cast<double>(bias));
}

float biasAt(std::span<const float> bias, std::uint64_t output) {
  return bias.empty() ? 0.0f : bias[output];
}

// Codes less their zero, as floats: integers below 2^21, exact.
std::vector<float> levelsOf(const IntegerRows& rows) {
  std::vector<float> levels(rows.codes.size());
  for (std::uint64_t row = 0; row < rows.rows; ++row)
    for (std::uint64_t i = row * rows.columns; i < (row + 1) * rows.columns; ++i)
      levels[i] = static_cast<float>(rows.codes[i] - rows.zero[row]);
  return levels;
}

std::int64_t corrected(const IntegerRows& x, std::uint64_t token, const IntegerRows& w, std::uint64_t output,
                       std::int32_t sum) {
  const std::int64_t xZero = x.zero[token], wZero = w.zero[output];
  return sum - xZero * w.sum[output] - wZero * x.sum[token] + static_cast<std::int64_t>(x.columns) * xZero * wZero;
}

}  // namespace

Result<std::vector<double>> productsInDouble(std::span<const float> a, std::uint64_t aRows, std::span<const float> b,
                                             std::uint64_t bRows, std::uint64_t columns, const Context& context) {
  std::vector<double> products(aRows * bRows);
  NIBBLE_TRY(forEachPiece(bRows, tileRows, aRows * columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    for (std::uint64_t row = 0; row < aRows; ++row) {
      if (row % tileRows == 0 && context.stopRequested()) return cancelled();
      for (std::uint64_t other = begin; other < end; ++other)
        products[row * bRows + other] = dot(a.data() + row * columns, b.data() + other * columns, columns);
    }
    return {};
  }));
  return products;
}

Result<std::vector<std::int64_t>> integerSums(const IntegerRows& inputs, const IntegerRows& weights, const Context& context) {
  const kernels::LinearLoops& loops = kernels::linearLoops(*context.backend);
  const std::uint64_t tokens = inputs.rows, outputs = weights.rows, columns = inputs.columns;
  std::vector<std::int64_t> sums(tokens * outputs);
  // A device's sums are the same numbers.
  if (const kernels::Products* products = context.backend->products(); products != nullptr && !context.stopRequested()) {
    std::vector<std::int32_t> plain(sums.size());
    if (products->integerProducts(inputs.codes.data(), tokens, weights.codes.data(), outputs, columns, plain.data())) {
      for (std::uint64_t i = 0; i < plain.size(); ++i) sums[i] = corrected(inputs, i / outputs, weights, i % outputs, plain[i]);
      return sums;
    }
  }
  NIBBLE_TRY(forEachPiece(outputs, tileRows, tokens * columns, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    std::array<std::int32_t, tileRows * tileRows> tile{};
    for (std::uint64_t first = 0; first < tokens; first += tileRows) {
      if (context.stopRequested()) return cancelled();
      const std::uint64_t count = std::min(tileRows, tokens - first);
      loops.integerProducts(inputs.codes.data() + first * columns, count, weights.codes.data() + begin * columns, end - begin,
                            columns, tile.data());
      for (std::uint64_t i = 0; i < count; ++i)
        for (std::uint64_t output = begin; output < end; ++output)
          sums[(first + i) * outputs + output] =
              corrected(inputs, first + i, weights, output, tile[i * (end - begin) + output - begin]);
    }
    return {};
  }));
  return sums;
}

Result<std::vector<float>> integerProduct(const IntegerRows& inputs, const IntegerRows& weights, std::span<const float> bias,
                                          const Context& context) {
  const auto sums = integerSums(inputs, weights, context);
  if (!sums) return fail(sums.error());
  std::vector<float> outputs(sums->size());
  for (std::uint64_t i = 0; i < outputs.size(); ++i)
    outputs[i] = finished(inputs.scale[i / weights.rows], weights.scale[i % weights.rows], static_cast<double>((*sums)[i]),
                          biasAt(bias, i % weights.rows));
  return outputs;
}

Result<std::vector<float>> simulatedProduct(const QuantizedTensor& inputs, const QuantizedTensor& weights,
                                            std::span<const float> bias, const Context& context) {
  const auto x = integerRows(inputs), w = integerRows(weights);
  const bool factors = x && w;
  const auto products = productsInDouble(factors ? levelsOf(*x) : decodeAll(inputs), inputs.rows,
                                         factors ? levelsOf(*w) : decodeAll(weights), weights.rows, inputs.columns, context);
  if (!products) return fail(products.error());
  std::vector<float> outputs(products->size());
  for (std::uint64_t i = 0; i < outputs.size(); ++i) {
    const std::uint64_t token = i / weights.rows, output = i % weights.rows;
    outputs[i] =
        finished(factors ? x->scale[token] : 1.0f, factors ? w->scale[output] : 1.0f, (*products)[i], biasAt(bias, output));
  }
  return outputs;
}

Result<QuantizedProduct> quantizedProduct(const QuantizedTensor& inputs, const QuantizedTensor& weights,
                                          std::span<const float> bias, const Context& context) {
  QuantizedProduct product;
  const auto x = integerRows(inputs), w = integerRows(weights);
  if (!w) product.reason = "weights: " + w.error().message;
  if (!x) product.reason = "activations: " + x.error().message;
  product.integer = x && w;
  auto outputs = product.integer ? integerProduct(*x, *w, bias, context) : simulatedProduct(inputs, weights, bias, context);
  if (!outputs) return fail(outputs.error());
  product.outputs = *std::move(outputs);
  return product;
}

}  // namespace nibble
