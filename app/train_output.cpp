// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/train_output.h"

#include "app/text_table.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t shownSteps = 20;

Json stepJson(const train::StepRecord& record) {
  Json json;
  json["step"] = record.step;
  json["loss"] = record.loss;
  json["learningRate"] = record.learningRate;
  Json norms = Json::object(), moved = Json::object(), vanished = Json::object();
  for (const train::ParameterRecord& parameter : record.parameters) {
    norms[parameter.name] = parameter.gradientNorm;
    moved[parameter.name] = {parameter.moved.moved, parameter.moved.total};
    vanished[parameter.name] = parameter.moved.vanished;
  }
  json["gradNorm"] = norms;
  json["moved"] = moved;
  json["vanished"] = vanished;
  for (const train::Figure& figure : record.figures) json[figure.key] = figure.value;
  return json;
}

// Of several tensors each by itself: too many for a table, they are in the JSON.
bool ofOneTensor(const std::string& key) { return key.find('/') != std::string::npos; }

std::vector<TableColumn> columnsOf(const train::StepRecord& record) {
  std::vector<TableColumn> columns{{"step", true}, {"loss", true}};
  for (const train::ParameterRecord& parameter : record.parameters) {
    if (ofOneTensor(parameter.name)) continue;
    columns.push_back({"|grad " + parameter.name + "|", true});
    columns.push_back({parameter.name + " moved", true});
  }
  for (const train::Figure& figure : record.figures)
    if (!ofOneTensor(figure.key)) columns.push_back({figure.key, true});
  return columns;
}

std::vector<std::string> cellsOf(const train::StepRecord& record) {
  std::vector<std::string> cells{text::number(record.step), figure(record.loss, 6)};
  for (const train::ParameterRecord& parameter : record.parameters) {
    if (ofOneTensor(parameter.name)) continue;
    cells.push_back(figure(parameter.gradientNorm));
    cells.push_back(text::number(parameter.moved.moved) + " of " + text::number(parameter.moved.total));
  }
  for (const train::Figure& f : record.figures)
    if (!ofOneTensor(f.key)) cells.push_back(figure(f.value));
  return cells;
}

}  // namespace

nlohmann::ordered_json trainJson(const TrainResult& result) {
  Json json, last;
  json["steps"] = Json::array();
  for (const train::StepRecord& record : result.steps) json["steps"].push_back(stepJson(record));
  last["steps"] = result.steps.size();
  last["stopped"] = train::text(result.stop);
  if (!result.stopDetail.empty()) last["stoppedAt"] = result.stopDetail;
  last["startLoss"] = result.startLoss;
  last["loss"] = result.loss;
  for (const train::Figure& figure : result.figures) last[figure.key] = figure.value;
  if (!result.out.empty()) {
    last["out"] = result.out;
    last["files"] = result.files;
  }
  json["final"] = last;
  return json;
}

std::string trainText(const TrainResult& result) {
  std::string text;
  if (!result.steps.empty()) {
    TextTable table(columnsOf(result.steps.front()));
    const std::size_t every = (result.steps.size() + shownSteps - 1) / shownSteps;
    for (std::size_t i = 0; i < result.steps.size(); ++i)
      if (i % every == 0 || i + 1 == result.steps.size()) table.add(cellsOf(result.steps[i]));
    text += table.text() + "\n";
  }
  TextTable last({{"", false}, {"", true}});
  last.add({"loss at the start", figure(result.startLoss, 6)});
  last.add({"loss", figure(result.loss, 6)});
  for (const train::Figure& f : result.figures) last.add({f.key, figure(f.value, 6)});
  text += last.text();
  if (result.stop != train::StopReason::Reached)
    text += "stopped: " + (result.stopDetail.empty() ? std::string(train::text(result.stop)) : result.stopDetail) + "\n";
  for (const std::string& file : result.files) text += "wrote " + result.out + "/" + file + "\n";
  return text;
}

}  // namespace nibble::cli
