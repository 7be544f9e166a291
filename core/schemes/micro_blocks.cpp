// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/micro_blocks.h"

#include "core/base/text.h"

#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

class HalvesLayout final : public Layout {
 public:
  HalvesLayout(std::uint64_t count, std::uint64_t block) : m_count(count), m_block(block) {}
  [[nodiscard]] std::string name() const override { return "4 bit, halves of " + text::number(m_block); }
  [[nodiscard]] int wordBits() const override { return 8; }
  [[nodiscard]] std::uint64_t sizeBytes() const override { return m_count / 2; }
  [[nodiscard]] BitPieces locate(std::uint64_t index) const override {
    const std::uint64_t half = m_block / 2, place = index % m_block;
    return {{(index / m_block * half + place % half) * 8 + (place >= half ? 4u : 0u), 4, 0}};
  }
  [[nodiscard]] std::vector<std::uint64_t> codesIn(std::uint64_t word, std::uint64_t codeCount) const override {
    const std::uint64_t half = m_block / 2, first = word / half * m_block + word % half;
    std::vector<std::uint64_t> codes;
    for (const std::uint64_t index : {first, first + half})
      if (index < codeCount) codes.push_back(index);
    return codes;
  }

 private:
  std::uint64_t m_count, m_block;
};

}  // namespace

Result<MicroBlocks> encodeMicroBlocks(const Tensor& tensor, std::uint64_t block, const Context& context,
                                      const MicroEncoder& encode) {
  MicroBlocks result;
  result.scale.resize(tensor.size() / block);
  result.parameter.resize(tensor.size() / block);
  result.codes.resize(tensor.size());
  NIBBLE_TRY(forEachStrip(tensor, block, context, [&](std::uint64_t begin, std::span<const float> weights) -> Status {
    for (std::size_t at = 0; at < weights.size(); at += block) {
      const std::span<const float> part = weights.subspan(at, block);
      float absMax = 0;
      for (const float weight : part) absMax = std::max(absMax, std::fabs(weight));
      const MicroBlock numbers = encode(part, absMax, result.codes.data() + begin + at);
      result.scale[(begin + at) / block] = numbers.scale;
      result.parameter[(begin + at) / block] = numbers.parameter;
    }
    return {};
  }));
  return result;
}

QuantizedTensor microTensor(const Tensor& tensor, std::vector<std::uint8_t> codes, Levels levels, int bits) {
  QuantizedTensor result;
  result.rows = tensor.rows();
  result.columns = tensor.columns();
  result.shape = tensor.shape();
  result.codes = Codes(std::move(codes));
  result.width.uniform = static_cast<std::uint8_t>(bits);
  result.levels = std::move(levels);
  result.layout = denseLayout(tensor.size(), bits);
  return result;
}

std::uint8_t nearestFourBitSmaller(float x, float unit) {
  constexpr float midpoints[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
  const float magnitude = std::fabs(x);
  unsigned code = 0;
  for (const float middle : midpoints) code += magnitude > middle * unit ? 1u : 0u;
  return static_cast<std::uint8_t>(code != 0 && x < 0 ? code | 8u : code);
}

std::shared_ptr<const Layout> halvesLayout(std::uint64_t codeCount, std::uint64_t block) {
  return std::make_shared<HalvesLayout>(codeCount, block);
}

std::optional<std::string> refuseColumns(MatrixSize size, std::uint64_t block) {
  if (size.columns % block == 0) return std::nullopt;
  return "blocks of " + text::number(block) + " do not divide " + text::number(size.columns) + " columns";
}

namespace {

constexpr std::uint64_t mxBlock = 32;

FloatType typeOf(const std::string& element) {
  return element == "e4m3"   ? FloatType::F8E4M3
         : element == "e5m2" ? FloatType::F8E5M2
         : element == "e2m3" ? FloatType::F6E2M3
         : element == "e3m2" ? FloatType::F6E3M2
                             : FloatType::F4E2M1;
}

struct Element {
  float largest;     // 6, 7.5, 28, 448, 57344, 127/64
  int exponent;      // of the largest value
  int fractionBits;  // of the type
};
Element elementOf(const std::string& element) {
  if (element == "e2m1") return {6.0f, 2, 1};
  if (element == "e2m3") return {7.5f, 2, 3};
  if (element == "e3m2") return {28.0f, 4, 2};
  if (element == "e4m3") return {448.0f, 8, 3};
  if (element == "e5m2") return {57344.0f, 15, 2};
  return {127.0f / 64.0f, 0, 6};
}

int ceilLog2(float value) {
  int exponent = 0;
  return std::frexp(value, &exponent) == 0.5f ? exponent - 1 : exponent;
}

// floor: floor(log2 amax) - emax. ceil: the exponent rounded up. even: amax first rounded to the element's fraction, half up.
// rceil: ceil(log2(amax / largest)), so that nothing saturates.
int scaleExponent(const Element& element, const std::string& rule, float absMax) {
  int exponent = -127;
  if (absMax == 0.0f) return exponent;
  if (rule == "rceil") {
    exponent = ceilLog2(absMax / element.largest);
  } else if (rule == "ceil") {
    exponent = ceilLog2(absMax) - element.exponent;
  } else {
    exponent = std::ilogb(absMax) - element.exponent;
    const double fraction = std::ldexp(static_cast<double>(absMax), -std::ilogb(absMax));
    if (rule == "even" && fraction >= 2.0 - std::ldexp(1.0, -element.fractionBits - 1)) ++exponent;
  }
  return std::clamp(exponent, -127, 127);
}

// ggml: floor of log2 in float32 arithmetic, where one step below a power of two counts as that power.
int ggmlExponent(float absMax) {
  if (absMax == 0.0f) return -127;
  return std::clamp(static_cast<int>(std::floor(std::log2(absMax))) - 2, -127, 127);
}

std::uint8_t integerCode(float x) {
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(std::nearbyint(std::clamp(x * 64.0f, -127.0f, 127.0f))));
}

Levels integerLevels() {
  std::vector<float> table(256);
  for (int code = 0; code < 256; ++code) table[static_cast<std::size_t>(code)] = static_cast<float>(code < 128 ? code : code - 256) / 64.0f;
  return Levels::fixedTable(std::move(table));
}

}  // namespace

