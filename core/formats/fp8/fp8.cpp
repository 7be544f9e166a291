// SPDX-License-Identifier: GPL-3.0-or-later
// FP8 checkpoints, as DeepSeek, transformers and vLLM have them (plan.h has the layouts).
#include "core/formats/fp8/plan.h"
#include "core/formats/fp8/proof.h"
#include "core/formats/tools.h"

namespace nibble {
namespace {

using namespace formats;

class Fp8Format final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"fp8",
                                    "FP8 safetensors: 8-bit floats with scales per tile, output or tensor",
                                    "DeepSeek-V3 inference/fp8_cast_bf16.py, transformers integrations/finegrained_fp8.py",
                                    {"vllm", "transformers"},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = fp8::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }
  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return fp8::preflight(runtime, layers);
  }
  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = fp8::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    return fp8::arraysOf(*plan, layer);
  }
  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (!array.name.ends_with(".bias") && !array.name.ends_with(".input_scale")) bytes += byteCount(array);
    return bytes;
  }
  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    return refusal(tensor) ? nullptr : denseLayout(tensor.weightCount(), 8);
  }
  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const override {
    return fp8::configure(config, layers, leftAlone);
  }
  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return fp8::detect(checkpoint); }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return fp8::read(checkpoint, layer);
  }
  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeFp8(file, name);
  }
};

}  // namespace

const Format& fp8Format() {
  static const Fp8Format format;
  return format;
}

}  // namespace nibble
