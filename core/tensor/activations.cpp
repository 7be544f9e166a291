// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/tensor/activations.h"

#include "core/base/text.h"

#include <cmath>

namespace nibble {
namespace {

template <class T>
Status checkNumbers(const std::string& what, const std::vector<T>& values, std::uint64_t expected, bool mayBeNegative) {
  if (values.empty()) return {};
  if (values.size() != expected)
    return fail(what + ": " + text::number(std::uint64_t{values.size()}) + " numbers where " + text::number(expected) + " belong");
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return fail(what + ": number " + text::number(std::uint64_t{i}) + " is not finite");
    if (!mayBeNegative && values[i] < 0) return fail(what + ": number " + text::number(std::uint64_t{i}) + " is negative");
  }
  return {};
}

// X^T X has a diagonal of squares and equals its transpose, up to the rounding of whoever summed it.
Status checkGram(const std::string& what, const std::vector<double>& gram, std::uint64_t channels) {
  constexpr double tolerance = 1e-3;
  const auto place = [](std::uint64_t row, std::uint64_t column) { return "[" + text::number(row) + ", " + text::number(column) + "]"; };
  if (gram.empty()) return {};
  for (std::uint64_t row = 0; row < channels; ++row)
    if (gram[row * channels + row] < 0) return fail(what + ": " + place(row, row) + " is negative; it is a sum of squares");
  for (std::uint64_t row = 0; row < channels; ++row) {
    for (std::uint64_t column = 0; column < row; ++column) {
      const double size = std::sqrt(gram[row * channels + row] * gram[column * channels + column]);
      if (std::fabs(gram[row * channels + column] - gram[column * channels + row]) > tolerance * size)
        return fail(what + ": not symmetric at " + place(row, column));
    }
  }
  return {};
}

void deriveMeanSquares(LayerInputs& inputs) {
  if (!inputs.meanSquares.empty() || inputs.tokens == 0) return;
  const std::uint64_t channels = inputs.channels;
  std::vector<double> sums(channels);
  if (!inputs.samples.empty()) {
    for (std::uint64_t t = 0; t < inputs.tokens; ++t)
      for (std::uint64_t c = 0; c < channels; ++c) {
        const double x = inputs.samples[t * channels + c];
        sums[c] += x * x;
      }
  } else if (!inputs.gram.empty()) {
    for (std::uint64_t c = 0; c < channels; ++c) sums[c] = inputs.gram[c * channels + c];
  } else {
    return;
  }
  inputs.meanSquares.resize(channels);
  for (std::uint64_t c = 0; c < channels; ++c) inputs.meanSquares[c] = static_cast<float>(sums[c] / static_cast<double>(inputs.tokens));
}

}  // namespace

Status ActivationData::add(const std::string& name, LayerInputs inputs) {
  const std::string what = name.empty() ? "activations" : name;
  if (inputs.channels == 0) return fail(what + ": no input channels");
  NIBBLE_TRY(checkNumbers(what + ": samples", inputs.samples, inputs.tokens * inputs.channels, true));
  NIBBLE_TRY(checkNumbers(what + ": Gram matrix", inputs.gram, inputs.channels * inputs.channels, true));
  NIBBLE_TRY(checkGram(what + ": Gram matrix", inputs.gram, inputs.channels));
  NIBBLE_TRY(checkNumbers(what + ": importance weights", inputs.meanSquares, inputs.channels, false));
  deriveMeanSquares(inputs);
  LayerInputs& known = m_layers[name];
  if (known.channels != 0 && known.channels != inputs.channels)
    return fail(what + ": " + text::number(inputs.channels) + " input channels here, " + text::number(known.channels) + " elsewhere");
  known.channels = inputs.channels;
  if (inputs.tokens != 0) known.tokens = inputs.tokens;
  if (!inputs.samples.empty()) known.samples = std::move(inputs.samples);
  if (!inputs.gram.empty()) known.gram = std::move(inputs.gram);
  if (!inputs.meanSquares.empty()) known.meanSquares = std::move(inputs.meanSquares);
  return {};
}

const LayerInputs* ActivationData::find(std::string_view name, std::uint64_t columns) const {
  const auto fits = [columns](const auto& entry) { return entry->second.channels == columns; };
  if (const auto own = m_layers.find(name); own != m_layers.end() && fits(own)) return &own->second;
  if (const auto any = m_layers.find(std::string_view{}); any != m_layers.end() && fits(any)) return &any->second;
  return nullptr;
}

}  // namespace nibble
