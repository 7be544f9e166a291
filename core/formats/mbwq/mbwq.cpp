// SPDX-License-Identifier: GPL-3.0-or-later
// Layers of bitorch-engine's MBWQLinearCuda (plan.h has the layout), uniform and mixed.
#include "core/formats/input_groups.h"
#include "core/formats/mbwq/plan.h"
#include "core/formats/mbwq/proof.h"
#include "core/formats/tools.h"
#include "core/quant/stream_layout.h"

#include <nlohmann/json.hpp>

namespace nibble {
namespace {

using namespace formats;
using mbwq::Plan;

std::shared_ptr<const Layout> layoutOf(const Plan& plan) {
  return inputStreamLayout(plan.rows, plan.rows, widthsOf(plan.groups));
}

// [rows, groups] to [groups, rows].
std::vector<float> turned(const std::vector<float>& numbers, std::uint64_t rows, std::uint64_t groups) {
  std::vector<float> result(numbers.size());
  for (std::uint64_t row = 0; row < rows; ++row)
    for (std::uint64_t g = 0; g < groups; ++g) result[g * rows + row] = numbers[row * groups + g];
  return result;
}

class MbwqFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo about = {
        "mbwq",
        "MBWQ safetensors: qweight, scales, zeros, q_perm, channel_scale, q_groups where widths are mixed",
        "bitorch-engine 0.2.6 MBWQLinearCuda",
        {"bitorch-engine"},
        ".safetensors"};
    return about;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = mbwq::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return mbwq::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = mbwq::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    const std::uint64_t groups = plan->groups.size();
    const std::vector<std::int64_t> order(plan->order.begin(), plan->order.end());
    std::vector<RawTensor> arrays;
    arrays.push_back(rawBytes(p + "qweight", DType::I32, {packedRows(plan->groups), plan->rows},
                              layoutOf(*plan)->pack(layer.tensor->codes)));
    arrays.push_back(rawFloats(p + "scales", FloatType::F16, {groups, plan->rows}, turned(plan->scale, plan->rows, groups)));
    arrays.push_back(rawFloats(p + "zeros", FloatType::F16, {groups, plan->rows}, turned(plan->zero, plan->rows, groups)));
    arrays.push_back(rawIntegers(p + "q_perm", DType::I16, {plan->columns}, order));
    arrays.push_back(rawFloats(p + "channel_scale", FloatType::F16, {1, 1, plan->columns}, plan->channelScale));
    if (plan->mixed) arrays.push_back(rawBytes(p + "q_groups", DType::I16, {2 * groups}, groupTable(plan->groups)));
    if (!layer.bias) return arrays;
    const auto bias = layer.bias->readAll();
    if (!bias) return fail(bias.error().within(layer.name));
    arrays.push_back(rawFloats(p + "bias", FloatType::F16, layer.bias->shape(), *bias));
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (!array.name.ends_with(".bias") && !array.name.ends_with(".q_group_map")) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = mbwq::planFor(tensor);
    return plan ? layoutOf(*plan) : nullptr;
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>&) const override {
    const auto settings = mbwq::configText(layers);
    if (!settings) return fail(settings.error());
    auto parsed = config.empty() ? nlohmann::ordered_json::object() : nlohmann::ordered_json::parse(config, nullptr, false);
    if (!parsed.is_object()) return fail("config.json: not a JSON object");
    parsed["quantization_config"] = nlohmann::ordered_json::parse(*settings);
    return parsed.dump(2) + "\n";
  }

  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> sideFiles(
      const std::vector<ExportLayer>& layers, const std::vector<std::string>&) const override {
    auto strategy = mbwq::strategyText(layers);
    if (!strategy) return fail(strategy.error());
    return std::vector<std::pair<std::string, std::string>>{{"quant_strategy.json", std::move(*strategy)}};
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    return mbwq::detect(checkpoint);
  }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return mbwq::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeMbwq(file, name);
  }
};

}  // namespace

const Format& mbwqFormat() {
  static const MbwqFormat format;
  return format;
}

}  // namespace nibble
