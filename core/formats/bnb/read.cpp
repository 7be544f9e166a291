// SPDX-License-Identifier: GPL-3.0-or-later
// Reading bitsandbytes 4-bit weights by their quant_state, a JSON text beside the codes. The codes may be stored as any type
// (bnb_4bit_quant_storage): their bytes count.
#include "core/formats/bnb/plan.h"
#include "core/formats/parts.h"

#include <nlohmann/json.hpp>

namespace nibble::formats::bnb {
namespace {

using Json = nlohmann::json;

struct State {
  bool nf4 = true;
  std::uint64_t block = 0, nestedBlock = 0;  // nestedBlock 0: not nested
  double offset = 0;
  FloatType type = FloatType::F32;
  Shape shape;
};

std::string stateKey(const std::string& name, bool nf4) {
  return name + ".quant_state.bitsandbytes__" + (nf4 ? "nf4" : "fp4");
}

std::uint64_t sizeAt(const Json& json, const char* key) {
  return json.contains(key) && json[key].is_number_unsigned() ? json[key].get<std::uint64_t>() : 0;
}

Result<State> readState(const Checkpoint& checkpoint, const std::string& name) {
  State state;
  state.nf4 = checkpoint.find(stateKey(name, true)).has_value();
  const std::string key = stateKey(name, state.nf4);
  const auto text = readText(checkpoint, key);
  if (!text) return fail(text.error());
  const Json json = Json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("shape") || !json["shape"].is_array())
    return fail(key + ": not a quantization state");
  state.block = sizeAt(json, "blocksize");
  if (state.block == 0) return fail(key + ": blocksize is missing");
  for (const Json& side : json["shape"]) {
    if (!side.is_number_unsigned()) return fail(key + ": not a usable shape");
    state.shape.push_back(side.get<std::uint64_t>());
  }
  if (!plausibleCount(state.shape)) return fail(key + ": not a usable shape");
  const Json type = json.contains("dtype") ? json["dtype"] : Json();
  state.type = type == "float16" ? FloatType::F16 : type == "bfloat16" ? FloatType::BF16 : FloatType::F32;
  state.nestedBlock = sizeAt(json, "nested_blocksize");
  if (state.nestedBlock != 0 && json.contains("nested_offset") && json["nested_offset"].is_number())
    state.offset = json["nested_offset"];
  return state;
}

Result<Plane> nestedPlane(const Checkpoint& checkpoint, const std::string& name, const State& state, const Grouping& grouping) {
  const auto codes = readBytes(checkpoint, name + ".absmax");
  const auto absmax = finiteFloats(checkpoint, name + ".nested_absmax"),
             map = finiteFloats(checkpoint, name + ".nested_quant_map");
  if (!codes) return fail(codes.error());
  if (!absmax) return fail(absmax.error());
  if (!map) return fail(map.error());
  const std::uint64_t count = grouping.groupCount();
  if (codes->size() != count) return fail(name + ".absmax: expected one code for each block");
  if (map->size() != 256) return fail(name + ".nested_quant_map: expected 256 numbers");
  const Grouping blocks = Grouping::flat(1, count, state.nestedBlock);
  if (absmax->size() != blocks.groupCount())
    return fail(name + ".nested_absmax: expected " + std::to_string(blocks.groupCount()) + " numbers");
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = count;
  nested->shape = {1, count};
  std::vector<std::uint8_t> numbers;
  for (const std::byte code : *codes) numbers.push_back(std::to_integer<std::uint8_t>(code));
  nested->codes = Codes(std::move(numbers));
  nested->width.uniform = 8;
  nested->levels = Levels::fixedTable(*map);
  nested->rule = ValueRule::ScalePlusBias;
  nested->scale = Plane::numbers(blocks, *absmax, Stored::F32);
  nested->zero = Plane::numbers(Grouping::tensor(1, count), {static_cast<float>(state.offset)}, Stored::F32);
  nested->layout = denseLayout(count, 8);
  return Plane::quantized(grouping, std::move(nested));
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  for (const bool nf4 : {true, false}) {
    const std::string suffix = stateKey("", nf4);
    for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
      const std::string& key = checkpoint.entries()[i].name;
      if (!key.ends_with(suffix)) continue;
      const std::string name = key.substr(0, key.size() - suffix.size());
      const auto weight = checkpoint.find(name);
      const auto state = readState(checkpoint, name);
      if (!weight || !state) {
        layers.push_back(
            brokenLayer(checkpoint, name, nf4 ? "nf4" : "fp4", {key, name, name + ".absmax", name + ".quant_map"}));
        continue;
      }
      PackedLayer layer{name, {}, {*weight, i}, state->shape};
      for (const char* part : {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map"})
        if (const auto index = checkpoint.find(name + part)) layer.parts.push_back(*index);
      layer.description = std::string(nf4 ? "nf4" : "fp4") + " block " + std::to_string(state->block) +
                          (state->nestedBlock != 0 ? " nested" : "");
      layers.push_back(std::move(layer));
    }
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::string& name = layer.name;
  const auto state = readState(checkpoint, name);
  if (!state) return fail(state.error());
  const std::uint64_t count = elementCount(state->shape);
  if (count == 0) return fail(name + ": no weights");
  const auto bytes = readBytes(checkpoint, name);
  if (!bytes) return fail(bytes.error());
  const auto layout = highNibbleLayout(count);
  if (bytes->size() != layout->sizeBytes())
    return fail(name + ": expected " + std::to_string(layout->sizeBytes()) + " bytes of codes");
  const auto table = finiteFloats(checkpoint, name + ".quant_map");
  if (!table) return fail(table.error());
  if (table->size() != 16) return fail(name + ".quant_map: expected 16 numbers");

  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.shape = state->shape;
  tensor.columns = state->shape.empty() ? 1 : state->shape.back();
  tensor.rows = count / tensor.columns;
  tensor.codes = layout->unpack(*bytes, count);
  tensor.width.uniform = 4;
  tensor.levels = Levels::fixedTable(*table);
  tensor.arithmetic = {FloatType::F32, state->type, false};
  tensor.layout = layout;
  const Grouping grouping = Grouping::flat(tensor.rows, tensor.columns, state->block);
  if (state->nestedBlock != 0) {
    auto plane = nestedPlane(checkpoint, name, *state, grouping);
    if (!plane) return fail(plane.error());
    tensor.scale = std::move(*plane);
    return tensor;
  }
  const auto absmax = finiteFloats(checkpoint, name + ".absmax");
  if (!absmax) return fail(absmax.error());
  if (absmax->size() != grouping.groupCount()) return fail(name + ".absmax: expected one number for each block");
  tensor.scale = Plane::numbers(grouping, *absmax, Stored::F32);
  return tensor;
}

}  // namespace nibble::formats::bnb
