// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/choice.h"

#include "core/base/text.h"

#include <algorithm>
#include <set>

namespace nibble {
namespace {

std::string schemeIds() {
  std::vector<std::string> ids;
  for (const Scheme* scheme : allSchemes()) ids.emplace_back(scheme->info().id);
  return text::join(ids, " ");
}

std::string transformIds() {
  std::vector<std::string> ids;
  for (const Transform* transform : allTransforms()) ids.emplace_back(transform->info().id);
  return text::join(ids, " ");
}

std::string settingKeys(const std::vector<SettingInfo>& settings) {
  std::vector<std::string> keys;
  for (const SettingInfo& info : settings) keys.push_back(info.key);
  return keys.empty() ? "none" : text::join(keys, " ");
}

std::optional<std::size_t> indexOf(const Scheme& scheme, std::string_view key) {
  const auto& infos = scheme.settings();
  for (std::size_t i = 0; i < infos.size(); ++i)
    if (infos[i].key == key) return i;
  return std::nullopt;
}

Error unknownKey(const Scheme& scheme, std::string_view key) {
  return {ErrorKind::Input, std::string(scheme.info().id) + " has no setting '" + std::string(key) + "'; it has: " + settingKeys(scheme.settings())};
}

// What stays visible in a short label although it is the default: the figures a person compares by.
bool isTelling(const SettingInfo& info) { return info.key == "bits" || info.key == "group" || info.key == "block"; }

}  // namespace

Choice::Choice(const Scheme& scheme) : m_scheme(&scheme) {
  for (const SettingInfo& info : scheme.settings()) m_values.push_back(info.fallback);
}

ChosenTransform ChosenTransform::withDefaults(const Transform& transform) {
  ChosenTransform chosen{&transform, {}};
  for (const SettingInfo& info : transform.settings()) chosen.values.push_back(info.fallback);
  return chosen;
}

namespace {

Result<ChosenTransform> parseTransform(std::string_view textForm) {
  const std::size_t colon = textForm.find(':');
  const std::string id(textForm.substr(0, colon));
  const Transform* transform = findTransform(id);
  if (transform == nullptr) return fail("unknown transform '" + id + "'; known before '/': " + transformIds());
  ChosenTransform chosen = ChosenTransform::withDefaults(*transform);
  const auto& infos = transform->settings();
  if (colon == std::string_view::npos) return chosen;
  std::set<std::string, std::less<>> seen;
  for (const std::string& part : text::split(textForm.substr(colon + 1), ',')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos)
      return fail("'" + std::string(textForm) + "': expected key=value, found '" + part + "'; keys: " + settingKeys(infos));
    const std::string key = part.substr(0, equals);
    if (!seen.insert(key).second) return fail("'" + std::string(textForm) + "': " + key + " is given twice");
    const auto info = std::find_if(infos.begin(), infos.end(), [&](const SettingInfo& known) { return known.key == key; });
    if (info == infos.end()) return fail(id + " has no setting '" + key + "'; it has: " + settingKeys(infos));
    auto value = parseSetting(*info, std::string_view(part).substr(equals + 1));
    if (!value) return fail(value.error().within(id));
    chosen.values[static_cast<std::size_t>(info - infos.begin())] = *std::move(value);
  }
  return chosen;
}

// Transforms stand in the order of the catalogue, each once: the decoder undoes them in one order only.
std::ptrdiff_t placeOf(const ChosenTransform& chosen) {
  const auto all = allTransforms();
  return std::find(all.begin(), all.end(), chosen.transform) - all.begin();
}

Status checkOrder(const std::vector<ChosenTransform>& transforms, std::string_view textForm) {
  for (std::size_t i = 1; i < transforms.size(); ++i)
    if (placeOf(transforms[i - 1]) >= placeOf(transforms[i]))
      return fail("'" + std::string(textForm) + "': transforms stand in this order, each once: " + transformIds());
  return {};
}

}  // namespace

namespace {

// Where the scheme begins: after the last '/' before any @FILE, whose path may have its own.
std::size_t schemeBegin(std::string_view textForm) {
  const std::size_t slash = textForm.substr(0, textForm.find('@')).rfind('/');
  return slash == std::string_view::npos ? 0 : slash + 1;
}

}  // namespace

