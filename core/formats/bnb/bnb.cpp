// SPDX-License-Identifier: GPL-3.0-or-later
// bitsandbytes 4-bit weights in safetensors (plan.h has the arithmetic): for a weight W the codes W (two a byte, the first in
// the high nibble), W.absmax, W.quant_map and the state as JSON; nested also W.nested_absmax and W.nested_quant_map.
// LLM.int8 layers are only read (int8.h).
#include "core/formats/bnb/int8.h"
#include "core/formats/bnb/plan.h"
#include "core/formats/bnb/proof.h"
#include "core/formats/tools.h"

#include <nlohmann/json.hpp>

namespace nibble {
namespace {

using namespace formats;

// As Python's json.dumps writes it: a space after each comma and colon (no text in it has one).
std::string spaced(const std::string& compact) {
  std::string text;
  for (const char c : compact) {
    text += c;
    if (c == ',' || c == ':') text += ' ';
  }
  return text;
}

std::string stateText(const bnb::Plan& plan, const Shape& shape) {
  nlohmann::ordered_json state = {
      {"quant_type", plan.kind()}, {"blocksize", plan.block}, {"dtype", typeName(plan.type)}, {"shape", shape}};
  if (plan.nested) {
    state["nested_blocksize"] = 256;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = static_cast<double>(plan.nested->offset);
  }
  return spaced(state.dump());
}

class BnbFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"bnb",
                                    "bitsandbytes NF4 and FP4 in safetensors: codes, absmax, quant_state",
                                    "bitsandbytes 0.50 functional.py, QuantState",
                                    {"bitsandbytes", "transformers", "vllm"},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override {
    const auto plan = bnb::planFor(tensor);
    return plan ? std::nullopt : std::optional(plan.error().message);
  }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    return bnb::preflight(runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    const auto plan = bnb::planFor(*layer.tensor);
    if (!plan) return fail(plan.error().within(layer.name));
    const std::string& name = layer.name;
    const std::uint64_t count = layer.tensor->weightCount();
    std::vector<std::byte> codes = highNibbleLayout(count)->pack(layer.tensor->codes);
    if (count % 2 != 0) codes.back() |= static_cast<std::byte>(plan->fillCode());
    std::vector<RawTensor> arrays;
    const std::uint64_t bytes = codes.size();
    arrays.push_back(rawBytes(name, DType::U8, {bytes, 1}, std::move(codes)));
    if (plan->nested) {
      const bnb::Nested& nested = *plan->nested;
      const std::vector<std::int64_t> numbers(nested.codes.begin(), nested.codes.end());
      arrays.push_back(rawIntegers(name + ".absmax", DType::U8, {numbers.size()}, numbers));
      arrays.push_back(rawFloats(name + ".nested_absmax", FloatType::F32, {nested.absmax.size()}, nested.absmax));
      arrays.push_back(rawFloats(name + ".nested_quant_map", FloatType::F32, {256}, bnb::dynamicMap()));
    } else {
      arrays.push_back(rawFloats(name + ".absmax", FloatType::F32, {plan->absmax.size()}, plan->absmax));
    }
    arrays.push_back(rawFloats(name + ".quant_map", FloatType::F32, {16}, plan->nf4 ? bnb::nf4Table : bnb::fp4Table));
    arrays.push_back(rawText(name + ".quant_state.bitsandbytes__" + plan->kind(), stateText(*plan, layer.tensor->shape)));
    if (layer.bias) arrays.push_back(rawBias(moduleName(name) + ".bias", *layer.bias, plan->type));
    return arrays;
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const RawTensor& array : arrays)
      if (array.name == layer.name || array.name.ends_with("absmax")) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    return refusal(tensor) ? nullptr : highNibbleLayout(tensor.weightCount());
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const override {
    return bnb::configure(config, layers, leftAlone);
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    std::vector<PackedLayer> layers = bnb::detect(checkpoint);
    for (PackedLayer& layer : bnb::detectInt8(checkpoint)) layers.push_back(std::move(layer));
    return layers;
  }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return bnb::isInt8(checkpoint, layer) ? bnb::readInt8(checkpoint, layer) : bnb::read(checkpoint, layer);
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeBnb(file, name);
  }
};

}  // namespace

const Format& bnbFormat() {
  static const BnbFormat format;
  return format;
}

}  // namespace nibble
