// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from the format's description alone: W is U8 [ceil(n / 2), 1], weight 2i in the high nibble of byte
// i; w = table[code] * absmax of its block, a float32 product rounded to the state's dtype. Nested, absmax are codes of the
// signed 8-bit dynamic map: map[code] * nested_absmax + nested_offset. The tables in the file must be the format's own.
#include "core/formats/bnb/proof.h"

#include "core/formats/proof_container.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace nibble::proof {
namespace {

using Json = nlohmann::ordered_json;

struct State {
  std::string kind, type;
  std::uint64_t block = 0, count = 1, nestedBlock = 0;
  float offset = 0;
};

std::vector<float> levelTable(const std::string& kind) {
  if (kind == "nf4")
    return {-1.0f,
            -0.6961928009986877f,
            -0.5250730514526367f,
            -0.39491748809814453f,
            -0.28444138169288635f,
            -0.18477343022823334f,
            -0.09105003625154495f,
            0.0f,
            0.07958029955625534f,
            0.16093020141124725f,
            0.24611230194568634f,
            0.33791524171829224f,
            0.44070982933044434f,
            0.5626170039176941f,
            0.7229568362236023f,
            1.0f};
  std::vector<float> table;
  for (const double sign : {1.0, -1.0})
    for (const double twelfths : {0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0})
      table.push_back(static_cast<float>(sign * twelfths / 12.0 + 0.0));
  return table;
}

std::vector<float> signedDynamicMap() {
  std::vector<float> map = {0.0f, 1.0f};
  const double first = 0.1f;  // the library works in float32
  double power = 1e-6;
  for (int intervals = 1; intervals <= 64; intervals *= 2, power *= 10) {
    const double step = static_cast<float>(static_cast<float>(1.0 - first) / intervals);
    std::vector<double> edges;
    for (int i = 0; i <= intervals; ++i)
      edges.push_back(static_cast<float>(2 * i < intervals || i == 0 ? first + step * i : 1.0 - step * (intervals - i)));
    for (int i = 0; i < intervals; ++i) {
      const double middle = static_cast<float>(static_cast<float>(edges[i] + edges[i + 1]) / 2);
      const auto value = static_cast<float>(middle * static_cast<float>(power));
      map.push_back(value);
      map.push_back(-value);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

Status expectTable(const Container& file, const std::string& name, const std::vector<float>& wanted) {
  const auto array = file.read(name);
  if (!array) return fail(array.error());
  if (!array->is("F32", {wanted.size()})) return fail(name + ": unexpected type or shape");
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const bool bothZero = wanted[i] == 0 && array->unsignedAt(i) == 0;
    if (!bothZero && (wanted[i] == 0 || array->floatAt(i) != wanted[i]))
      return fail(name + ": entry " + std::to_string(i) + " is not the format's");
  }
  return {};
}

// The state as Python's json.dumps writes it, so that no byte of it can differ unseen.
bool isCanonical(const std::string& text, const Json& json) {
  std::string wanted;
  for (const char c : json.dump()) {
    wanted += c;
    if (c == ',' || c == ':') wanted += ' ';
  }
  return text == wanted;
}

Result<State> parseState(const std::string& text, const std::string& key, const std::string& kind) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !isCanonical(text, json)) return fail(key + ": not a state as the library writes it");
  State state;
  state.kind = json.value("quant_type", "");
  state.type = json.value("dtype", "");
  state.block = json.value("blocksize", std::uint64_t{0});
  for (const Json& side : json.value("shape", Json::array())) state.count *= side.get<std::uint64_t>();
  std::size_t keys = 4;
  if (json.contains("nested_blocksize")) {
    keys = 7;
    state.nestedBlock = json.value("nested_blocksize", std::uint64_t{0});
    const double offset = json.value("nested_offset", 0.5e-300);
    state.offset = static_cast<float>(offset);
    if (json.value("nested_dtype", "") != "float32" || static_cast<double>(state.offset) != offset || state.nestedBlock != 256)
      return fail(key + ": nesting is not the library's");
  }
  if (json.size() != keys || state.kind != kind) return fail(key + ": unexpected keys");
  if (state.type != "float32" && state.type != "float16" && state.type != "bfloat16") return fail(key + ": unexpected dtype");
  if (state.block < 32 || state.block > 4096 || (state.block & (state.block - 1)) != 0)
    return fail(key + ": unexpected blocksize");
  return state;
}

Result<std::vector<float>> blockScales(const Container& file, const std::string& name, const State& state) {
  const std::uint64_t blocks = (state.count + state.block - 1) / state.block;
  const auto absmax = file.read(name + ".absmax");
  if (!absmax) return fail(absmax.error());
  std::vector<float> scales(blocks);
  if (state.nestedBlock == 0) {
    if (!absmax->is("F32", {blocks})) return fail(name + ".absmax: unexpected type or shape");
    for (std::uint64_t i = 0; i < blocks; ++i) scales[i] = absmax->floatAt(i);
    return scales;
  }
  static const std::vector<float> map = signedDynamicMap();
  NIBBLE_TRY(expectTable(file, name + ".nested_quant_map", map));
  const auto outer = file.read(name + ".nested_absmax");
  if (!outer) return fail(outer.error());
  if (!absmax->is("U8", {blocks}) || !outer->is("F32", {(blocks + state.nestedBlock - 1) / state.nestedBlock}))
    return fail(name + ".absmax: unexpected type or shape");
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const float product = map[absmax->unsignedAt(i)] * outer->floatAt(i / state.nestedBlock);
    scales[i] = product + state.offset;
  }
  return scales;
}

Result<std::vector<float>> decodeLayer(const Container& file, const std::string& name) {
  const std::string prefix = name + ".quant_state.bitsandbytes__";
  const std::string kind = file.has(prefix + "nf4") ? "nf4" : "fp4";
  const auto text = file.read(prefix + kind);
  if (!text) return fail(text.error());
  const auto state = parseState(text->text(), prefix + kind, kind);
  if (!state) return fail(state.error());
  const std::vector<float> levels = levelTable(kind);
  NIBBLE_TRY(expectTable(file, name + ".quant_map", levels));
  const auto scales = blockScales(file, name, *state);
  if (!scales) return fail(scales.error());
  const auto codes = file.read(name);
  if (!codes) return fail(codes.error());
  if (!codes->is("U8", {(state->count + 1) / 2, 1})) return fail(name + ": unexpected type or shape");
  std::vector<float> values(state->count);
  for (std::uint64_t i = 0; i < state->count; ++i) {
    const std::uint64_t byte = codes->unsignedAt(i / 2);
    const float level = levels[i % 2 == 0 ? byte >> 4 : byte & 15u];
    values[i] = rounded(level * (*scales)[i / state->block], state->type);
  }
  const std::uint64_t fill = kind == "nf4" ? 7 : 0;
  if (state->count % 2 != 0 && (codes->unsignedAt(state->count / 2) & 15u) != fill)
    return fail(name + ": the last nibble is not the code of 0");
  return values;
}

}  // namespace

Result<std::vector<float>> decodeBnb(const std::filesystem::path& file, const std::string& tensorName) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  try {
    return decodeLayer(*container, tensorName);
  } catch (const std::exception& error) {  // a state whose values have other types than they should
    return fail(tensorName + ": " + error.what());
  }
}

}  // namespace nibble::proof
