// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/opened_file.h"

#include <map>

namespace nibble {
namespace {

// What the header alone says about a tensor.
void mark(TensorItem& item, const WeightItem& weight, DType usual) {
  if (elementCount(weight.shape) == 0) {
    item.mark = TreeMark::Warning;
    item.markText = "the tensor is empty";
  } else if (item.worthQuantizing && !weight.packed && weight.type != usual) {
    item.mark = TreeMark::Note;
    item.markText = "stored as " + std::string(info(weight.type).name) + ", most matrices here are " + std::string(info(usual).name);
  }
}

DType usualType(const WeightList& weights) {
  std::map<DType, std::size_t> counts;
  for (const auto& item : weights.items())
    if (item.shape.size() >= 2 && !item.packed) ++counts[item.type];
  DType usual = DType::F32;
  std::size_t most = 0;
  for (const auto& [type, count] : counts)
    if (count > most) { usual = type; most = count; }
  return usual;
}

std::shared_ptr<const TensorTree> treeOf(const WeightList& weights) {
  const DType usual = usualType(weights);
  std::vector<TensorItem> items;
  items.reserve(weights.items().size());
  for (const auto& weight : weights.items()) {
    TensorItem item;
    item.name = weight.name;
    item.shape = weight.shape;
    item.sizeBytes = weight.sizeBytes;
    item.type = weight.packed ? weights.packedLayers()[*weight.packed].layer.description : std::string(info(weight.type).name);
    item.worthQuantizing = weight.packed.has_value() || worthQuantizing(weights.checkpoint().entries()[weight.entry]);
    mark(item, weight, usual);
    items.push_back(std::move(item));
  }
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
