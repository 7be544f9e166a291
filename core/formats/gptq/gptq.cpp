// SPDX-License-Identifier: GPL-3.0-or-later
// GPTQ checkpoints, versions 1 and 2 and the planar form (plan.h has the layouts): for a module P the arrays P.qweight,
// P.qzeros, P.scales and P.g_idx, the settings in config.json and quantize_config.json.
#include "core/base/text.h"
#include "core/formats/gptq/plan.h"
#include "core/formats/gptq/proof.h"
#include "core/formats/group_parts.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nibble {
namespace {

using namespace formats;
using gptq::Version;

class GptqFormat final : public Format {
 public:
  explicit GptqFormat(Version version) : m_version(version) {}

  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo first = {"gptq",
                                     "GPTQ safetensors, version 1: qweight, qzeros (zero - 1), scales, g_idx",
                                     "AutoGPTQ 0.7 qlinear_cuda.py",
                                     {"transformers", "vllm", "exllamav2"},
                                     ".safetensors"};
    static const FormatInfo second = {"gptq_v2",
                                      "GPTQ safetensors, version 2: qweight, qzeros as they are, scales, g_idx",
                                      "GPTQModel, checkpoint_format gptq_v2",
                                      {"transformers", "vllm"},
                                      ".safetensors"};
    static const FormatInfo planar = {"gptq_p",
                                      "GPTQ safetensors, planar: codes of 3, 5, 6, 7 bits as planes of 4, 2 and 1 bits",
                                      "GPTQModel 7.7, checkpoint_format gptq_p",
                                      {"transformers"},
                                      ".safetensors"};
    return m_version == Version::V1 ? first : m_version == Version::V2 ? second : planar;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = gptq::planFor(tensor, m_version);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return gptq::preflight(runtime, layers, m_version);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = gptq::planFor(*layer.tensor, m_version);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    const auto bits = static_cast<std::uint64_t>(plan->bits);
    const std::vector<float> scales = byGroup(plan->scale, plan->rows, plan->groups);
    const std::vector<std::int64_t> index(plan->index.begin(), plan->index.end());
    std::vector<RawTensor> arrays;
    arrays.push_back(rawBytes(p + "qweight", DType::I32, {plan->columns * bits / 32, plan->rows},
                              gptq::weightLayout(plan->rows, plan->columns, plan->bits, m_version)->pack(layer.tensor->codes)));
    arrays.push_back(rawBytes(p + "qzeros", DType::I32, {plan->groups, plan->rows * bits / 32},
                              gptq::packZeros(plan->zero, plan->rows, plan->groups, plan->bits, m_version)));
    arrays.push_back(rawFloats(p + "scales", FloatType::F16, {plan->groups, plan->rows}, scales));
    arrays.push_back(rawIntegers(p + "g_idx", DType::I32, {plan->columns}, index));
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
    return gptq::weightLayout(tensor.rows, tensor.columns, tensor.width.uniform, m_version);
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const override {
    const auto settings = gptq::configText(layers, leftAlone, m_version);
    if (!settings) return fail(settings.error());
    auto parsed = config.empty() ? nlohmann::ordered_json::object() : nlohmann::ordered_json::parse(config, nullptr, false);
    if (!parsed.is_object()) return fail("config.json: not a JSON object");
    parsed["quantization_config"] = nlohmann::ordered_json::parse(*settings);
    return parsed.dump(2) + "\n";
  }

  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> sideFiles(
      const std::vector<ExportLayer>& layers, const std::vector<std::string>& leftAlone) const override {
    auto settings = gptq::configText(layers, leftAlone, m_version);
    if (!settings) return fail(settings.error());
    return std::vector<std::pair<std::string, std::string>>{{"quantize_config.json", std::move(*settings)}};
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    return gptq::detect(checkpoint, m_version);
  }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return gptq::read(checkpoint, layer, m_version);
  }
  [[nodiscard]] Result<QuantizedTensor> readAs(const Checkpoint& checkpoint, const PackedLayer& layer,
                                               std::string_view reading) const override {
    if (reading.empty()) return read(checkpoint, layer);
    if (std::find(layer.readings.begin(), layer.readings.end(), reading) == layer.readings.end())
      return fail(layer.name + ": cannot be read as " + std::string(reading) +
                  (layer.readings.empty() ? "; there is only one way" : ", only as " + text::join(layer.readings, ", ")));
    return gptq::read(checkpoint, layer, reading == "v1" ? Version::V1 : Version::V2);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeGptq(file, name, m_version == Version::V1 ? 1 : 0, m_version == Version::Planar);
  }

 private:
  Version m_version;
};

}  // namespace

const Format& gptqFormat() {
  static const GptqFormat format(Version::V1);
  return format;
}

const Format& gptqV2Format() {
  static const GptqFormat format(Version::V2);
  return format;
}

const Format& gptqPlanarFormat() {
  static const GptqFormat format(Version::Planar);
  return format;
}

}  // namespace nibble
