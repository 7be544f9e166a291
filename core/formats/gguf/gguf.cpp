// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF files: every tensor under its own name, of a float type or of one of ggml's block types (plan.h). One file holds all.
#include "core/formats/gguf/model.h"
#include "core/formats/gguf/plan.h"
#include "core/formats/gguf/proof.h"
#include "core/formats/gguf/read.h"
#include "core/formats/tools.h"

namespace nibble {
namespace {

using namespace formats;

class GgufFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo about = {"gguf",
                                     "GGUF, one file: tensors of ggml's block types and floats, metadata",
                                     "ggml 0.25.3, docs/gguf.md",
                                     {"llama.cpp"},
                                     ".gguf"};
    return about;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = gguf::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view, const std::vector<ExportLayer>& layers) const override {
    constexpr std::size_t longest = 63;
    RuleResult names{"Names fit", true, true, "at most 63 bytes", "ggml.h, GGML_MAX_NAME"};
    for (const ExportLayer& layer : layers)
      if (layer.name.size() > longest) names.ok = false, names.detail = layer.name + " is longer than 63 bytes";
    return {std::move(names)};
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = gguf::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    auto weight = gguf::stored(layer.name, *layer.tensor, *plan);
    if (!weight) return fail(weight.error());
    std::vector<RawTensor> arrays;
    arrays.push_back(*std::move(weight));
    // Loaders take small tensors in float32.
    if (layer.bias) {
      const auto values = layer.bias->readAll();
      if (!values) return fail(values.error().within(layer.name));
      arrays.push_back(rawFloats(moduleName(layer.name) + ".bias", FloatType::F32, layer.bias->shape(), *values));
    }
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (array.name == layer.name) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = gguf::planFor(tensor);
    if (!plan) return nullptr;
    return plan->spelled ? plan->spelled->layout : tensor.layout;
  }

  // All that is said stands in the file itself.
  [[nodiscard]] Result<std::string> configure(const std::string&, const std::vector<ExportLayer>&,
                                              const std::vector<std::string>&) const override {
    return std::string();
  }

  [[nodiscard]] std::unique_ptr<ModelFile> modelFile(const ModelSource& source) const override { return gguf::modelFile(source); }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return gguf::detect(checkpoint); }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return gguf::read(checkpoint, layer);
  }
  [[nodiscard]] Result<QuantizedTensor> readMatrix(const Checkpoint& checkpoint, const PackedLayer& layer,
                                                   std::uint64_t index) const override {
    return gguf::readMatrix(checkpoint, layer, index);
  }
  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file, const std::string& name) const override {
    return proof::decodeGguf(file, name);
  }
};

}  // namespace

const Format& ggufFormat() {
  static const GgufFormat format;
  return format;
}

}  // namespace nibble
