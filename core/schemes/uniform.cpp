// SPDX-License-Identifier: GPL-3.0-or-later
// Uniform integers, symmetric (absmax) or affine, for weights and activations. With E = 1e-5, b bits, N = 2^b - 1:
//
//   symmetric  s = max(absmax, E) / (2^(b-1) - 1)      q = rne(w / s), stored as q + 2^(b-1)    w ~ s (code - 2^(b-1))
//   affine     lo = min(0, min), hi = max(0, max)
//              s = max(hi - lo, E) / N                 z = clamp(rne(-lo / s), 0, N)
//              code = clamp(rne(w / s) + z, 0, N)                                               w ~ s (code - z)
//
// Scale and zero are rounded to their stored type before codes are chosen. Integer zeros that the type cannot hold exactly
// (above 11 bits in float16, 8 in bfloat16) are stored as int32. Codes of over 8 bits are 16-bit.
// Granularity: `channel` = rows of a weight, columns of an activation [..., C]; `token` = rows; `column` = columns; `group` =
// runs of `group` along a row, the last one of a row shorter; `tensor` = one.
//
// variant=notebook is reference document 001 to the digit, in float32: the range is not widened to hold 0, and
//     weight tensor    z clamped, code = clamp(rne(w / s + z), 0, N)
//     weight channel   z not clamped, code = rne(w / s) + z not clamped
//     all others       z clamped, code = rne(w / s) + z not clamped
// so that codes of one-signed data may leave their width; they are then 32-bit integers.
//
// Storage: codes one after another, low bits first.
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"
#include "kernels/backend.h"
#include "kernels/math/affine.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace nibble {
namespace {

using kernels::CodeRule;
using kernels::GroupView;
using kernels::Range;

struct Settings {
  std::int64_t bits = 8;
  std::string granularity = "channel";
  std::int64_t group = 128;
  bool symmetric = true;
  std::string kind = "weight", variant = "standard", params = "f16";
};

std::vector<SettingValue> words(std::initializer_list<const char*> list) {
  std::vector<SettingValue> values;
  for (const char* word : list) values.emplace_back(std::string(word));
  return values;
}
std::vector<SettingValue> integers(std::initializer_list<std::int64_t> list) {
  return std::vector<SettingValue>(list.begin(), list.end());
}

const SettingTable<Settings>& table() {
  static const auto settings =
      SettingTable<Settings>{}
          .integer("bits", &Settings::bits, "Bits",
                   {.low = 2, .high = 16, .offers = integers({2, 3, 4, 6, 8}), .unit = "bits", .help = "Bits per code."})
          .text("granularity", &Settings::granularity, "Granularity",
                {.choices = words({"channel", "tensor", "column", "group", "token"}),
                 .help = "Which weights share a scale: output channel, whole tensor, input column, run of a row, or token."})
          .integer("group", &Settings::group, "Group",
                   {.low = 1,
                    .high = 1 << 20,
                    .offers = integers({32, 64, 128}),
                    .unit = "weights",
                    .help = "Weights along a row that share a scale; the last group of a row may be shorter.",
                    .onlyKey = "granularity",
                    .onlyValues = words({"group"})})
          .boolean("symmetric", &Settings::symmetric, "Symmetric",
                   {.help = "Codes centred on zero; otherwise the range is shifted by an integer zero point."})
          .text("kind", &Settings::kind, "Kind",
                {.choices = words({"weight", "activation"}),
                 .help = "Channels are the rows of a weight and the columns of an activation."})
          .text("variant", &Settings::variant, "Variant",
                {.choices = words({"standard", "notebook"}),
                 .help = "notebook follows reference document 001 to the digit, missing clamps and all, in float32."})
          .text("params", &Settings::params, "Parameters",
                {.choices = words({"f16", "f32", "bf16"}),
                 .help = "Stored type of scales and zeros (notebook: always f32).",
                 .onlyKey = "variant",
                 .onlyValues = words({"standard"})});
  return settings;
}

enum class Sharing { Tensor, Row, Column, Group };

// One quantization: what the settings mean for this tensor, and the parameters and codes as they come out.
class Job {
 public:
  Job(const Tensor& tensor, const Settings& settings, const Context& context);
  Result<QuantizedTensor> run();

