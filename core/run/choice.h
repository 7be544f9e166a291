// SPDX-License-Identifier: GPL-3.0-or-later
// A choice is a scheme plus its settings, and the transforms before it: a comparable value with one text form both ways,
// shell-safe:
//   hqq:bits=4,group=64,axis=1
//   hadamard:block=128,seed=0/uniform:bits=4,granularity=group,group=128
// The canonical text has all keys in table order. It is CLI argument, session entry, cache key, legend label and test-row name.
#pragma once
#include "core/schemes/scheme.h"
#include "core/transforms/transform.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct ChosenTransform {
  const Transform* transform = nullptr;
  SettingValues values;
  bool operator==(const ChosenTransform&) const = default;
  static ChosenTransform withDefaults(const Transform& transform);
};

class Choice {
 public:
  // A scheme with its defaults.
  explicit Choice(const Scheme& scheme);
  // Unknown ids, keys and illegal values are refused with the legal ones listed. Missing keys take the defaults.
  static Result<Choice> parse(std::string_view text);

  [[nodiscard]] const Scheme& scheme() const { return *m_scheme; }
  [[nodiscard]] const SettingValues& values() const { return m_values; }
  // In the order they are applied. Their keys are not among the choice's own.
  [[nodiscard]] const std::vector<ChosenTransform>& transforms() const { return m_transforms; }
  [[nodiscard]] const SettingValue& value(std::string_view key) const;  // the key exists
  [[nodiscard]] bool has(std::string_view key) const;
  // A changed copy; refuses unknown keys and illegal values.
  [[nodiscard]] Result<Choice> with(std::string_view key, const SettingValue& value) const;
  [[nodiscard]] Result<Choice> with(std::string_view key, std::string_view valueText) const;
  // The same for what --vary and forms may name: a key of the scheme, else of the first transform that has it; "smooth.alpha"
  // means that transform's only.
  [[nodiscard]] bool hasAnywhere(std::string_view key) const;
  [[nodiscard]] Result<Choice> withAnywhere(std::string_view key, std::string_view valueText) const;
  // With the transform at its place in the order, or in place of itself; and without it.
  [[nodiscard]] Choice withTransform(const ChosenTransform& transform) const;
  [[nodiscard]] Choice withoutTransform(const Transform& transform) const;

  [[nodiscard]] std::string text() const;       // canonical: all keys
  [[nodiscard]] std::string shortText() const;  // keys that differ from the defaults, and bits and group where there are any
  [[nodiscard]] std::optional<std::string> refusal(MatrixSize size) const;

  bool operator==(const Choice&) const = default;

 private:
  struct Place {
    std::size_t transform, setting;
  };
  [[nodiscard]] std::optional<Place> placeInTransforms(std::string_view key) const;
  const Scheme* m_scheme;
  SettingValues m_values;
  std::vector<ChosenTransform> m_transforms;
};

// One "key=a|b|lo..hi" of --vary.
struct Variation {
  std::string key;
  std::vector<std::string> values;
  static Result<Variation> parse(std::string_view text);
};
// Every combination of the variations on the choice, in order, without repeats; keys that neither a scheme nor its transforms
// have leave it alone, a key that no choice has is an error, and so is an illegal value.
Result<std::vector<Choice>> vary(const std::vector<Choice>& choices, const std::vector<Variation>& variations);

}  // namespace nibble
