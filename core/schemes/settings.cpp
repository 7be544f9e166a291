// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/settings.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble {
namespace {

// A value of the setting's type out of its text.
std::optional<SettingValue> valueFromText(SettingType type, std::string_view word) {
  switch (type) {
    case SettingType::Boolean:
      if (word == "true" || word == "1") return SettingValue{true};
      if (word == "false" || word == "0") return SettingValue{false};
      return std::nullopt;
    case SettingType::Integer:
      if (const auto number = text::parseInteger(word)) return SettingValue{*number};
      return std::nullopt;
    case SettingType::Real:
      if (const auto number = text::parseDouble(word)) return SettingValue{*number};
      return std::nullopt;
    case SettingType::Text: return SettingValue{std::string(word)};
  }
  return std::nullopt;
}

double asNumber(const SettingValue& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
  if (const auto* real = std::get_if<double>(&value)) return *real;
  return 0;
}

bool isLegal(const SettingInfo& info, const SettingValue& value) {
  if (value.index() != info.fallback.index()) return false;
  if (!info.choices.empty()) return std::find(info.choices.begin(), info.choices.end(), value) != info.choices.end();
  if (info.type == SettingType::Boolean || info.low == info.high) return true;
  const double number = asNumber(value);
  return number >= info.low && number <= info.high;  // false for NaN
}

}  // namespace

std::string toText(const SettingValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return text::number(*integer);
  if (const auto* real = std::get_if<double>(&value)) return text::number(*real);
  return std::get<std::string>(value);
}

std::string_view name(SettingType type) {
  switch (type) {
    case SettingType::Boolean: return "boolean";
    case SettingType::Integer: return "integer";
    case SettingType::Real: return "real";
    case SettingType::Text: return "text";
  }
  return {};
}

std::string legalValues(const SettingInfo& info) {
  if (info.type == SettingType::Boolean) return "true false";
  if (!info.choices.empty()) {
    std::vector<std::string> words;
    for (const SettingValue& choice : info.choices) words.push_back(toText(choice));
    return text::join(words, " ");
  }
  if (info.low == info.high) return info.type == SettingType::Integer ? "any integer" : "any number";
  return text::number(info.low) + ".." + text::number(info.high);
}

Status checkSetting(const SettingInfo& info, const SettingValue& value) {
  if (isLegal(info, value)) return {};
  return fail(info.key + "=" + toText(value) + " is not legal; legal: " + legalValues(info));
}

Result<SettingValue> parseSetting(const SettingInfo& info, std::string_view word) {
  const auto value = valueFromText(info.type, word);
  if (!value || !isLegal(info, *value))
    return fail(info.key + "=" + std::string(word) + " is not legal; legal: " + legalValues(info));
  return *value;
}

}  // namespace nibble
