// SPDX-License-Identifier: GPL-3.0-or-later
// DiffQ's true quantization: one range for the whole tensor, a number of bits for each group of consecutive weights.
//
//   b_g = clamp(rne(bits_g + extra), 1, 15),  low, high = min, max of the tensor
//   code = rne(((w - low) / (high - low)) / (1 / (2^b_g - 1))),  w ~ (high - low) / (2^b_g - 1) * code + low
//
// every step in float32, divisions as the reference does them. A constant tensor has codes 0 and range 0. `bits` is one number,
// or @FILE: bits learned per group (.npy, or .npz and .safetensors keyed by the tensor's name), any numbers, rounded as above.
//
// Storage: core/quant/group_stream.h; this is the size that the reference counts as its true model size.
// Reference: document 003, diffq 0.1.0 (spec uniform 5.5, 5.6).
#include "core/base/text.h"
#include "core/io/checkpoint.h"
#include "core/quant/encode.h"
#include "core/quant/group_stream.h"
#include "core/quant/layout.h"
#include "core/schemes/learned.h"
#include "core/schemes/scheme.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr int fewestBits = 1, smallestSetting = 2;

struct Settings {
  std::string bits = "8";
  std::int64_t group = 8;
  double extra = 0;
};

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .text("bits", &Settings::bits, "Bits",
                {.offers = {std::string("2"), std::string("3"), std::string("4"), std::string("6"), std::string("8")},
                 .unit = "bits",
                 .help = "Bits of every group, 2..15, or @FILE: bits learned per group (.npy, or .npz and .safetensors by tensor name)."})
          .integer("group", &Settings::group, "Group",
                   {.low = 0,
                    .high = 1 << 20,
                    .offers = {std::int64_t{1}, std::int64_t{8}, std::int64_t{16}, std::int64_t{64}, std::int64_t{0}},
                    .unit = "weights",
                    .help = "Consecutive weights of the flattened tensor that share a number of bits; 0: all of them."})
          .real("extra", &Settings::extra, "Extra bits",
                {.low = 0,
                 .high = 13,
                 .offers = {0.0, 1.0, 2.0},
                 .unit = "bits",
                 .help = "Added to every group's bits when weights are quantized."});
  return settings;
}

bool isFile(const Settings& settings) { return settings.bits.starts_with('@') && settings.bits.size() > 1; }

// Bits as learned, one number per group, not yet rounded.
Result<std::vector<float>> learnedBits(const std::string& path, const Tensor& tensor, std::uint64_t groups, const Context& context) {
  const auto file = Checkpoint::open(path, context);
  if (!file) return fail(file.error());
  const auto& entries = (*file)->entries();
  const bool named = (*file)->find(tensor.name()).has_value();
  if (!named && entries.size() != 1) return fail(path + ": holds no bits for " + tensor.name());
  const auto array = named ? (*file)->read(tensor.name()) : (*file)->read(std::size_t{0});
  if (!array) return fail(array.error());
  if (array->size() != groups)
    return fail(path + ": " + std::to_string(array->size()) + " numbers of bits for the " + std::to_string(groups) + " groups of " + tensor.name());
  auto bits = array->readAll();
  if (!bits) return fail(bits.error());
  for (std::size_t g = 0; g < bits->size(); ++g)
    if (!std::isfinite((*bits)[g]) || (*bits)[g] < 0 || (*bits)[g] > 64)
      return fail(path + ": " + text::number((*bits)[g]) + " bits for group " + std::to_string(g) + " of " + tensor.name());
  return bits;
}

// The width of each group's codes.
Result<std::vector<std::uint8_t>> bitsOf(const Settings& settings, const Tensor& tensor, std::uint64_t groups, const Context& context) {
  std::vector<float> bits;
  if (isFile(settings)) {
    auto learned = learnedBits(settings.bits.substr(1), tensor, groups, context);
    if (!learned) return fail(learned.error());
    bits = *std::move(learned);
  } else {
    bits.assign(groups, static_cast<float>(*text::parseInteger(settings.bits)));
  }
  std::vector<std::uint8_t> widths;
  widths.reserve(groups);
  for (const float value : bits)
    widths.push_back(static_cast<std::uint8_t>(
        std::clamp<double>(std::nearbyint(static_cast<double>(value) + settings.extra), fewestBits, mostGroupBits)));
  return widths;
}

