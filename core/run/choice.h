// SPDX-License-Identifier: GPL-3.0-or-later
// A choice is a scheme plus its settings: a comparable value with one text form both ways, shell-safe:
//   hqq:bits=4,group=64,axis=1
// The canonical text has all keys in table order. It is CLI argument, session entry, cache key, legend label and test-row name.
#pragma once
#include "core/schemes/scheme.h"

#include <string>
#include <string_view>
#include <vector>

namespace nibble {

class Choice {
 public:
  // A scheme with its defaults.
  explicit Choice(const Scheme& scheme);
  // Unknown ids, keys and illegal values are refused with the legal ones listed. Missing keys take the defaults.
  static Result<Choice> parse(std::string_view text);

  [[nodiscard]] const Scheme& scheme() const { return *m_scheme; }
  [[nodiscard]] const SettingValues& values() const { return m_values; }
  [[nodiscard]] const SettingValue& value(std::string_view key) const;  // the key exists
  [[nodiscard]] bool has(std::string_view key) const;
  // A changed copy; refuses unknown keys and illegal values.
  [[nodiscard]] Result<Choice> with(std::string_view key, const SettingValue& value) const;
  [[nodiscard]] Result<Choice> with(std::string_view key, std::string_view valueText) const;

  [[nodiscard]] std::string text() const;       // canonical: all keys
  [[nodiscard]] std::string shortText() const;  // keys that differ from the defaults, and bits and group where there are any
  [[nodiscard]] std::optional<std::string> refusal(MatrixSize size) const { return m_scheme->refusal(m_values, size); }

  bool operator==(const Choice& other) const { return m_scheme == other.m_scheme && m_values == other.m_values; }

 private:
  const Scheme* m_scheme;
  SettingValues m_values;
};

// One "key=a|b|lo..hi" of --vary.
struct Variation {
  std::string key;
  std::vector<std::string> values;
  static Result<Variation> parse(std::string_view text);
};
// Every combination of the variations on the choice, in order, without repeats; keys a scheme lacks leave it alone, a key that
// no choice has is an error, and so is an illegal value.
Result<std::vector<Choice>> vary(const std::vector<Choice>& choices, const std::vector<Variation>& variations);

}  // namespace nibble
