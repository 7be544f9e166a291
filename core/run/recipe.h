// SPDX-License-Identifier: GPL-3.0-or-later
// Which scheme each tensor of a model gets, as a file: the "nibble" dialect of recipes, JSON.
//   {"assignments": [{"tensor": NAME, "scheme": SCHEME}, ...],   exact names; "scheme": "skip" or null leaves it as it is
//    "skip": [REGEX, ...],                                       tensors left as they are
//    "rules": [{"match": REGEX, "scheme": SCHEME}, ...],         the first that is found in the name decides
//    "mix": "Q4_K_M"}                                            one of llama.cpp's mixes decides for the rest
// An assignment goes before skip, skip before rules, rules before the mix; a tensor that nothing names stays as it is. SCHEME
// is the text of a choice (a file it names as @FILE is looked for beside the recipe, unless its path is absolute), regular expressions are ECMAScript and are searched for. Every key is optional, at least one of
// assignments, rules and mix is there; other keys of the whole are those of `allocate`'s output ("budgetBits", "error", ...)
// and are not read, other keys of an entry neither. Stateless; safe from many threads.
#pragma once
#include "core/run/choice.h"
#include "core/run/weight_list.h"

#include <filesystem>
#include <regex>
#include <string>
#include <utility>
#include <vector>

namespace nibble {

class Recipe {
 public:
  // Errors name the entry: "rules[2].scheme: ...".
  // `folder`: where relative @FILE settings are; empty: the current one.
  static Result<Recipe> parse(const std::string& json, const std::filesystem::path& folder = {});
  static Result<Recipe> read(const std::filesystem::path& file);

  // Choices for those of `names` that get one, in their order, then for tensors that only assignments name. An assignment to a
  // tensor the model lacks is an error, and so is a recipe that chooses nothing. `importance`: whether activation data is at
  // hand, which mixes ask.
  [[nodiscard]] Result<std::vector<std::pair<std::string, Choice>>> choose(const WeightList& weights,
                                                                           const std::vector<std::string>& names,
                                                                           bool importance) const;

 private:
  struct Rule {
    std::regex match;
    Choice choice;
  };
  [[nodiscard]] std::optional<Choice> byRules(const std::string& name) const;

  std::vector<std::pair<std::string, std::optional<Choice>>> m_assignments;  // none: stays as it is
  std::vector<std::regex> m_skipped;
  std::vector<Rule> m_rules;
  std::string m_mix;
};

}  // namespace nibble
