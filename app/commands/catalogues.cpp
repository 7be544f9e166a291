// SPDX-License-Identifier: GPL-3.0-or-later
// schemes, formats, targets: what this program knows, from the tables the window is built from.
#include "app/program.h"
#include "app/text_table.h"
#include "core/base/text.h"
#include "core/formats/format.h"
#include "core/run/choice.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <random>
#include <set>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

Json valueJson(const SettingValue& value) {
  return std::visit([](const auto& held) { return Json(held); }, value);
}

Json settingJson(const SettingInfo& info) {
  Json json{{"key", info.key}, {"label", info.label}, {"type", name(info.type)}, {"default", valueJson(info.fallback)}};
  if (!info.choices.empty()) {
    json["choices"] = Json::array();
    for (const SettingValue& choice : info.choices) json["choices"].push_back(valueJson(choice));
  } else if (info.low != info.high) {
    if (info.type == SettingType::Integer) {
      json["range"] = {static_cast<std::int64_t>(info.low), static_cast<std::int64_t>(info.high)};
    } else {
      json["range"] = {info.low, info.high};
    }
  }
  if (!info.unit.empty()) json["unit"] = info.unit;
  json["help"] = info.help;
  return json;
}

// A matrix on which every scheme works, small enough to try many settings on it.
Tensor trialWeights() {
  constexpr std::uint64_t rows = 128, columns = 256;
  std::minstd_rand random(1);
  std::vector<float> values(rows * columns);
  for (float& value : values) value = (static_cast<float>(random() % 4096) - 2048.0f) / 65536.0f;
  return Tensor::fromFloats("trial", {rows, columns}, std::move(values));
}

// The defaults, and every pair of settings moved to values worth offering.
std::vector<Choice> trialChoices(const Scheme& scheme) {
  std::vector<Choice> choices{Choice(scheme)};
  for (int round = 0; round < 2; ++round) {
    const std::vector<Choice> before = choices;
    for (const SettingInfo& info : scheme.settings()) {
      const auto& values = info.offers.empty() ? info.choices : info.offers;
      for (const Choice& choice : before)
        for (const SettingValue& value : values)
          if (auto changed = choice.with(info.key, value);
              changed && std::find(choices.begin(), choices.end(), *changed) == choices.end())
            choices.push_back(*std::move(changed));
    }
  }
  return choices;
}

// Formats that hold this scheme under some settings, found by asking them.
std::vector<std::string> formatsOf(const Scheme& scheme, const Tensor& weights, const Context& context) {
  std::set<std::string_view> found;
  for (const Choice& choice : trialChoices(scheme)) {
    if (found.size() == allFormats().size() || context.stopRequested()) break;
    if (choice.refusal({weights.rows(), weights.columns()})) continue;
    const auto quantized = scheme.quantize(weights, choice.values(), context);
    if (!quantized) continue;
    for (const Format* format : allFormats())
      if (!format->refusal(*quantized)) found.insert(format->info().id);
  }
  std::vector<std::string> ids;
  for (const Format* format : allFormats())
    if (found.contains(format->info().id)) ids.emplace_back(format->info().id);
  return ids;
}

Json schemeJson(const Scheme& scheme, const Tensor& weights, const Context& context) {
  const SchemeInfo& about = scheme.info();
  Json json{{"id", about.id}, {"name", about.title}, {"summary", about.summary}, {"reference", about.reference}};
  json["settings"] = Json::array();
  for (const SettingInfo& info : scheme.settings()) json["settings"].push_back(settingJson(info));
  json["promises"] = Json::array();
  for (const Promise promise : scheme.promises(Choice(scheme).values())) json["promises"].push_back(name(promise));
  json["formats"] = formatsOf(scheme, weights, context);
  return json;
}

// What may stand before a scheme.
Json transformsJson(const Scheme& scheme) {
  Json list = Json::array();
  for (const Transform* transform : allTransforms()) {
    SettingValues defaults;
    for (const SettingInfo& info : transform->settings()) defaults.push_back(info.fallback);
    if (transform->refusal(defaults, {8192, 8192}, scheme.info())) continue;
    const TransformInfo& about = transform->info();
    Json json{{"id", about.id}, {"name", about.title}, {"summary", about.summary}, {"reference", about.reference}};
    json["settings"] = Json::array();
    for (const SettingInfo& info : transform->settings()) json["settings"].push_back(settingJson(info));
    list.push_back(json);
  }
  return list;
}

