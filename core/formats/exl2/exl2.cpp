// SPDX-License-Identifier: GPL-3.0-or-later
// EXL2 checkpoints (plan.h has the layout): the codes in the order of the file, not as exllamav2 shuffles them after loading.
#include "core/base/text.h"
#include "core/formats/exl2/plan.h"
#include "core/formats/exl2/proof.h"
#include "core/formats/input_groups.h"
#include "core/formats/tools.h"
#include "core/quant/stream_layout.h"

#include <nlohmann/json.hpp>

namespace nibble {
namespace {

using namespace formats;
using exl2::Plan;

// Codes of all outputs, padded ones in the middle of their width.
std::vector<std::byte> packCodes(const Plan& plan, const Codes& codes) {
  const auto widths = widthsOf(plan.groups);
  std::vector<std::uint8_t> padded = *codes.as<std::uint8_t>();
  for (std::uint64_t row = plan.rows; row < plan.outputs; ++row)
    for (const std::uint8_t bits : widths) padded.push_back(static_cast<std::uint8_t>(1u << (bits - 1)));
  return inputStreamLayout(plan.outputs, plan.outputs, widths)->pack(Codes(std::move(padded)));
}

std::vector<std::byte> packScales(const Plan& plan) {
  const std::uint64_t groups = plan.groups.size();
  std::vector<std::byte> bytes(groups * plan.outputs / 2);
  for (std::uint64_t g = 0; g < groups; ++g) {
    for (std::uint64_t n = 0; n < plan.rows; ++n) {
      const auto code = static_cast<std::byte>(plan.scales.codes[n * groups + g]);
      bytes[(g * plan.outputs + n) / 2] |= n % 2 == 0 ? code : code << 4;
    }
  }
  return bytes;
}

class Exl2Format final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo about = {"exl2",
                                     "EXL2 safetensors: q_weight, q_scale, q_scale_max, q_groups, q_invperm",
                                     "exllamav2 0.3.2",
                                     {"exllamav2"},
                                     ".safetensors"};
    return about;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = exl2::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return exl2::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = exl2::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    const std::uint64_t groups = plan->groups.size();
    std::vector<std::byte> maxima;
    for (const std::uint16_t bits : plan->scales.maxima) {
      maxima.push_back(static_cast<std::byte>(bits & 0xFFu));
      maxima.push_back(static_cast<std::byte>(bits >> 8));
    }
    const auto inverse = inverseOf(plan->order);
    const std::vector<std::int64_t> places(inverse.begin(), inverse.end());
    std::vector<RawTensor> arrays;
    arrays.push_back(
        rawBytes(p + "q_weight", DType::I32, {packedRows(plan->groups), plan->outputs}, packCodes(*plan, layer.tensor->codes)));
    arrays.push_back(rawBytes(p + "q_scale", DType::I32, {groups, plan->outputs / 8}, packScales(*plan)));
    arrays.push_back(rawBytes(p + "q_scale_max", DType::F16, {groups}, std::move(maxima)));
    arrays.push_back(rawBytes(p + "q_groups", DType::I16, {2 * groups}, groupTable(plan->groups)));
    arrays.push_back(rawIntegers(p + "q_invperm", DType::I32, {plan->columns}, places));
    if (!layer.bias) return arrays;
    auto bias = layer.bias->readAll();
    if (!bias) return fail(bias.error().within(layer.name));
    bias->resize(plan->outputs, 0.0f);
    arrays.push_back(rawFloats(p + "bias", FloatType::F16, {plan->outputs}, *bias));
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (!array.name.ends_with(".bias")) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = exl2::planFor(tensor);
    return plan ? inputStreamLayout(plan->rows, plan->outputs, widthsOf(plan->groups)) : nullptr;
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>&) const override {
    const auto settings = exl2::configText(layers);
    if (!settings) return fail(settings.error());
    auto parsed = config.empty() ? nlohmann::ordered_json::object() : nlohmann::ordered_json::parse(config, nullptr, false);
    if (!parsed.is_object()) return fail("config.json: not a JSON object");
    parsed["quantization_config"] = nlohmann::ordered_json::parse(*settings);
    return parsed.dump(2) + "\n";
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    return exl2::detect(checkpoint);
  }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return exl2::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeExl2(file, name);
  }
};

}  // namespace

const Format& exl2Format() {
  static const Exl2Format format;
  return format;
}

}  // namespace nibble
