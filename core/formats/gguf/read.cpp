// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/read.h"

#include "core/base/text.h"
#include "core/quant/blocks.h"

namespace nibble::formats::gguf {
namespace {

std::string describe(BlockType type) {
  return "gguf " + std::string(blockTypeName(type));
}

}  // namespace

Shape weightShape(const TensorEntry& entry) {
  Shape shape = entry.shape;
  if (!entry.block || shape.empty()) return shape;
  const kernels::BlockShape block = kernels::blockShape(*entry.block);
  shape.back() = shape.back() / block.bytes * block.weights;
  return shape;
}

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  for (std::size_t i = 0; i < checkpoint.entries().size(); ++i) {
    const TensorEntry& entry = checkpoint.entries()[i];
    if (!entry.block || entry.sizeBytes == 0) continue;
    layers.push_back({entry.name, describe(*entry.block), {i}, weightShape(entry)});
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const std::size_t index = layer.parts.front();
  const TensorEntry& entry = checkpoint.entries()[index];
  const auto stored = checkpoint.read(index);
  if (!stored) return fail(stored.error());
  const std::uint64_t columns = layer.shape.back(), rows = elementCount(layer.shape) / columns;
  auto tensor = fromBlocks(*entry.block, rows, columns, stored->bytes());
  // A file that shrank under the map gives zeros, not what was written.
  NIBBLE_TRY(stored->intact());
  if (!tensor) return fail(tensor.error());
  tensor->scheme = layer.description;
  tensor->shape = layer.shape;
  return tensor;
}

}  // namespace nibble::formats::gguf