void printSettings(Program& program, const std::vector<SettingInfo>& settings) {
  TextTable table({{"  key"}, {"default"}, {"legal"}, {"what"}});
  for (const SettingInfo& info : settings) table.add({"  " + info.key, toText(info.fallback), legalValues(info), info.help});
  program.print(table.text() + "\n");
}

Result<ExitStatus> schemes(Program& program, bool asJson) {
  if (asJson) {
    const Tensor weights = trialWeights();
    Json list = Json::array();
    for (const Scheme* scheme : allSchemes()) {
      list.push_back(schemeJson(*scheme, weights, program.context()));
      list.back()["transforms"] = transformsJson(*scheme);
    }
    if (program.context().stopRequested()) return cancelled();
    program.printJson(list);
    return ExitStatus::Done;
  }
  for (const Scheme* scheme : allSchemes()) {
    const SchemeInfo& about = scheme->info();
    program.print(std::string(about.id) + "  " + std::string(about.summary) + " (" + std::string(about.reference) + ")\n");
    printSettings(program, scheme->settings());
  }
  for (const Transform* transform : allTransforms()) {
    const TransformInfo& about = transform->info();
    program.print(std::string(about.id) + "/SCHEME  " + std::string(about.summary) + " (" + std::string(about.reference) + ")\n");
    printSettings(program, transform->settings());
  }
  return ExitStatus::Done;
}

Result<ExitStatus> formats(Program& program, bool asJson) {
  Json list = Json::array();
  TextTable table({{"format"}, {"loaded by"}, {"what"}});
  for (const Format* format : allFormats()) {
    const FormatInfo& about = format->info();
    const std::vector<std::string> runtimes(about.runtimes.begin(), about.runtimes.end());
    list.push_back({{"id", about.id},
                    {"name", about.id},
                    {"summary", about.summary},
                    {"reference", about.reference},
                    {"runtimes", runtimes},
                    {"extension", about.extension}});
    table.add({std::string(about.id), runtimes.empty() ? "-" : text::join(runtimes, " "), std::string(about.summary)});
  }
  if (asJson) {
    program.printJson(list);
  } else {
    program.print(table.text());
  }
  return ExitStatus::Done;
}

// Runtimes have no table of their own: they are what the formats name.
Result<ExitStatus> targets(Program& program, bool asJson) {
  Json list = Json::array();
  TextTable table({{"target"}, {"formats"}});
  for (const std::string& id : runtimeIds()) {
    std::vector<std::string> loads;
    for (const Format* format : allFormats())
      if (std::find(format->info().runtimes.begin(), format->info().runtimes.end(), id) != format->info().runtimes.end())
        loads.emplace_back(format->info().id);
    list.push_back({{"id", id}, {"name", id}, {"summary", "loads " + text::join(loads, ", ")}, {"formats", loads}});
    table.add({id, text::join(loads, " ")});
  }
  if (asJson) {
    program.printJson(list);
  } else {
    program.print(table.text());
  }
  return ExitStatus::Done;
}

void addCatalogue(CLI::App& app, Action& chosen, const char* name, const char* summary,
                  Result<ExitStatus> (*action)(Program&, bool)) {
  auto* command = app.add_subcommand(name, summary);
  const auto asJson = std::make_shared<bool>(false);
  command->add_flag("--json", *asJson, "One JSON document");
  command->callback(
      [&chosen, asJson, action] { chosen = [asJson, action](Program& program) { return action(program, *asJson); }; });
}

}  // namespace

void addCatalogues(CLI::App& app, Action& chosen) {
  addCatalogue(app, chosen, "schemes", "Quantization schemes with their settings", schemes);
  addCatalogue(app, chosen, "formats", "Packed formats", formats);
  addCatalogue(app, chosen, "targets", "Runtimes that load them", targets);
}

}  // namespace nibble::cli
