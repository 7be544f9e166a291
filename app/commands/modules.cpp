// SPDX-License-Identifier: GPL-3.0-or-later
// modules TREE.json [--replace TYPE=SCHEME] [--skip NAME]: a module tree, listed, and its layers replaced by type.
#include "app/program.h"
#include "core/layers/module_tree.h"
#include "core/run/choice.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace nibble::cli {
namespace {

struct Options {
  std::string tree;
  std::vector<std::string> replacements, skip;
  bool json = false;
};

struct Replacement {
  std::string type, scheme;
};

Result<std::vector<Replacement>> parseReplacements(const std::vector<std::string>& texts) {
  std::vector<Replacement> list;
  for (const std::string& text : texts) {
    const std::size_t sign = text.find('=');
    if (sign == 0 || sign == std::string::npos)
      return fail("--replace " + text + ": TYPE=SCHEME, as Linear=uniform", ErrorKind::Usage);
    const auto choice = Choice::parse(text.substr(sign + 1));
    if (!choice) return fail(choice.error().within("--replace " + text));
    const std::string type = text.substr(0, sign);
    if (std::any_of(list.begin(), list.end(), [&](const Replacement& known) { return known.type == type; }))
      return fail("--replace " + text + ": " + type + " is replaced twice", ErrorKind::Usage);
    list.push_back({type, choice->text()});
  }
  return list;
}

// What each module is replaced by; empty: it stays.
std::vector<std::string> replaced(const Program& program, const Options& options, const std::vector<Module>& modules,
                                  const std::vector<Replacement>& replacements) {
  std::vector<std::string> by(modules.size());
  for (const Replacement& replacement : replacements) {
    const auto places = modulesOfType(modules, replacement.type, options.skip);
    for (const std::size_t place : places) by[place] = replacement.scheme;
    if (places.empty()) program.warn("no module of type " + replacement.type + " is left to replace");
  }
  for (const std::string& name : options.skip)
    if (std::none_of(modules.begin(), modules.end(), [&](const Module& module) { return isSkipped(module, name); }))
      program.warn("--skip " + name + ": no module is named so");
  return by;
}

Result<ExitStatus> modulesCommand(Program& program, const Options& options) {
  const auto replacements = parseReplacements(options.replacements);
  if (!replacements) return fail(replacements.error());
  const auto modules = readModuleTree(options.tree);
  if (!modules) return fail(modules.error());
  const std::vector<std::string> by = replaced(program, options, *modules, *replacements);
  if (options.json) {
    nlohmann::ordered_json json = {{"modules", nlohmann::ordered_json::array()}, {"replaced", nlohmann::ordered_json::array()}};
    for (std::size_t i = 0; i < modules->size(); ++i) {
      nlohmann::ordered_json entry = {{"name", (*modules)[i].name}, {"type", (*modules)[i].type}};
      if (!by[i].empty()) entry["scheme"] = by[i];
      json["modules"].push_back(std::move(entry));
      if (!by[i].empty()) json["replaced"].push_back((*modules)[i].name);
    }
    program.printJson(json);
    return ExitStatus::Done;
  }
  for (std::size_t i = 0; i < modules->size(); ++i) {
    const std::string name = (*modules)[i].name.empty() ? "(root)" : (*modules)[i].name;
    program.print(oneLine(name) + "  " + oneLine((*modules)[i].type) + (by[i].empty() ? "" : "  -> " + by[i]) + "\n");
  }
  return ExitStatus::Done;
}

}  // namespace

void addModules(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("modules", "A module tree: list, and replace layers by type");
  const auto options = std::make_shared<Options>();
  command->add_option("TREE", options->tree, "The tree as JSON: name, type, children")->type_name("TREE.json")->required();
  command->add_option("--replace", options->replacements, "Replace modules of this type; repeatable")
      ->type_name("TYPE=SCHEME")
      ->allow_extra_args(false);
  command->add_option("--skip", options->skip, "Leave this module alone, and all in it; repeatable")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return modulesCommand(program, *options); }; });
}

}  // namespace nibble::cli