MxScheme::MxScheme(MicroScheme about) : m_about(std::move(about)) {
  std::vector<SettingValue> elements(m_about.elements.begin(), m_about.elements.end());
  m_table.text("element", &Settings::element, "Element", {.choices = elements, .help = "Type of the codes."})
      .fallback(elements.front());
  m_table.text("rule", &Settings::rule, "Scale rule",
               {.choices = {std::string("floor"), std::string("ceil"), std::string("even"), std::string("rceil")},
                .help = "How a block's largest magnitude becomes a power of two: floor saturates the top, ceil and rceil never do.",
                .onlyKey = m_about.variants ? "variant" : "",
                .onlyValues = m_about.variants ? std::vector<SettingValue>{std::string("ocp")} : std::vector<SettingValue>{}});
  if (m_about.variants)
    m_table.text("variant", &Settings::variant, "Variant",
                 {.choices = {std::string("ocp"), std::string("ggml")},
                  .help = "ggml: codes and bytes as in GGUF (ties to the smaller magnitude, its own rounding of the exponent)."});
}

const std::vector<SettingInfo>& MxScheme::settings() const { return m_table.infos(); }

std::vector<Promise> MxScheme::promises(const SettingValues& values) const {
  std::vector<Promise> promises{Promise::Deterministic, Promise::ZeroStaysZero, Promise::Idempotent};
  if (m_table.read(values).element != "int8") promises.push_back(Promise::NearestLevel);
  return promises;
}

std::optional<std::string> MxScheme::refusal(const SettingValues&, MatrixSize size) const {
  return refuseColumns(size, mxBlock);
}

Result<QuantizedTensor> MxScheme::quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const {
  const Settings settings = m_table.read(values);
  const Element element = elementOf(settings.element);
  const bool integers = settings.element == "int8", ggml = settings.variant == "ggml";
  const FloatType type = typeOf(settings.element);
  auto blocks = encodeMicroBlocks(tensor, mxBlock, context, [&](std::span<const float> weights, float absMax, std::uint8_t* codes) {
    const int exponent = ggml ? ggmlExponent(absMax) : scaleExponent(element, settings.rule, absMax);
    const float scale = std::ldexp(1.0f, exponent), inverse = std::ldexp(1.0f, -exponent);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float x = weights[i] * inverse;  // exact but where it vanishes beside the others
      codes[i] = ggml ? nearestFourBitSmaller(x, 1.0f) : integers ? integerCode(x) : kernels::floatToSmall(type, x);
    }
    return MicroBlock{scale, scale};
  });
  if (!blocks) return fail(blocks.error());
  QuantizedTensor result = microTensor(tensor, std::move(blocks->codes), integers ? integerLevels() : Levels::floats(type),
                                       integers ? 8 : kernels::bitsOf(type));
  result.scale = Plane::numbers(Grouping::blocks(tensor.rows(), tensor.columns(), 1, mxBlock), std::move(blocks->scale),
                                Stored::F8E8M0);
  if (ggml) result.layout = halvesLayout(tensor.size(), mxBlock);
  return result;
}

}  // namespace nibble
