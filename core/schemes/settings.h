// SPDX-License-Identifier: GPL-3.0-or-later
// Settings as data: a scheme binds the members of a plain struct to a table of descriptions. Form widgets, command-line keys,
// the text form, the documentation and the tests' rows all come out of that table.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

namespace nibble {

using SettingValue = std::variant<bool, std::int64_t, double, std::string>;

std::string toText(const SettingValue& value);  // "true", "4", "1.58", "channel"

enum class SettingType : std::uint8_t { Boolean, Integer, Real, Text };
std::string_view name(SettingType type);      // "boolean", "integer", "real", "text"

struct SettingInfo {
  std::string key;        // in the text form: "bits"
  std::string label;      // on the form: "Bits"
  SettingType type = SettingType::Integer;
  SettingValue fallback;  // the default
  std::vector<SettingValue> choices;  // legal values, where they are few; else empty
  double low = 0, high = 0;           // legal range, where there are no choices; equal: any
  std::vector<SettingValue> offers;   // values worth offering (sweeps, segments), all legal; empty: choices, or the range
  std::string unit;       // "bits", "weights" or empty
  std::string help;       // one sentence
  // Which other setting makes this one meaningless, as a hint to forms: shown only when `onlyKey` has one of `onlyValues`.
  std::string onlyKey;
  std::vector<SettingValue> onlyValues;
};

// Reads one value; refuses illegal ones and lists the legal ones.
Result<SettingValue> parseSetting(const SettingInfo& info, std::string_view text);
Status checkSetting(const SettingInfo& info, const SettingValue& value);
std::string legalValues(const SettingInfo& info);  // "2 3 4 8", "1..8"

using SettingValues = std::vector<SettingValue>;  // in table order

// Binds `Settings` members to descriptions:
//   static const auto table = SettingTable<Settings>{}
//       .integer("bits", &Settings::bits, "Bits", {.low = 2, .high = 16, .unit = "bits", .help = "..."})
template <class Settings>
class SettingTable {
 public:
  struct Extra {
    std::vector<SettingValue> choices{};
    double low = 0, high = 0;
    std::vector<SettingValue> offers{};
    std::string unit{}, help{}, onlyKey{};
    std::vector<SettingValue> onlyValues{};
  };
  SettingTable& boolean(std::string key, bool Settings::*member, std::string label, Extra extra) {
    return add(std::move(key), std::move(label), SettingType::Boolean, SettingValue{Settings{}.*member}, std::move(extra),
               [member](Settings& s, const SettingValue& v) { s.*member = std::get<bool>(v); });
  }
  SettingTable& integer(std::string key, std::int64_t Settings::*member, std::string label, Extra extra) {
    return add(std::move(key), std::move(label), SettingType::Integer, SettingValue{Settings{}.*member}, std::move(extra),
               [member](Settings& s, const SettingValue& v) { s.*member = std::get<std::int64_t>(v); });
  }
  SettingTable& real(std::string key, double Settings::*member, std::string label, Extra extra) {
    return add(std::move(key), std::move(label), SettingType::Real, SettingValue{Settings{}.*member}, std::move(extra),
               [member](Settings& s, const SettingValue& v) { s.*member = std::get<double>(v); });
  }
  SettingTable& text(std::string key, std::string Settings::*member, std::string label, Extra extra) {
    return add(std::move(key), std::move(label), SettingType::Text, SettingValue{Settings{}.*member}, std::move(extra),
               [member](Settings& s, const SettingValue& v) { s.*member = std::get<std::string>(v); });
  }
  // Another default for the setting added last, where one table serves several schemes.
  SettingTable& fallback(SettingValue value) {
    m_infos.back().fallback = std::move(value);
    return *this;
  }
  [[nodiscard]] const std::vector<SettingInfo>& infos() const { return m_infos; }
  [[nodiscard]] Settings read(const SettingValues& values) const {
    Settings settings;
    for (std::size_t i = 0; i < values.size(); ++i) m_setters[i](settings, values[i]);
    return settings;
  }

 private:
  SettingTable& add(std::string key, std::string label, SettingType type, SettingValue fallback, Extra extra,
                    std::function<void(Settings&, const SettingValue&)> setter) {
    m_infos.push_back({std::move(key), std::move(label), type, std::move(fallback), std::move(extra.choices), extra.low,
                       extra.high, std::move(extra.offers), std::move(extra.unit), std::move(extra.help),
                       std::move(extra.onlyKey), std::move(extra.onlyValues)});
    m_setters.push_back(std::move(setter));
    return *this;
  }
  std::vector<SettingInfo> m_infos;
  std::vector<std::function<void(Settings&, const SettingValue&)>> m_setters;
};

}  // namespace nibble
