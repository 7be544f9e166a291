// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gptq/config.h"

#include "core/base/text.h"
#include "core/formats/tools.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

namespace nibble::formats::gptq {
namespace {

using Json = nlohmann::json;

std::string textAt(const Json& config, const char* key) {
  return config.contains(key) && config[key].is_string() ? config[key].get<std::string>() : std::string();
}

std::optional<std::int64_t> integerAt(const Json& config, const char* key) {
  if (!config.contains(key) || !config[key].is_number_integer()) return std::nullopt;
  return config[key].get<std::int64_t>();
}

bool filled(const Json& config, const char* key) {
  return config.contains(key) && config[key].is_object() && !config[key].empty();
}

// Part of a line that a person reads: what a hostile config says is cut short.
std::string quoted(const std::string& text) {
  constexpr std::size_t most = 40;
  return text.size() > most ? text.substr(0, most) + "..." : text;
}

void readVersion(const Json& json, Config& config) {
  for (const char* key : {"checkpoint_format", "format"}) {
    const std::string format = textAt(json, key);
    if (format.empty()) continue;
    config.saidBy = std::string(key) + " " + quoted(format);
    if (format == "gptq") config.version = Version::V1;
    if (format == "gptq_v2") config.version = Version::V2;
    if (format == "gptq_p") config.version = Version::Planar;
    if (config.version) return;
  }
  const std::string packing = textAt(json, "packing_format");
  if (packing.empty()) return;
  config.saidBy = "packing_format " + quoted(packing);
  if (packing == "auto_round:auto_gptq" || packing == "auto_round:gptqmodel") config.version = Version::V1;
  if (packing == "auto_round" || packing == "auto_round:gptq_v2") config.version = Version::V2;
}

// The file does not say the arithmetic. GPTQModel and auto-round give float16 weights; other loaders the exact product.
bool roundsToHalf(const Json& json) {
  if (textAt(json, "provider") == "auto-round" || textAt(json, "quant_method") == "auto-round") return true;
  return json.contains("meta") && json["meta"].is_object() && json["meta"].contains("quantizer") &&
         json["meta"]["quantizer"].dump(-1, ' ', false, Json::error_handler_t::replace).find("gptqmodel") != std::string::npos;
}

// Mean of the first 32 inputs' codes less their zero points, over all outputs.
struct Offset {
  double mean = 0, error = 0;  // error: the mean's standard error
};

Offset offsetOf(const Codes& codes, const std::vector<float>& zeros, const std::vector<std::uint32_t>& index,
                const Sizes& sizes) {
  double sum = 0, squares = 0;
  for (std::uint64_t row = 0; row < sizes.rows; ++row) {
    for (std::uint64_t lane = 0; lane < lanes; ++lane) {
      const double d = static_cast<double>(codes.at(row * lanes + lane)) - zeros[row * sizes.groups + index[lane]];
      sum += d;
      squares += d * d;
    }
  }
  const auto count = static_cast<double>(sizes.rows * lanes);
  const double mean = sum / count;
  return {mean, std::sqrt(std::max(0.0, squares / count - mean * mean) / count)};
}

bool allAre(const std::vector<float>& values, int wanted) {
  return std::all_of(values.begin(), values.end(), [&](float value) { return value == static_cast<float>(wanted); });
}

// Group of each of the first 32 inputs; none: there is no usable g_idx.
std::optional<std::vector<std::uint32_t>> firstGroups(const Checkpoint& checkpoint, const std::string& module,
                                                      const Sizes& sizes) {
  std::vector<std::uint32_t> index;
  const std::uint64_t length = (sizes.columns + sizes.groups - 1) / sizes.groups;
  if (!checkpoint.find(module + ".g_idx")) {
    for (std::uint64_t lane = 0; lane < lanes; ++lane) index.push_back(static_cast<std::uint32_t>(lane / length));
    return index;
  }
  const auto stored = checkpoint.read(module + ".g_idx");
  std::array<float, lanes> values{};
  if (!stored || stored->size() < lanes || !stored->read(0, values)) return std::nullopt;
  for (const float value : values) {
    if (!(value >= 0 && value < static_cast<float>(sizes.groups))) return std::nullopt;
    index.push_back(static_cast<std::uint32_t>(value));
  }
  return index;
}

}  // namespace

Config configOf(const Checkpoint& checkpoint) {
  Config config;
  const Json whole = Json::parse(checkpoint.configText(), nullptr, false);
  if (!whole.is_object() || !whole.contains("quantization_config") || !whole["quantization_config"].is_object()) return config;
  const Json& json = whole["quantization_config"];
  config.there = true;
  config.method = textAt(json, "quant_method");
  readVersion(json, config);
  config.halves = roundsToHalf(json);
  if (filled(json, "dynamic") || filled(json, "extra_config") || filled(json, "layer_config")) return config;
  config.bits = integerAt(json, "bits");
  config.group = integerAt(json, "group_size");
  return config;
}

// Two marks. Symmetric files have one zero point everywhere, 2^(b-1), or that less one as it is stored in version 1. Otherwise
// weights scatter around 0, so the mean of code - zero is near 0 for the right version and near 1 or -1 for the other; it
// counts only where its standard error is small and the other version is clearly off.
Evidence zeroEvidence(const Checkpoint& checkpoint, const std::string& module, const Sizes& sizes) {
  constexpr double near = 0.35, off = 0.65, sure = 0.12;
  const auto index = firstGroups(checkpoint, module, sizes);
  const auto words = checkpoint.read(module + ".qweight");
  const auto zeroWords = readBytes(checkpoint, module + ".qzeros");
  const std::uint64_t firstBytes = sizes.rows * static_cast<std::uint64_t>(sizes.bits) * 4;
  if (!index || !words || !zeroWords || words->bytes().size() < firstBytes) return {};
  const Codes codes =
      weightLayout(sizes.rows, lanes, sizes.bits, Version::V2)->unpack(words->bytes().first(firstBytes), sizes.rows * lanes);
  const auto zerosAs = [&](Version version) { return unpackZeros(*zeroWords, sizes.rows, sizes.groups, sizes.bits, version); };
  const std::vector<float> stored = zerosAs(Version::V2);
  const int middle = 1 << (sizes.bits - 1);
  const std::string named = std::to_string(middle) + ", the middle of " + std::to_string(sizes.bits) + " bits";
  if (allAre(stored, middle - 1)) return {Version::V1, "every stored zero point is one less than " + named};
  if (allAre(stored, middle)) return {Version::V2, "every stored zero point is " + named};
  const Offset first = offsetOf(codes, zerosAs(Version::V1), *index, sizes), second = offsetOf(codes, stored, *index, sizes);
  const std::string means = "codes less zero points have a mean of " + text::digits(first.mean, 3) + " as v1 and " +
                            text::digits(second.mean, 3) + " as v2, +- " + text::digits(second.error, 1);
  if (std::max(first.error, second.error) > sure) return {std::nullopt, means};
  if (std::fabs(first.mean) < near && std::fabs(second.mean) > off) return {Version::V1, means};
  if (std::fabs(second.mean) < near && std::fabs(first.mean) > off) return {Version::V2, means};
  return {std::nullopt, means};
}

Decision decide(const Config& config, const Sizes& sizes, const Evidence& evidence) {
  const bool plain = 32 % sizes.bits == 0 || sizes.bits == 3;
  if (!config.version && !plain) return {Version::Planar, {}};
  const auto name = [](Version version) { return std::string(version == Version::V1 ? "v1" : "v2"); };
  if (config.version == Version::Planar) return {Version::Planar, {}};
  if (config.version) {
    if (!evidence.version || evidence.version == config.version) return {*config.version, {}};
    return {*config.version, "read as " + name(*config.version) + " by " + config.saidBy + ", but the zero points look like " +
                                 name(*evidence.version) + ": " + evidence.text};
  }
  // AutoGPTQ and auto-round's export for it write no version: theirs is the first.
  const std::string silent = !config.there           ? "there is no quantization_config"
                             : config.saidBy.empty() ? "the config does not name the version"
                                                     : "the config's " + config.saidBy + " is not known";
  if (evidence.version)
    return {*evidence.version, silent + "; read as " + name(*evidence.version) + " because " + evidence.text};
  return {Version::V1, silent + "; read as v1, the older form, and the zero points tell nothing: " +
                           (evidence.text.empty() ? "they cannot be read" : evidence.text)};
}

}  // namespace nibble::formats::gptq
