// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/train_options.h"

#include "core/base/text.h"
#include "core/train/adapter.h"
#include "core/train/train_options.h"

namespace nibble::cli {
namespace {

using train::TrainOption;
using Kind = TrainOption::Kind;

std::string typeName(const TrainOption& option) {
  switch (option.kind) {
    case Kind::Choice:
      return "{" + text::join(option.choices(), ",") + "}";
    case Kind::Words:
      return "PATTERN";
    case Kind::File:
      return "FILE";
    case Kind::Count:
      return "N";
    case Kind::Number:
    case Kind::Flag:
      break;
  }
  return "X";
}

std::string refusalOf(const TrainOption& option, const std::string& text) {
  train::TrainSettings probe;
  if (option.set(probe, text)) return {};
  return option.kind == Kind::Choice  ? text + " not in " + typeName(option)
         : option.kind == Kind::Count ? text + " is no whole number of 0 or more"
                                      : text + " is no number";
}

void addOption(CLI::App& command, const TrainOption& option, std::map<std::string, std::string>& texts) {
  const std::string flag = std::string("--") + option.key, key = option.key;
  if (option.kind == Kind::Flag) {
    command.add_flag_callback(flag, [&texts, key] { texts[key] = "yes"; }, option.help);
    return;
  }
  const auto take = [&texts, key](const std::vector<std::string>& given) {
    texts[key] = text::join(given, " ");
    return true;
  };
  auto* made = command.add_option(flag, take, option.help)->type_name(typeName(option));
  made->check([&option](const std::string& text) { return refusalOf(option, text); });
  made->expected(1);
  if (option.kind == Kind::Words) made->take_all()->allow_extra_args(false);
  if (key == "method") made->required();
}

}  // namespace

void TrainOptions::add(CLI::App& command) {
  selection.addPath(command);
  selection.addSelection(command);
  command.add_option("--base", m_base, "How the frozen base, or the weights that stay quantized, are quantized, as id:key=value,...; without it: float, or as stored")
      ->type_name("SCHEME");
  activations.add(command);  // --inputs among them
  for (const TrainOption& option : train::trainOptions())
    if (option.key != std::string_view("inputs")) addOption(command, option, m_texts);
  addFiles(command);
  command.add_flag("--json", json, "One JSON document");
}

void TrainOptions::addFiles(CLI::App& command) {
  command.add_option("--trace", files.trace, "Loss, output, gradients and parameters of every step")->type_name("FILE.npz");
  command.add_option("--out", files.out, "Folder for what was trained: a PEFT adapter and merged weights; a packed layer; or weights, bits and a recipe")
      ->type_name("DIR");
  command.add_option("--checkpoint", files.checkpoint, "Where the run so far is saved")->type_name("FILE");
  command.add_option("--checkpoint-every", files.checkpointEvery, "Steps between savings")
      ->check(CLI::Range(std::uint64_t{1}, ~std::uint64_t{0}));
  command.add_option("--resume", files.resume, "Go on from a saved run")->type_name("FILE");
  m_stopLossGiven = command.add_option("--stop-loss-above", m_stopLoss, "Stop where the loss is above this");
  command.add_flag("--stop-nothing-moved", m_stopNothingMoved, "Stop where an update moves nothing");
}

train::TrainSettings TrainOptions::settings(const std::function<void(const std::string&)>& warn) const {
  std::map<std::string, std::string> texts = m_texts;
  if (!activations.inputs.empty()) texts["inputs"] = activations.inputs;
  if (const auto init = texts.find("init"); init != texts.end() && !texts.contains("rank"))
    if (const auto rank = train::adapterRank(init->second)) texts["rank"] = text::number(*rank);
  const train::ChosenSettings chosen = train::chosenSettings(texts);
  train::TrainSettings settings = chosen.settings;
  for (const std::string& key : chosen.idle) warn("--" + key + " means nothing to " + settings.method + " and is left out");
  settings.adapter.base = m_base;
  return settings;
}

train::Breakpoints TrainOptions::breakpoints() const {
  train::Breakpoints breakpoints;
  if (m_stopLossGiven->count() != 0) breakpoints.lossAbove = m_stopLoss;
  breakpoints.nothingMoved = m_stopNothingMoved;
  return breakpoints;
}

}  // namespace nibble::cli