Result<Choice> Choice::parse(std::string_view textForm) {
  if (const std::size_t begin = schemeBegin(textForm); begin != 0) {
    std::vector<ChosenTransform> transforms;
    for (const std::string& part : text::split(textForm.substr(0, begin - 1), '/')) {
      auto transform = parseTransform(part);
      if (!transform) return fail(transform.error());
      transforms.push_back(*std::move(transform));
    }
    NIBBLE_TRY(checkOrder(transforms, textForm));
    auto choice = parse(textForm.substr(begin));
    if (choice) choice->m_transforms = std::move(transforms);
    return choice;
  }
  const std::size_t colon = textForm.find(':');
  const std::string_view id = textForm.substr(0, colon);
  const Scheme* scheme = findScheme(id);
  if (scheme == nullptr) return fail("unknown scheme '" + std::string(id) + "'; known: " + schemeIds());
  Choice choice(*scheme);
  if (colon == std::string_view::npos) return choice;
  std::set<std::string, std::less<>> seen;
  for (const std::string& part : text::split(textForm.substr(colon + 1), ',')) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos)
      return fail("'" + std::string(textForm) + "': expected key=value, found '" + part + "'; keys: " + settingKeys(scheme->settings()));
    const std::string key = part.substr(0, equals);
    if (!seen.insert(key).second) return fail("'" + std::string(textForm) + "': " + key + " is given twice");
    auto changed = choice.with(key, std::string_view(part).substr(equals + 1));
    if (!changed) return changed;
    choice = *std::move(changed);
  }
  return choice;
}

const SettingValue& Choice::value(std::string_view key) const { return m_values[indexOf(*m_scheme, key).value()]; }

bool Choice::has(std::string_view key) const { return indexOf(*m_scheme, key).has_value(); }

Result<Choice> Choice::with(std::string_view key, const SettingValue& value) const {
  const auto index = indexOf(*m_scheme, key);
  if (!index) return fail(unknownKey(*m_scheme, key));
  if (auto legal = checkSetting(m_scheme->settings()[*index], value); !legal)
    return fail(legal.error().within(std::string(m_scheme->info().id)));
  Choice changed = *this;
  changed.m_values[*index] = value;
  return changed;
}

Result<Choice> Choice::with(std::string_view key, std::string_view valueText) const {
  const auto index = indexOf(*m_scheme, key);
  if (!index) return fail(unknownKey(*m_scheme, key));
  auto value = parseSetting(m_scheme->settings()[*index], valueText);
  if (!value) return fail(value.error().within(std::string(m_scheme->info().id)));
  Choice changed = *this;
  changed.m_values[*index] = *std::move(value);
  return changed;
}

std::optional<Choice::Place> Choice::placeInTransforms(std::string_view key) const {
  const std::size_t dot = key.find('.');
  const std::string_view owner = dot == std::string_view::npos ? std::string_view() : key.substr(0, dot);
  const std::string_view name = dot == std::string_view::npos ? key : key.substr(dot + 1);
  for (std::size_t i = 0; i < m_transforms.size(); ++i) {
    if (!owner.empty() && m_transforms[i].transform->info().id != owner) continue;
    const auto& infos = m_transforms[i].transform->settings();
    for (std::size_t j = 0; j < infos.size(); ++j)
      if (infos[j].key == name) return Place{i, j};
  }
  return std::nullopt;
}

bool Choice::hasAnywhere(std::string_view key) const { return has(key) || placeInTransforms(key).has_value(); }

Result<Choice> Choice::withAnywhere(std::string_view key, std::string_view valueText) const {
  const auto place = placeInTransforms(key);
  if (has(key) || !place) return with(key, valueText);
  const Transform& transform = *m_transforms[place->transform].transform;
  auto value = parseSetting(transform.settings()[place->setting], valueText);
  if (!value) return fail(value.error().within(std::string(transform.info().id)));
  Choice changed = *this;
  changed.m_transforms[place->transform].values[place->setting] = *std::move(value);
  return changed;
}

Choice Choice::withTransform(const ChosenTransform& transform) const {
  Choice changed = withoutTransform(*transform.transform);
  auto& all = changed.m_transforms;
  all.insert(std::find_if(all.begin(), all.end(), [&](const auto& other) { return placeOf(other) > placeOf(transform); }), transform);
  return changed;
}

