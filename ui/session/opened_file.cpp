// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/opened_file.h"

#include "core/report/lint.h"

#include <algorithm>
#include <unordered_map>

namespace nibble {
namespace {

// What the headers alone say, as marks of the tree.
void markItems(const Checkpoint& checkpoint, std::vector<TensorItem>& items) {
  std::unordered_map<std::string_view, TensorItem*> byName;
  for (auto& item : items) byName.emplace(item.name, &item);
  for (const auto& finding : lintHeaders(checkpoint.entries())) {
    const auto found = byName.find(finding.tensor);
    if (found == byName.end()) continue;
    auto& item = *found->second;
    item.mark = std::max(item.mark, finding.severity == Severity::Warning ? TreeMark::Warning : TreeMark::Note);
    item.markText += (item.markText.empty() ? "" : "\n") + finding.what;
  }
}

std::shared_ptr<const TensorTree> treeOf(const WeightList& weights) {
  std::vector<TensorItem> items;
  items.reserve(weights.items().size());
  for (const auto& weight : weights.items()) {
    TensorItem item;
    item.name = weight.name;
    item.shape = weight.shape;
    item.sizeBytes = weight.sizeBytes;
    item.type = weight.packed ? weights.packedLayers()[*weight.packed].layer.description : std::string(info(weight.type).name);
    item.worthQuantizing = weight.packed.has_value() || worthQuantizing(weights.checkpoint().entries()[weight.entry]);
    items.push_back(std::move(item));
  }
  markItems(weights.checkpoint(), items);
  return std::make_shared<const TensorTree>(std::move(items));
}

}  // namespace

const TensorItem* OpenedFile::find(const std::string& tensor) const {
  for (const auto& item : tree->items())
    if (item.name == tensor) return &item;
  return nullptr;
}

std::string OpenedFile::firstWorthwhile() const {
  for (const auto& item : tree->items())
    if (item.worthQuantizing && item.name.find("embed") == std::string::npos) return item.name;
  for (const auto& item : tree->items())
    if (item.worthQuantizing) return item.name;
  return tree->items().empty() ? std::string() : tree->items().front().name;
}

std::vector<std::string> OpenedFile::worthwhile() const {
  std::vector<std::string> names;
  for (const auto& item : tree->items())
    if (item.worthQuantizing) names.push_back(item.name);
  return names;
}

Result<std::shared_ptr<const OpenedFile>> openFile(const std::filesystem::path& path, const Context& context) {
  auto checkpoint = Checkpoint::open(path, context);
  if (!checkpoint) return fail(checkpoint.error());
  auto file = std::make_shared<OpenedFile>();
  file->path = std::filesystem::absolute(path).lexically_normal();
  file->weights = std::make_shared<const WeightList>(*checkpoint);
  if (context.stopRequested()) return cancelled();
  file->tree = treeOf(*file->weights);
  file->format = (*checkpoint)->format();
  if ((*checkpoint)->files().size() > 1) file->format += ", " + std::to_string((*checkpoint)->files().size()) + " shards";
  for (const auto& item : file->tree->items()) file->sizeBytes += item.sizeBytes;
  return file;
}

}  // namespace nibble
