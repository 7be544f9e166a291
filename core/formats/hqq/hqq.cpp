// SPDX-License-Identifier: GPL-3.0-or-later
// HQQ's own layers (hqq 0.2.8, HQQLinear.state_dict as encoded for safetensors): for a module P the codes P.W_q, P.scale,
// P.zero, and 17 scalars and texts that say how to read them. plan.h has the arithmetic.
#include "core/formats/hqq/plan.h"
#include "core/formats/hqq/proof.h"
#include "core/formats/tools.h"

namespace nibble {
namespace {

using namespace formats;

class HqqFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"hqq",
                                    "HQQ layers in safetensors: W_q, scale, zero and their description",
                                    "hqq 0.2.8 core/quantize.py, core/bitpack.py",
                                    {"hqq", "transformers", "vllm"},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = hqq::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return hqq::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = hqq::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string p = moduleName(layer.name) + ".";
    std::vector<RawTensor> arrays;
    arrays.push_back(rawBytes(p + "W_q", plan->packing.type, {plan->packedRows(), plan->groupedColumns()},
                              layoutOf(*plan)->pack(layer.tensor->codes)));
    const Shape numbers = plan->axis == 1 ? Shape{plan->groups, 1} : Shape{1, plan->groups};
    arrays.push_back(rawFloats(p + "scale", plan->stored, numbers, plan->scale));
    arrays.push_back(rawFloats(p + "zero", plan->stored, numbers, plan->zero));
    if (layer.bias) arrays.push_back(rawBias(p + "bias", *layer.bias, plan->compute));
    describe(p, *plan, layer.tensor->shape, arrays);
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (array.name.ends_with(".W_q") || array.name.ends_with(".scale") || array.name.ends_with(".zero"))
        bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const auto plan = hqq::planFor(tensor);
    return plan ? layoutOf(*plan) : nullptr;
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const override {
    return hqq::configure(config, layers, leftAlone);
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return hqq::detect(checkpoint); }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return hqq::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeHqq(file, name);
  }

 private:
  static std::shared_ptr<const Layout> layoutOf(const hqq::Plan& plan) {
    return rowInterleavedLayout(plan.groupedRows(), plan.groupedColumns(), plan.packing.bits);
  }

  static void describe(const std::string& p, const hqq::Plan& plan, const Shape& shape, std::vector<RawTensor>& arrays) {
    const std::vector<std::int64_t> sides(shape.begin(), shape.end());
    arrays.push_back(rawIntegers(p + "shape", DType::I64, {sides.size()}, sides));
    arrays.push_back(rawInteger(p + "nbits", DType::I32, plan.bits));
    arrays.push_back(rawInteger(p + "group_size", DType::I32, static_cast<std::int64_t>(plan.group)));
    arrays.push_back(rawInteger(p + "axis", DType::I32, plan.axis));
    arrays.push_back(rawText(p + "packing", plan.packing.name));
    arrays.push_back(rawText(p + "unpack_view_dtype", plan.packing.type == DType::I32 ? "torch.int32" : "torch.uint8"));
    arrays.push_back(rawText(p + "compute_dtype", "torch." + std::string(typeName(plan.compute))));
    for (const char* key : {"view_as_float", "quant_scale", "quant_zero", "offload_meta"})
      arrays.push_back(rawInteger(p + key, DType::U8, 0));
    for (const char* key : {"channel_wise", "optimize", "encoded_state_dict", "stores_quant_config"})
      arrays.push_back(rawInteger(p + key, DType::U8, 1));
    arrays.push_back(rawInteger(p + "round_zero", DType::U8, plan.bits == 4 ? 1 : 0));
  }
};

}  // namespace

const Format& hqqFormat() {
  static const HqqFormat format;
  return format;
}

}  // namespace nibble