 private:
  [[nodiscard]] std::uint64_t groupLength() const { return m_sharing == Sharing::Group ? m_group : m_columns; }
  // Weights a strip is made of: groups where they fill the rows, else rows.
  [[nodiscard]] std::uint64_t stripUnit() const {
    if (m_sharing == Sharing::Tensor) return 1;
    return m_sharing == Sharing::Column || m_columns % groupLength() != 0 ? m_columns : groupLength();
  }
  // Calls body(firstGroup, view) for the groups of a strip; `begin` is the flat index of its first weight.
  Status eachView(std::uint64_t begin, std::span<const float> weights,
                  const std::function<Status(std::uint64_t firstGroup, const GroupView& view)>& body) const;
  Status rangesOverStrips();
  // Scale and zero of groups first.. from their ranges.
  Status chooseParameters(std::uint64_t first, std::span<const float> low, std::span<const float> high);
  Status chooseAndEncode(std::uint64_t begin, std::span<const float> weights);
  Status encode(std::uint64_t firstGroup, const GroupView& view, std::uint64_t begin);
  template <class Code>
  Status encodeWide(std::uint64_t firstGroup, const GroupView& view, Code* codes, float lowest, float highest) const;
  Status widenTo32Bits();
  QuantizedTensor finish();

  const Tensor& m_tensor;
  const Context& m_context;
  bool m_symmetric, m_notebook;
  int m_bits;
  std::uint64_t m_rows, m_columns, m_group;
  Sharing m_sharing = Sharing::Row;
  bool m_clampZero, m_clampCode;
  CodeRule m_rule;
  Stored m_scaleStored, m_zeroStored;
  Grouping m_grouping;
  std::vector<float> m_scale, m_zero;
  std::vector<std::uint8_t> m_bytes;
  std::vector<std::uint16_t> m_shorts;
  std::vector<std::int32_t> m_words;
};

Sharing sharingOf(const Settings& settings) {
  if (settings.granularity == "tensor") return Sharing::Tensor;
  if (settings.granularity == "column") return Sharing::Column;
  if (settings.granularity == "group") return Sharing::Group;
  if (settings.granularity == "token") return Sharing::Row;
  return settings.kind == "activation" ? Sharing::Column : Sharing::Row;
}

Grouping groupingOf(Sharing sharing, std::uint64_t rows, std::uint64_t columns, std::uint64_t group) {
  switch (sharing) {
    case Sharing::Tensor:
      return Grouping::tensor(rows, columns);
    case Sharing::Row:
      return Grouping::blocks(rows, columns, 1, 0);
    case Sharing::Column:
      return Grouping::blocks(rows, columns, 0, 1);
    case Sharing::Group:
      return Grouping::blocks(rows, columns, 1, std::min(group, columns));
  }
  return Grouping::tensor(rows, columns);
}

// Integers 0..2^bits - 1 as `params` would store them; exact ones only.
Stored zeroStorage(Stored params, int bits) {
  const int exact = params == Stored::F16 ? 11 : params == Stored::BF16 ? 8 : 24;
  return bits <= exact ? params : Stored::I32;
}

Job::Job(const Tensor& tensor, const Settings& settings, const Context& context)
    : m_tensor(tensor),
      m_context(context),
      m_symmetric(settings.symmetric),
      m_notebook(settings.variant == "notebook"),
      m_bits(static_cast<int>(settings.bits)),
      m_rows(tensor.rows()),
      m_columns(tensor.columns()),
      m_group(std::min(static_cast<std::uint64_t>(settings.group), m_columns)),
      m_sharing(sharingOf(settings)),
      m_grouping(groupingOf(m_sharing, m_rows, m_columns, m_group)),
      m_scale(m_grouping.groupCount()),
      m_zero(m_grouping.groupCount(), static_cast<float>(1 << (settings.bits - 1))) {
  const bool weight = settings.kind == "weight", affineNotebook = m_notebook && !m_symmetric;
  m_clampZero = !(affineNotebook && weight && m_sharing == Sharing::Row);
  m_clampCode = !affineNotebook || (weight && m_sharing == Sharing::Tensor);
  m_rule = affineNotebook && weight && m_sharing == Sharing::Tensor ? CodeRule::DivideAddRound : CodeRule::DivideRoundAdd;
  m_scaleStored = m_notebook ? Stored::F32 : storedFromName(settings.params);
  m_zeroStored = m_notebook ? Stored::F32 : zeroStorage(m_scaleStored, m_bits);
}

Status Job::eachView(std::uint64_t begin, std::span<const float> weights,
                     const std::function<Status(std::uint64_t, const GroupView&)>& body) const {
  const std::uint64_t length = groupLength(), rest = m_columns % length;
  if (rest == 0) return body(begin / length, GroupView::contiguous(weights.data(), weights.size() / length, length));
  const std::uint64_t perRow = m_columns / length + 1;
  const std::uint64_t firstGroup = begin / m_columns * perRow;
  for (std::uint64_t row = 0; row < weights.size() / m_columns; ++row) {
    const float* data = weights.data() + row * m_columns;
    if (perRow > 1) NIBBLE_TRY(body(firstGroup + row * perRow, GroupView::contiguous(data, perRow - 1, length)));
    NIBBLE_TRY(body(firstGroup + (row + 1) * perRow - 1, GroupView::contiguous(data + m_columns - rest, 1, rest)));
  }
  return {};
}

// Tensor and column: groups reach over all strips, so ranges come first. Minimum and maximum do not mind the order.
Status Job::rangesOverStrips() {
  const std::uint64_t groups = m_grouping.groupCount();
  std::vector<float> low(groups, HUGE_VALF), high(groups, -HUGE_VALF);
  std::mutex mutex;
  NIBBLE_TRY(forEachStrip(m_tensor, stripUnit(), m_context, [&](std::uint64_t, std::span<const float> weights) -> Status {
    std::vector<float> lows(groups), highs(groups);
    const GroupView view = m_sharing == Sharing::Tensor
                               ? GroupView::contiguous(weights.data(), 1, weights.size())
                               : GroupView::strided(weights.data(), m_columns, weights.size() / m_columns);
    m_context.backend->ranges(view, lows.data(), highs.data());
    const std::lock_guard lock(mutex);
    for (std::size_t g = 0; g < groups; ++g) {
      low[g] = std::min(low[g], lows[g]);
      high[g] = std::max(high[g], highs[g]);
    }
    return {};
  }));
  return chooseParameters(0, low, high);
}

Status Job::chooseParameters(std::uint64_t first, std::span<const float> low, std::span<const float> high) {
  const auto maxCode = static_cast<float>((1 << m_bits) - 1);
  const std::span<float> scale = std::span(m_scale).subspan(first, low.size());
  const auto rangeOf = [&](std::size_t g) {
    return m_symmetric || m_notebook ? Range{low[g], high[g]} : Range{std::min(0.0f, low[g]), std::max(0.0f, high[g])};
  };
  for (std::size_t g = 0; g < low.size(); ++g)
    scale[g] = m_symmetric ? kernels::symmetricScale(rangeOf(g), static_cast<float>((1 << (m_bits - 1)) - 1))
                           : kernels::affineScale(rangeOf(g), maxCode);
  NIBBLE_TRY(roundScales(scale, m_scaleStored, first));
  if (m_symmetric) return {};
  for (std::size_t g = 0; g < low.size(); ++g) {
    const float zero = 0.0f - std::nearbyint(rangeOf(g).low / scale[g]);
    m_zero[first + g] = m_clampZero ? std::clamp(zero, 0.0f, maxCode) : zero;
  }
  return {};
}

Status Job::chooseAndEncode(std::uint64_t begin, std::span<const float> weights) {
  return eachView(begin, weights, [&](std::uint64_t first, const GroupView& view) -> Status {
    std::vector<float> low(view.groups), high(view.groups);
    m_context.backend->ranges(view, low.data(), high.data());
    NIBBLE_TRY(chooseParameters(first, low, high));
    return encode(first, view, begin + static_cast<std::uint64_t>(view.data - weights.data()));
  });
}

Status Job::encode(std::uint64_t firstGroup, const GroupView& view, std::uint64_t begin) {
  const float maxCode = static_cast<float>((1 << m_bits) - 1);
  if (!m_clampCode) return encodeWide(firstGroup, view, m_words.data() + begin, -0x1p31f, 0x1.fffffep30f);
  if (m_bits > 8) return encodeWide(firstGroup, view, m_shorts.data() + begin, 0.0f, maxCode);
  m_context.backend->encodeAffine(view, m_rule, m_scale.data() + firstGroup, m_zero.data() + firstGroup, (1 << m_bits) - 1,
                                  m_bytes.data() + begin);
  return {};
}

template <class Code>
Status Job::encodeWide(std::uint64_t firstGroup, const GroupView& view, Code* codes, float lowest, float highest) const {
  for (std::size_t g = 0; g < view.groups; ++g) {
    for (std::size_t k = 0; k < view.size; ++k) {
      const std::size_t place = g * view.groupStride + k * view.elementStride;
      const float code = kernels::unclampedCode(m_rule, view.data[place], m_scale[firstGroup + g], m_zero[firstGroup + g]);
      if (!m_clampCode && !(code >= lowest && code <= highest))
        return fail("group " + text::number(std::uint64_t{firstGroup + g}) + ": code " + text::number(code) +
                    " does not fit 32 bits (variant=notebook does not clamp)");
      codes[place] = static_cast<Code>(std::clamp(code, lowest, highest));
    }
  }
  return {};
}

Result<QuantizedTensor> Job::run() {
  if (!m_clampCode)
    m_words.resize(m_tensor.size());
  else if (m_bits > 8)
    m_shorts.resize(m_tensor.size());
  else
    m_bytes.resize(m_tensor.size());
  if (m_sharing == Sharing::Row || m_sharing == Sharing::Group) {
    NIBBLE_TRY(forEachStrip(m_tensor, stripUnit(), m_context, [&](std::uint64_t begin, std::span<const float> weights) {
      return chooseAndEncode(begin, weights);
    }));
    return finish();
  }
  NIBBLE_TRY(rangesOverStrips());
  NIBBLE_TRY(forEachStrip(m_tensor, stripUnit(), m_context, [&](std::uint64_t begin, std::span<const float> weights) {
    return encode(0,
                  m_sharing == Sharing::Tensor ? GroupView::contiguous(weights.data(), 1, weights.size())
                                               : GroupView::strided(weights.data(), m_columns, weights.size() / m_columns),
                  begin);
  }));
  return finish();
}

QuantizedTensor Job::finish() {
  QuantizedTensor result;
  result.rows = m_rows;
  result.columns = m_columns;
  result.shape = m_tensor.shape();
  result.rule = ValueRule::ScaleMinusZero;
  const std::int64_t maxCode = (1 << m_bits) - 1;
  const bool fits =
      std::all_of(m_words.begin(), m_words.end(), [=](std::int32_t code) { return code >= 0 && code <= maxCode; });
  int width = m_bits;
  if (m_words.empty()) {
    result.codes = m_bits > 8 ? Codes(std::move(m_shorts)) : Codes(std::move(m_bytes));
  } else if (fits && m_bits > 8) {
    result.codes = Codes(std::vector<std::uint16_t>(m_words.begin(), m_words.end()));
  } else if (fits) {
    result.codes = Codes(std::vector<std::uint8_t>(m_words.begin(), m_words.end()));
  } else {
    width = 32;
    result.codes = Codes(std::move(m_words));
    result.notes.push_back("codes leave their width, as in the reference: stored as 32-bit integers");
  }
  result.width.uniform = static_cast<std::uint8_t>(width);
  result.scale = Plane::numbers(m_grouping, std::move(m_scale), m_scaleStored);
  result.zero = m_symmetric ? Plane::implied(m_grouping, static_cast<float>(1 << (m_bits - 1)))
                            : Plane::numbers(m_grouping, std::move(m_zero), m_zeroStored);
  result.layout = denseLayout(m_tensor.size(), width);
  return result;
}

class UniformScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"uniform", "Uniform", "absmax or affine integers, any granularity",
                                  "reference document 001 (W8A8 notebook, after SmoothQuant's fake_quant)", Family::Uniform};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues& values) const override {
    const Settings settings = table().read(values);
    std::vector<Promise> kept{Promise::Deterministic};
    if (settings.variant == "notebook") return kept;
    kept.push_back(Promise::ZeroStaysZero);
    kept.push_back(Promise::NearestLevel);
    // Rounding the scale to 8 bits hides the rounding of absmax / qmax, and the largest weight keeps the largest code. (float16
    // scales lose their precision below 6e-5, float32 ones hide nothing.)
    if (settings.symmetric && settings.params == "bf16" && settings.bits <= 8) kept.push_back(Promise::Idempotent);
    return kept;
  }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize) const override {
    const Settings settings = table().read(values);
    if (settings.variant == "notebook" && settings.granularity == "group")
      return "variant=notebook has no groups: reference document 001 knows tensor, channel, column and token";
    return std::nullopt;
  }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    return Job(tensor, table().read(values), context).run();
  }
};

}  // namespace

const Scheme& uniformScheme() {
  static const UniformScheme scheme;
  return scheme;
}

}  // namespace nibble
