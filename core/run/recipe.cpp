// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/recipe.h"

#include "core/schemes/gguf_mixes.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace nibble {
namespace {

using Json = nlohmann::json;

constexpr std::size_t longestPattern = 256, longestName = 512;  // a regular expression recurses over what it matches

std::string place(const char* list, std::size_t index, const char* key = nullptr) {
  return std::string(list) + "[" + std::to_string(index) + "]" + (key != nullptr ? std::string(".") + key : std::string());
}

Result<std::string> textOf(const Json& object, const char* key, const std::string& where) {
  if (!object.is_object() || !object.contains(key) || !object[key].is_string()) return fail(where + ": expected a text");
  return object[key].get<std::string>();
}

Result<std::regex> patternOf(const std::string& text, const std::string& where) try {
  if (text.size() > longestPattern) return fail(where + ": longer than a pattern may be");
  return std::regex(text, std::regex::ECMAScript);
} catch (const std::regex_error& error) {
  return fail(where + ": '" + text + "' is not a regular expression: " + error.what());
}

Result<Choice> choiceOf(const std::string& text, const std::string& where, const std::filesystem::path& folder) {
  auto choice = Choice::parse(text);
  if (!choice) return fail(choice.error().within(where));
  for (const SettingInfo& setting : choice->scheme().settings()) {
    const auto* file = std::get_if<std::string>(&choice->value(setting.key));
    if (folder.empty() || file == nullptr || !file->starts_with('@')) continue;
    const std::filesystem::path path = file->substr(1);
    if (path.empty() || path.is_absolute()) continue;
    auto beside = choice->with(setting.key, SettingValue("@" + (folder / path).string()));
    if (!beside) return fail(beside.error().within(where));
    choice = std::move(beside);
  }
  return choice;
}

// The list under a key, empty where there is none.
Result<Json> listAt(const Json& recipe, const char* key) {
  if (!recipe.contains(key) || recipe[key].is_null()) return Json::array();
  if (!recipe[key].is_array()) return fail(std::string(key) + ": expected a list");
  return recipe[key];
}

bool found(const std::regex& pattern, const std::string& name) {
  return name.size() <= longestName && std::regex_search(name, pattern);
}

}  // namespace

Result<Recipe> Recipe::parse(const std::string& text, const std::filesystem::path& folder) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail("a recipe is a JSON object with assignments, rules, skip or mix");
  Recipe recipe;
  const auto assignments = listAt(json, "assignments"), rules = listAt(json, "rules"), skip = listAt(json, "skip");
  for (const auto* list : {&assignments, &rules, &skip})
    if (!*list) return fail(list->error());
  std::set<std::string> named;
  for (std::size_t i = 0; i < assignments->size(); ++i) {
    const Json& entry = (*assignments)[i];
    const auto tensor = textOf(entry, "tensor", place("assignments", i, "tensor"));
    if (!tensor) return fail(tensor.error());
    if (!named.insert(*tensor).second) return fail(place("assignments", i) + ": " + *tensor + " is assigned twice");
    const bool stays = entry.contains("scheme") && (entry["scheme"].is_null() || entry["scheme"] == "skip");
    if (stays) {
      recipe.m_assignments.emplace_back(*tensor, std::nullopt);
      continue;
    }
    const std::string where = place("assignments", i, "scheme");
    const auto scheme = textOf(entry, "scheme", where);
    if (!scheme) return fail(scheme.error());
    auto choice = choiceOf(*scheme, where, folder);
    if (!choice) return fail(choice.error());
    recipe.m_assignments.emplace_back(*tensor, *std::move(choice));
  }
  for (std::size_t i = 0; i < rules->size(); ++i) {
    const auto match = textOf((*rules)[i], "match", place("rules", i, "match")),
               scheme = textOf((*rules)[i], "scheme", place("rules", i, "scheme"));
    if (!match) return fail(match.error());
    if (!scheme) return fail(scheme.error());
    auto pattern = patternOf(*match, place("rules", i, "match"));
    auto choice = choiceOf(*scheme, place("rules", i, "scheme"), folder);
    if (!pattern) return fail(pattern.error());
    if (!choice) return fail(choice.error());
    recipe.m_rules.push_back({*std::move(pattern), *std::move(choice)});
  }
  for (std::size_t i = 0; i < skip->size(); ++i) {
    if (!(*skip)[i].is_string()) return fail(place("skip", i) + ": expected a text");
    auto pattern = patternOf((*skip)[i].get<std::string>(), place("skip", i));
    if (!pattern) return fail(pattern.error());
    recipe.m_skipped.push_back(*std::move(pattern));
  }
  if (json.contains("mix")) {
    const auto mix = textOf(json, "mix", "mix");
    if (!mix) return fail(mix.error());
    recipe.m_mix = *mix;
  }
  if (recipe.m_assignments.empty() && recipe.m_rules.empty() && recipe.m_mix.empty())
    return fail("the recipe has neither assignments nor rules nor a mix");
  return recipe;
}

Result<Recipe> Recipe::read(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream.is_open() || stream.bad()) return fail(file.string() + ": cannot be read");
  const std::filesystem::path folder = file.parent_path();
  auto recipe = parse(text, folder.empty() ? "." : folder);
  if (!recipe) return fail(recipe.error().within(file.string()));
  return recipe;
}

std::optional<Choice> Recipe::byRules(const std::string& name) const {
  for (const Rule& rule : m_rules)
    if (found(rule.match, name)) return rule.choice;
  return std::nullopt;
}

Result<std::vector<std::pair<std::string, Choice>>> Recipe::choose(const WeightList& weights,
                                                                   const std::vector<std::string>& names,
                                                                   bool importance) const {
  std::map<std::string, std::optional<Choice>> decided(m_assignments.begin(), m_assignments.end());
  for (const auto& [name, choice] : m_assignments)
    if (const auto shape = weights.shapeOf(name); !shape) return fail(shape.error().within("assignments"));
  std::vector<MixTensor> all;  // a mix looks at the whole model, whatever it is asked about
  for (const std::string& name : names) {
    const auto shape = weights.shapeOf(name);
    if (!m_mix.empty() && shape && !shape->empty())
      all.push_back({name, elementCount(*shape) / std::max<std::uint64_t>(shape->back(), 1), shape->back(),
                     static_cast<int>(shape->size())});
    if (decided.count(name) != 0) continue;
    if (std::any_of(m_skipped.begin(), m_skipped.end(), [&](const auto& pattern) { return found(pattern, name); }))
      decided.emplace(name, std::nullopt);
    else if (auto choice = byRules(name))
      decided.emplace(name, *std::move(choice));
  }
  if (!all.empty()) {
    const auto mixed = mixAssignments(m_mix, all, importance);
    if (!mixed) return fail(mixed.error().within("mix"));
    for (const MixAssignment& assignment : *mixed) {
      if (assignment.scheme.empty() || decided.count(assignment.tensor) != 0) continue;
      auto choice = choiceOf(assignment.scheme, "mix " + m_mix, {});
      if (!choice) return fail(choice.error());
      decided.emplace(assignment.tensor, *std::move(choice));
    }
  }
  std::vector<std::pair<std::string, Choice>> chosen;
  std::set<std::string> taken;
  const auto take = [&](const std::string& name) {
    const auto decision = decided.find(name);
    if (decision != decided.end() && decision->second && taken.insert(name).second)
      chosen.emplace_back(name, *decision->second);
  };
  for (const std::string& name : names) take(name);
  for (const auto& [name, choice] : m_assignments) take(name);
  if (chosen.empty()) return fail("the recipe chooses no tensor of this model");
  return chosen;
}

}  // namespace nibble
