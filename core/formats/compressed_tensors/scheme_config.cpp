// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/compressed_tensors/scheme_config.h"

#include "core/formats/parts.h"

#include <algorithm>
#include <regex>

namespace nibble::formats::compressed_tensors {
namespace {

using Json = nlohmann::json;

constexpr std::string_view patternMark = "re:";
constexpr std::size_t longestPattern = 256, longestName = 512;  // a regular expression recurses over what it matches

bool isPattern(const std::string& target) {
  return target.starts_with(patternMark);
}

bool namesModule(const std::string& target, const std::string& module) {
  if (!isPattern(target)) return target == module;
  if (target.size() > longestPattern || module.size() > longestName) return false;
  try {
    std::smatch match;
    const std::regex pattern(target.substr(patternMark.size()), std::regex::ECMAScript);
    return std::regex_search(module, match, pattern, std::regex_constants::match_continuous);
  } catch (const std::regex_error&) {
    return false;
  }
}

// A class name, not a module's: "Linear".
bool isClass(const std::string& target) {
  return !isPattern(target) && target.find('.') == std::string::npos && !target.empty() && target[0] >= 'A' && target[0] <= 'Z';
}

std::optional<std::int64_t> positive(const Json& object, const char* key) {
  const auto value = integerAt(object, key);
  return value && *value > 0 ? value : std::nullopt;
}

WeightArguments argumentsOf(const Json& weights) {
  WeightArguments arguments;
  arguments.bits = positive(weights, "num_bits");
  arguments.group = positive(weights, "group_size");
  if (weights.contains("symmetric") && weights["symmetric"].is_boolean())
    arguments.symmetric = weights["symmetric"].get<bool>();
  if (weights.contains("block_structure") && weights["block_structure"].is_array() && weights["block_structure"].size() == 2) {
    const Json &rows = weights["block_structure"][0], &columns = weights["block_structure"][1];
    if (rows.is_number_unsigned() && columns.is_number_unsigned() && rows != 0 && columns != 0)
      arguments.block = std::pair(rows.get<std::uint64_t>(), columns.get<std::uint64_t>());
  }
  return arguments;
}

}  // namespace

SchemeConfig SchemeConfig::of(const Checkpoint& checkpoint) {
  SchemeConfig scheme;
  const Json config = configOf(checkpoint);
  const Json& quantization =
      config.contains("quantization_config") ? objectAt(config, "quantization_config") : objectAt(config, "compression_config");
  const std::string method = textAt(quantization, "quant_method"), packing = textAt(quantization, "packing_format");
  scheme.m_present =
      method == "compressed-tensors" || (method == "auto-round" && packing.find("llm_compressor") != std::string::npos);
  scheme.m_type = formats::modelType(config);
  for (const auto& [name, group] : objectAt(quantization, "config_groups").items()) {
    if (!group.is_object() || !group.contains("targets") || !group["targets"].is_array()) continue;
    Group entry;
    for (const Json& target : group["targets"])
      if (target.is_string()) entry.targets.push_back(target.get<std::string>());
    entry.arguments = argumentsOf(objectAt(group, "weights"));
    scheme.m_groups.push_back(std::move(entry));
  }
  return scheme;
}

WeightArguments SchemeConfig::argumentsFor(const std::string& module) const {
  for (const Group& group : m_groups)
    for (const std::string& target : group.targets)
      if (namesModule(target, module)) return group.arguments;
  for (const Group& group : m_groups)
    if (std::any_of(group.targets.begin(), group.targets.end(), isClass)) return group.arguments;
  return {};
}

}  // namespace nibble::formats::compressed_tensors
