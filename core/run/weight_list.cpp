// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/weight_list.h"

#include "core/base/text.h"
#include "core/quant/decode.h"

#include <algorithm>
#include <new>
#include <regex>
#include <unordered_set>

namespace nibble {
namespace {

bool isStack(const WeightItem& item) {
  return item.shape.size() == 3 && item.shape[0] > 0;
}

std::string matrixName(const WeightItem& stack, std::uint64_t index) {
  return stack.name + "[" + text::number(index) + "]";
}

bool worthQuantizing(const WeightItem& item) {
  return nibble::worthQuantizing(TensorEntry{item.name, item.type, item.shape, item.sizeBytes, 0});
}

bool matrixWorthQuantizing(const WeightItem& stack) {
  return nibble::worthQuantizing(
      TensorEntry{stack.name, stack.type, {stack.shape[1], stack.shape[2]}, stack.sizeBytes / stack.shape[0], 0});
}

bool canBeQuantized(const WeightItem& item) {
  return item.packed || (info(item.type).floating && item.shape.size() >= 2 && elementCount(item.shape) > 0);
}

// The format tells payload from description by the arrays' names and sizes; no value is touched.
std::uint64_t payloadOf(const Checkpoint& checkpoint, const DetectedLayer& detected) {
  std::vector<RawTensor> arrays;
  for (const std::size_t part : detected.layer.parts) {
    const auto tensor = checkpoint.read(part);
    if (!tensor) continue;
    arrays.push_back({tensor->name(), tensor->type(), tensor->shape(), {}, tensor->bytes()});
  }
  return detected.format->payloadBytes(ExportLayer{detected.layer.name, nullptr, std::nullopt}, arrays);
}

}  // namespace

double WeightItem::bitsPerWeight() const {
  const std::uint64_t weights = elementCount(shape);
  return weights == 0 ? 0 : 8.0 * static_cast<double>(payloadBytes) / static_cast<double>(weights);
}

WeightList::WeightList(std::shared_ptr<const Checkpoint> checkpoint)
    : m_checkpoint(std::move(checkpoint)), m_packed(detectPacked(*m_checkpoint)) {
  const auto& entries = m_checkpoint->entries();
  constexpr std::size_t none = static_cast<std::size_t>(-1);
  std::vector<std::size_t> layerOf(entries.size(), none);
  std::vector<std::size_t> firstPart(m_packed.size(), none);
  for (std::size_t layer = 0; layer < m_packed.size(); ++layer) {
    for (const std::size_t part : m_packed[layer].layer.parts) {
      layerOf[part] = layer;
      firstPart[layer] = std::min(firstPart[layer], part);
    }
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (layerOf[i] == none) {
      m_items.push_back(
          {entries[i].name, entries[i].type, entries[i].shape, entries[i].sizeBytes, entries[i].sizeBytes, i, std::nullopt});
    } else if (firstPart[layerOf[i]] == i) {
      const PackedLayer& layer = m_packed[layerOf[i]].layer;
      std::uint64_t bytes = 0;
      for (const std::size_t part : layer.parts) bytes += entries[part].sizeBytes;
      m_items.push_back(
          {layer.name, entries[i].type, layer.shape, bytes, payloadOf(*m_checkpoint, m_packed[layerOf[i]]), i, layerOf[i]});
    }
  }
  m_byName.reserve(m_items.size());
  for (std::size_t i = 0; i < m_items.size(); ++i) m_byName.emplace(m_items[i].name, i);
}

const WeightItem* WeightList::find(std::string_view name) const {
  constexpr std::string_view suffix = ".weight";
  auto found = m_byName.find(name);
  if (found != m_byName.end()) return &m_items[found->second];
  if (!name.ends_with(suffix)) return nullptr;
  found = m_byName.find(name.substr(0, name.size() - suffix.size()));
  return found != m_byName.end() && m_items[found->second].packed ? &m_items[found->second] : nullptr;
}

std::optional<WeightItem> WeightList::packedItem(std::string_view name) const {
  if (const WeightItem* item = find(name)) return item->packed ? std::optional(*item) : std::nullopt;
  const auto matrix = stackMatrix(name);
  if (!matrix || !matrix->stack->packed) return std::nullopt;
  WeightItem item = *matrix->stack;
  item.name = matrixName(item, matrix->index);
  item.sizeBytes /= item.shape[0];
  item.payloadBytes /= item.shape[0];
  item.shape.erase(item.shape.begin());
  return item;
}

std::optional<WeightList::StackMatrix> WeightList::stackMatrix(std::string_view name) const {
  const std::size_t bracket = name.rfind('[');
  if (bracket == std::string_view::npos || name.back() != ']') return std::nullopt;
  const WeightItem* stack = find(name.substr(0, bracket));
  const auto index = text::parseUnsigned(name.substr(bracket + 1, name.size() - bracket - 2));
  if (stack == nullptr || !isStack(*stack) || !index || *index >= stack->shape[0]) return std::nullopt;
  return StackMatrix{stack, *index};
}

// The checkpoint's own refusal suggests a near name, unless the name is one of a packed layer's parts. Which file it is, callers
// say in all refusals from here.
Error WeightList::unknown(std::string_view name) const {
  if (const auto index = m_checkpoint->find(name)) {
    for (const DetectedLayer& layer : m_packed)
      if (std::find(layer.layer.parts.begin(), layer.layer.parts.end(), *index) != layer.layer.parts.end())
        return {ErrorKind::Input, std::string(name) + " is a part of the packed layer " + layer.layer.name + "; name that"};
  }
  const auto refused = m_checkpoint->read(name);
  if (refused) return {ErrorKind::Input, "no tensor named " + std::string(name)};
  Error error = refused.error();
  if (const std::string file = m_checkpoint->path().string() + ": "; error.message.starts_with(file)) error.message.erase(0, file.size());
  return error;
}

Result<std::vector<std::string>> WeightList::select(const std::vector<std::string>& names, const std::string& pattern,
                                                    bool storedOnly) const try {
  std::vector<std::string> chosen;
  std::unordered_set<std::string> seen;
  const auto choose = [&](const std::string& name) {
    if (seen.insert(name).second) chosen.push_back(name);
  };
  for (const std::string& name : names) {
    const WeightItem* item = find(name);
    if (item == nullptr && !stackMatrix(name)) return fail(unknown(name));
    if (storedOnly && item == nullptr)
      return fail(name + ": one matrix of a stack cannot be exported alone; name the whole stack");
    if (storedOnly && item->packed) return fail(name + ": is already quantized; decode it first");
    choose(name);
  }
  if (!names.empty() && pattern.empty()) return chosen;
  const std::regex expression(pattern, std::regex::ECMAScript);
  const auto take = [&](const std::string& name) {
    if (pattern.empty() || std::regex_search(name, expression)) choose(name);
  };
  for (const WeightItem& item : m_items) {
    if (storedOnly && item.packed) continue;
    const bool split = isStack(item) && !storedOnly;
    const bool worth = item.packed || (split ? matrixWorthQuantizing(item) : worthQuantizing(item));
    if (!canBeQuantized(item) || (pattern.empty() && !worth)) continue;
    if (!split) {
      take(item.name);
      continue;
    }
    for (std::uint64_t matrix = 0; matrix < item.shape[0]; ++matrix) take(matrixName(item, matrix));
  }
  if (!chosen.empty()) return chosen;
  if (!pattern.empty()) return fail("no tensor that can be quantized matches '" + pattern + "'");
  return fail(
      "nothing here is worth quantizing (floating, two dimensions or more, no side below 32, 4096 weights or more); name a "
      "tensor");
} catch (const std::regex_error& error) {
  return fail("'" + pattern + "' is not a regular expression: " + error.what(), ErrorKind::Usage);
} catch (const std::bad_alloc&) {
  return fail("not enough memory to list the tensors");
}

Result<Shape> WeightList::shapeOf(std::string_view name) const {
  if (const WeightItem* item = find(name)) return item->shape;
  if (const auto matrix = stackMatrix(name)) return Shape{matrix->stack->shape[1], matrix->stack->shape[2]};
  return fail(unknown(name));
}

Result<Tensor> WeightList::read(std::string_view name, std::string_view reading) const try {
  const WeightItem* item = find(name);
  if (!reading.empty() && (item == nullptr || !item->packed))
    return fail(std::string(name) + ": is no packed layer, there is nothing to read as " + std::string(reading));
  if (item != nullptr) {
    if (!item->packed) return m_checkpoint->read(item->entry);
    auto packed = readPacked(*item, reading);
    if (!packed) return fail(packed.error());
    return Tensor::fromFloats(item->name, item->shape, decodeAll(*packed));
  }
  const auto matrix = stackMatrix(name);
  if (!matrix) return fail(unknown(name));
  if (matrix->stack->packed) return readPackedMatrix(*matrix);
  auto stored = m_checkpoint->read(matrix->stack->entry);
  if (!stored) return stored;
  const auto stack = std::make_shared<const Tensor>(*std::move(stored));
  const Shape shape{stack->shape()[1], stack->shape()[2]};
  const std::uint64_t bits = elementCount(shape) * static_cast<std::uint64_t>(info(stack->type()).bits);
  if (bits % 8 != 0) return fail(std::string(name) + ": the matrices of this stack do not begin at whole bytes");
  const auto bytes = stack->bytes().subspan(matrix->index * (bits / 8), bits / 8);
  return Tensor(std::string(name), stack->type(), shape, bytes, stack, [stack] { return stack->intact(); });
} catch (const std::bad_alloc&) {
  return fail(std::string(name) + ": not enough memory to decode");
}

// Formats that keep the matrices apart read the one alone; of others the whole stack is read.
Result<Tensor> WeightList::readPackedMatrix(const StackMatrix& matrix) const {
  const WeightItem& stack = *matrix.stack;
  const DetectedLayer& layer = m_packed[*stack.packed];
  const Shape shape{stack.shape[1], stack.shape[2]};
  std::vector<float> values(elementCount(shape));
  auto alone = layer.format->readMatrix(*m_checkpoint, layer.layer, matrix.index);
  if (alone) {
    decode(*alone, 0, values);
  } else {
    const auto whole = readPacked(stack);
    if (!whole) return fail(whole.error());
    decode(*whole, matrix.index * values.size(), values);
  }
  return Tensor::fromFloats(matrixName(stack, matrix.index), shape, std::move(values));
}

const PackedLayer* WeightList::packedLayer(std::string_view name) const {
  const auto item = packedItem(name);
  return item ? &m_packed[*item->packed].layer : nullptr;
}

Result<QuantizedTensor> WeightList::readPacked(const WeightItem& item, std::string_view reading) const {
  const DetectedLayer& layer = m_packed[item.packed.value()];
  const auto matrix = item.name == layer.layer.name ? std::nullopt : stackMatrix(item.name);
  auto packed = matrix && reading.empty() ? layer.format->readMatrix(*m_checkpoint, layer.layer, matrix->index)
                                          : layer.format->readAs(*m_checkpoint, layer.layer, reading);
  if (!packed) return fail(packed.error().within(item.name));
  return packed;
}

}  // namespace nibble
