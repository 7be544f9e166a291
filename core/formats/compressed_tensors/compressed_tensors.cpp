// SPDX-License-Identifier: GPL-3.0-or-later
// compressed-tensors checkpoints, as llm-compressor writes and vLLM and transformers load them (plan.h has the layouts).
#include "core/formats/compressed_tensors/plan.h"
#include "core/formats/compressed_tensors/proof.h"
#include "core/formats/tools.h"

namespace nibble {
namespace {

using namespace formats;
namespace ct = formats::compressed_tensors;

class CompressedTensorsFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"compressed-tensors",
                                    "compressed-tensors safetensors: packed or plain integers, FP8, MXFP4, MXFP8, NVFP4",
                                    "compressed-tensors 0.19 compressors/*",
                                    {"vllm", "transformers"},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = ct::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return ct::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = ct::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    return ct::arraysOf(*plan, layer);
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (!array.name.ends_with(".bias") && !array.name.ends_with(".weight_shape")) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = ct::planFor(tensor);
    return plan ? ct::layoutOf(*plan) : nullptr;
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const override {
    return ct::configure(config, layers, leftAlone);
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return ct::detect(checkpoint); }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return ct::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeCompressedTensors(file, name);
  }
};

}  // namespace

const Format& compressedTensorsFormat() {
  static const CompressedTensorsFormat format;
  return format;
}

}  // namespace nibble