// The reference's own order of operations, all in float32.
std::uint16_t codeOf(float weight, float low, float range, float unit) {
  return static_cast<std::uint16_t>(std::nearbyint((weight - low) / range / unit));
}

template <class Code>
Result<Codes> encode(const Tensor& tensor, std::uint64_t length, const std::vector<std::uint8_t>& bits, float low, float range,
                     const Context& context) {
  std::vector<Code> codes(tensor.size());
  if (!(range > 0)) return Codes(std::move(codes));
  NIBBLE_TRY(forEachStrip(tensor, 1, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    for (std::uint64_t i = 0; i < weights.size();) {
      const std::uint64_t group = (begin + i) / length;
      const std::uint64_t end = std::min<std::uint64_t>(weights.size(), (group + 1) * length - begin);
      const float unit = stepOfBits(bits[group]);
      for (; i < end; ++i) codes[begin + i] = static_cast<Code>(codeOf(weights[i], low, range, unit));
    }
    return {};
  }));
  return Codes(std::move(codes));
}

class DiffqScheme final : public Scheme {
 public:
  [[nodiscard]] const SchemeInfo& info() const override {
    static const SchemeInfo about{"diffq", "DiffQ", "bits by group, one range for the tensor",
                                  "reference document 003 (diffq 0.1.0)", Family::Learned};
    return about;
  }
  [[nodiscard]] const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  [[nodiscard]] std::vector<Promise> promises(const SettingValues&) const override {
    // Two divisions in float32 do not always find the nearest level.
    return {Promise::Deterministic, Promise::ScaleEquivariant};
  }
  [[nodiscard]] std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override;
  [[nodiscard]] Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values,
                                                 const Context& context) const override;
};

std::optional<std::string> DiffqScheme::refusal(const SettingValues& values, MatrixSize size) const {
  const Settings settings = table().read(values);
  const auto bits = text::parseInteger(settings.bits);
  if (!isFile(settings) && (!bits || *bits < smallestSetting || *bits > mostGroupBits))
    return "bits=" + settings.bits + " is not legal; legal: 2..15, or @FILE with bits per group";
  const auto group = static_cast<std::uint64_t>(settings.group);
  if (group != 0 && size.count() % group != 0)
    return "group " + std::to_string(group) + " does not divide the " + std::to_string(size.count()) + " weights";
  return std::nullopt;
}

Result<QuantizedTensor> DiffqScheme::quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const {
  const Settings settings = table().read(values);
  const std::uint64_t length = settings.group == 0 ? tensor.size() : static_cast<std::uint64_t>(settings.group);
  auto bits = bitsOf(settings, tensor, tensor.size() / length, context);
  if (!bits) return fail(bits.error());
  return quantizeGroupBits(tensor, length, *std::move(bits), context);
}

}  // namespace

Result<QuantizedTensor> quantizeGroupBits(const Tensor& tensor, std::uint64_t length, std::vector<std::uint8_t> bits,
                                          const Context& context) {
  std::vector<float> lows(tensor.rows()), highs(tensor.rows());
  NIBBLE_TRY(forEachStrip(tensor, tensor.columns(), context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    const std::uint64_t first = begin / tensor.columns(), count = weights.size() / tensor.columns();
    context.backend->ranges(kernels::GroupView::contiguous(weights.data(), count, tensor.columns()), lows.data() + first,
                            highs.data() + first);
    return {};
  }));
  const float low = *std::min_element(lows.begin(), lows.end()), high = *std::max_element(highs.begin(), highs.end());
  const auto range = static_cast<float>(static_cast<double>(high) - static_cast<double>(low));
  if (!std::isfinite(range)) return fail(tensor.name() + ": the range of the weights does not fit float32");
  const bool bytes = *std::max_element(bits.begin(), bits.end()) <= 8;
  auto codes = bytes ? encode<std::uint8_t>(tensor, length, bits, low, range, context)
                     : encode<std::uint16_t>(tensor, length, bits, low, range, context);
  if (!codes) return fail(codes.error());

  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = *std::move(codes);
  describeGroupBits(result, length, std::move(bits), low, range);
  return result;
}

std::string groupBitsChoice(const std::string& bits, std::uint64_t group, double extraBits) {
  return "diffq:bits=" + bits + ",group=" + text::number(group) + ",extra=" + text::number(extraBits);
}

const Scheme& diffqScheme() {
  static const DiffqScheme scheme;
  return scheme;
}

}  // namespace nibble
