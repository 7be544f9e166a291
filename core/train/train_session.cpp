// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/train_session.h"

#include "core/base/text.h"
#include "core/train/train_options.h"

#include <algorithm>

namespace nibble::train {
namespace {

const std::string prefix = "train.";

std::string option(const ViewOptions& view, const std::string& key) {
  const auto found = view.find(key);
  return found == view.end() ? std::string() : found->second;
}

}  // namespace

TrainSettings sessionSettings(const ViewOptions& view, const std::string& scheme, bool asStored) {
  std::map<std::string, std::string> texts;
  for (auto entry = view.lower_bound(prefix); entry != view.end() && entry->first.starts_with(prefix); ++entry)
    texts[entry->first.substr(prefix.size())] = entry->second;
  TrainSettings settings = chosenSettings(texts).settings;
  const Method* method = findMethod(settings.method);
  if (method != nullptr && (method->needsBase || (method->kind == MethodKind::Packed && !asStored)))
    settings.adapter.base = scheme;
  return settings;
}

Breakpoints sessionBreakpoints(const ViewOptions& view) {
  Breakpoints breakpoints;
  if (const auto above = text::parseDouble(option(view, prefix + "stop-loss-above"))) breakpoints.lossAbove = *above;
  breakpoints.nothingMoved = option(view, prefix + "stop-nothing-moved") == "yes";
  return breakpoints;
}

std::vector<std::string> sessionTensors(const std::string& methodId, const std::string& tensor,
                                        const std::vector<std::string>& selection,
                                        const std::function<bool(const std::string&)>& isMatrix) {
  if (!trainsSeveral(kindOf(methodId)) || std::find(selection.begin(), selection.end(), tensor) == selection.end())
    return {tensor};
  std::vector<std::string> tensors;
  std::copy_if(selection.begin(), selection.end(), std::back_inserter(tensors), isMatrix);
  return tensors;
}

Result<TrainJob> sessionJob(const SessionFile& session, const WeightList& weights) {
  if (session.tensor.empty()) return fail("the session has no tensor to train");
  const bool asStored = weights.packedLayer(session.tensor) != nullptr && !session.view.contains("packed");
  TrainSettings settings = sessionSettings(session.view, session.choice, asStored);
  const auto isMatrix = [&](const std::string& name) {
    const auto shape = weights.shapeOf(name);
    return shape && shape->size() >= 2;
  };
  const std::string several = option(session.view, "selection");
  auto tensors = sessionTensors(settings.method, session.tensor, text::split(several, '\n'), isMatrix);
  return TrainJob{&weights, std::move(tensors), std::move(settings), {}};
}

}  // namespace nibble::train