Choice Choice::withoutTransform(const Transform& transform) const {
  Choice changed = *this;
  std::erase_if(changed.m_transforms, [&](const ChosenTransform& chosen) { return chosen.transform == &transform; });
  return changed;
}

std::optional<std::string> Choice::refusal(MatrixSize size) const {
  for (const ChosenTransform& chosen : m_transforms)
    if (auto reason = chosen.transform->refusal(chosen.values, size, m_scheme->info())) return reason;
  return m_scheme->refusal(m_values, size);
}

std::string Choice::text() const {
  std::string form;
  for (const ChosenTransform& chosen : m_transforms) {
    form += chosen.transform->info().id;
    for (std::size_t i = 0; i < chosen.values.size(); ++i)
      form += (i == 0 ? ":" : ",") + chosen.transform->settings()[i].key + "=" + toText(chosen.values[i]);
    form += "/";
  }
  form += m_scheme->info().id;
  for (std::size_t i = 0; i < m_values.size(); ++i)
    form += (i == 0 ? ":" : ",") + m_scheme->settings()[i].key + "=" + toText(m_values[i]);
  return form;
}

std::string Choice::shortText() const {
  std::string form;
  for (const ChosenTransform& chosen : m_transforms) {
    form += chosen.transform->info().id;
    bool none = true;
    for (std::size_t i = 0; i < chosen.values.size(); ++i) {
      const SettingInfo& info = chosen.transform->settings()[i];
      if (chosen.values[i] == info.fallback && !isTelling(info)) continue;
      form += (none ? ":" : ",") + info.key + "=" + toText(chosen.values[i]);
      none = false;
    }
    form += "/";
  }
  form += m_scheme->info().id;
  bool first = true;
  for (std::size_t i = 0; i < m_values.size(); ++i) {
    const SettingInfo& info = m_scheme->settings()[i];
    if (m_values[i] == info.fallback && !isTelling(info)) continue;
    const bool idle = !info.onlyKey.empty() && std::find(info.onlyValues.begin(), info.onlyValues.end(), value(info.onlyKey)) ==
                                                   info.onlyValues.end();
    if (idle) continue;
    form += (first ? ":" : ",") + info.key + "=" + toText(m_values[i]);
    first = false;
  }
  return form;
}

Result<Variation> Variation::parse(std::string_view textForm) {
  const std::size_t equals = textForm.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == textForm.size())
    return fail("'" + std::string(textForm) + "': expected key=a|b or key=lo..hi", ErrorKind::Usage);
  Variation variation{std::string(textForm.substr(0, equals)), {}};
  for (const std::string& part : text::split(textForm.substr(equals + 1), '|')) {
    const std::size_t dots = part.find("..");
    if (dots == std::string::npos) {
      variation.values.push_back(part);
      continue;
    }
    const auto low = text::parseInteger(std::string_view(part).substr(0, dots));
    const auto high = text::parseInteger(std::string_view(part).substr(dots + 2));
    if (!low || !high || *low > *high || *high - *low > 10000)
      return fail("'" + part + "': expected lo..hi, integers, lo not above hi", ErrorKind::Usage);
    for (std::int64_t value = *low; value <= *high; ++value) variation.values.push_back(text::number(value));
  }
  return variation;
}

Result<std::vector<Choice>> vary(const std::vector<Choice>& choices, const std::vector<Variation>& variations) {
  std::vector<Choice> varied = choices;
  for (const Variation& variation : variations) {
    std::vector<Choice> next;
    bool known = false;
    for (const Choice& choice : varied) {
      if (!choice.hasAnywhere(variation.key)) {
        if (std::find(next.begin(), next.end(), choice) == next.end()) next.push_back(choice);
        continue;
      }
      known = true;
      for (const std::string& value : variation.values) {
        auto changed = choice.withAnywhere(variation.key, value);
        if (!changed) return fail(changed.error());
        if (std::find(next.begin(), next.end(), *changed) == next.end()) next.push_back(*std::move(changed));
      }
    }
    if (!known) return fail("no scheme given has a setting '" + variation.key + "' to vary");
    varied = std::move(next);
  }
  return varied;
}

}  // namespace nibble
