// SPDX-License-Identifier: GPL-3.0-or-later
// MLX checkpoints, as mlx-lm writes and loads them (plan.h has the layouts). A weights file alone does not say bits and group:
// config.json belongs to it.
#include "core/formats/mlx/plan.h"
#include "core/formats/mlx/proof.h"
#include "core/formats/tools.h"
#include "core/quant/row_layout.h"

namespace nibble {
namespace {

using namespace formats;

class MlxFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"mlx",
                                    "MLX safetensors: affine 2 to 8 bits, mxfp4, mxfp8, nvfp4",
                                    "mlx 0.32 nn/layers/quantized.py",
                                    {"mlx"},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = mlx::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return mlx::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = mlx::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    const Shape groups{plan->rows, plan->perRow()};
    std::vector<RawTensor> arrays;
    arrays.push_back(rawBytes(p + "weight", DType::U32,
                              {plan->rows, plan->columns * static_cast<std::uint64_t>(plan->bits) / 32},
                              rowStreamLayout(plan->rows, plan->columns, plan->bits)->pack(layer.tensor->codes)));
    if (plan->mode == mlx::Mode::Affine) {
      arrays.push_back(rawFloats(p + "scales", plan->type, groups, plan->scale));
      arrays.push_back(rawFloats(p + "biases", plan->type, groups, plan->bias));
    } else {
      const std::vector<std::int64_t> codes(plan->scaleCodes.begin(), plan->scaleCodes.end());
      arrays.push_back(rawIntegers(p + "scales", DType::U8, groups, codes));
    }
    if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, plan->type));
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
    return rowStreamLayout(tensor.rows, tensor.columns, tensor.width.uniform);
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>&) const override {
    return mlx::configure(config, layers);
  }

  [[nodiscard]] std::vector<std::pair<std::string, std::string>> metadata() const override { return {{"format", "mlx"}}; }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return mlx::detect(checkpoint); }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return mlx::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path&, const std::string& name) const override {
    return fail(name + ": an MLX file does not say the layer's shape");
  }
  [[nodiscard]] Result<std::vector<float>> proofDecodeAs(const std::filesystem::path& file, const std::string& name,
                                                         const Shape& shape) const override {
    return proof::decodeMlx(file, name, shape);
  }
};

}  // namespace

const Format& mlxFormat() {
  static const MlxFormat format;
  return format;
}

}  // namespace nibble
