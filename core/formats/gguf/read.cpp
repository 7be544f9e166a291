// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/read.h"

#include "core/base/contracts.h"
#include "core/base/text.h"
#include "core/quant/blocks.h"

namespace nibble::formats::gguf {
namespace {

std::string describe(BlockType type) {
  return "gguf " + std::string(blockTypeName(type));
}

// Part `index` of those of this shape that the tensor is cut into; blocks never cross rows.
Result<QuantizedTensor> readPart(const Checkpoint& checkpoint, const PackedLayer& layer, const Shape& shape, std::uint64_t index) {
  const std::size_t place = layer.parts.front();
  const TensorEntry& entry = checkpoint.entries()[place];
  const auto stored = checkpoint.read(place);
  if (!stored) return fail(stored.error());
  const std::uint64_t columns = shape.back(), rows = elementCount(shape) / columns;
  const kernels::BlockShape block = kernels::blockShape(*entry.block);
  const std::uint64_t size = rows * (columns / block.weights) * block.bytes;
  NIBBLE_EXPECTS((index + 1) * size <= stored->bytes().size());
  auto tensor = fromBlocks(*entry.block, rows, columns, stored->bytes().subspan(index * size, size));
  // A file that shrank under the map gives zeros, not what was written.
  NIBBLE_TRY(stored->intact());
  if (!tensor) return fail(tensor.error());
  tensor->scheme = layer.description;
  tensor->shape = shape;
  return tensor;
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
  return readPart(checkpoint, layer, layer.shape, 0);
}

Result<QuantizedTensor> readMatrix(const Checkpoint& checkpoint, const PackedLayer& layer, std::uint64_t index) {
  if (layer.shape.size() != 3) return fail(layer.name + ": is no stack of matrices");
  if (index >= layer.shape[0]) return fail(layer.name + ": has no matrix " + text::number(index));
  return readPart(checkpoint, layer, {layer.shape[1], layer.shape[2]}, index);
}

}  // namespace nibble::formats::gguf
