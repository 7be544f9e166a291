// SPDX-License-Identifier: GPL-3.0-or-later
// AWQ checkpoints, version "gemm" (plan.h has the layout): for a module P the arrays P.qweight, P.qzeros and P.scales, the
// settings in config.json.
#include "core/formats/awq/plan.h"
#include "core/formats/awq/proof.h"
#include "core/formats/group_parts.h"
#include "core/formats/tools.h"

#include <nlohmann/json.hpp>

namespace nibble {
namespace {

using namespace formats;

class AwqFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo about = {"awq",
                                     "AWQ safetensors, version gemm: qweight and qzeros in interleaved nibbles, scales",
                                     "AutoAWQ 0.2.9 modules/linear/gemm.py",
                                     {"transformers", "vllm"},
                                     ".safetensors"};
    return about;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = awq::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return awq::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = awq::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    std::vector<RawTensor> arrays;
    arrays.push_back(rawBytes(p + "qweight", DType::I32, {plan->columns, plan->rows / 8},
                              awq::weightLayout(plan->rows, plan->columns)->pack(layer.tensor->codes)));
    arrays.push_back(rawBytes(p + "qzeros", DType::I32, {plan->groups, plan->rows / 8},
                              awq::packZeros(plan->zero, plan->rows, plan->groups)));
    arrays.push_back(
        rawFloats(p + "scales", FloatType::F16, {plan->groups, plan->rows}, byGroup(plan->scale, plan->rows, plan->groups)));
    if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, FloatType::F16));
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (!array.name.ends_with(".bias")) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    if (refusal(tensor)) return nullptr;
    return awq::weightLayout(tensor.rows, tensor.columns);
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const override {
    const auto settings = awq::configText(layers, leftAlone);
    if (!settings) return fail(settings.error());
    auto parsed = config.empty() ? nlohmann::ordered_json::object() : nlohmann::ordered_json::parse(config, nullptr, false);
    if (!parsed.is_object()) return fail("config.json: not a JSON object");
    parsed["quantization_config"] = nlohmann::ordered_json::parse(*settings);
    return parsed.dump(2) + "\n";
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return awq::detect(checkpoint); }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return awq::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeAwq(file, name);
  }
};

}  // namespace

const Format& awqFormat() {
  static const AwqFormat format;
  return format;
}

}  // namespace nibble
