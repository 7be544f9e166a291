// SPDX-License-Identifier: GPL-3.0-or-later
// The weights of a checkpoint under the names a person uses: stored tensors by their own names, each packed layer as one tensor
// under its module's name with ".weight" (its parts are not listed), and the matrices of a 3-d stack [experts, out, in] as
// NAME[e]. Reading a packed layer decodes it. Nothing is read until asked for. Immutable; safe to use from many threads.
#pragma once
#include "core/base/context.h"
#include "core/formats/format.h"
#include "core/io/checkpoint.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nibble {

struct WeightItem {
  std::string name;
  DType type = DType::F32;                     // as stored; of the first part for a packed layer
  Shape shape;                                 // of the weights
  std::uint64_t sizeBytes = 0;                 // as stored, all parts together
  std::uint64_t payloadBytes = 0;              // of these, codes and parameters: what bits per weight counts
  std::size_t entry = 0;                       // of the checkpoint; the first part of a packed layer
  std::optional<std::size_t> packed;           // index into packedLayers()
  [[nodiscard]] double bitsPerWeight() const;  // payload bytes x 8 / weights; 0 for an empty tensor
};

class WeightList {
 public:
  // The checkpoint is not null.
  explicit WeightList(std::shared_ptr<const Checkpoint> checkpoint);
  WeightList(const WeightList&) = delete;
  WeightList& operator=(const WeightList&) = delete;

  [[nodiscard]] const Checkpoint& checkpoint() const { return *m_checkpoint; }
  [[nodiscard]] const std::shared_ptr<const Checkpoint>& shared() const { return m_checkpoint; }
  [[nodiscard]] const std::vector<WeightItem>& items() const { return m_items; }  // in file order
  [[nodiscard]] const std::vector<DetectedLayer>& packedLayers() const { return m_packed; }
  // A packed stack, which has no module's name, is also found with ".weight" added.
  [[nodiscard]] const WeightItem* find(std::string_view name) const;
  // The same, and matrix NAME[e] of a packed stack as an item of its own. None: no tensor of that name, or one that is stored.
  [[nodiscard]] std::optional<WeightItem> packedItem(std::string_view name) const;

  // Names a command means: `names` exactly, or what `pattern` (ECMAScript regex, search) finds among floating tensors of at
  // least two dimensions and packed layers, or, with neither, everything worth quantizing. Stacks are split into NAME[e] unless
  // named whole. `storedOnly`, for export, leaves stacks whole and refuses packed layers. An empty answer is an error.
  [[nodiscard]] Result<std::vector<std::string>> select(const std::vector<std::string>& names, const std::string& pattern,
                                                        bool storedOnly = false) const;

  // A stored tensor, a matrix NAME[e] of a stack, or a packed layer decoded to float32. `reading` is one of a packed layer's
  // readings; empty: the one its format takes.
  [[nodiscard]] Result<Tensor> read(std::string_view name, std::string_view reading = {}) const;
  // A packed layer, or one matrix of it (packedItem), as it is stored.
  [[nodiscard]] Result<QuantizedTensor> readPacked(const WeightItem& item, std::string_view reading = {}) const;
  // The layer behind a name; null: it is no packed layer.
  [[nodiscard]] const PackedLayer* packedLayer(std::string_view name) const;
  [[nodiscard]] Result<Shape> shapeOf(std::string_view name) const;

 private:
  struct StackMatrix {
    const WeightItem* stack;
    std::uint64_t index;
  };
  [[nodiscard]] std::optional<StackMatrix> stackMatrix(std::string_view name) const;
  [[nodiscard]] Result<Tensor> readPackedMatrix(const StackMatrix& matrix) const;
  [[nodiscard]] Error unknown(std::string_view name) const;

  std::shared_ptr<const Checkpoint> m_checkpoint;
  std::vector<DetectedLayer> m_packed;
  std::vector<WeightItem> m_items;
  std::unordered_map<std::string_view, std::size_t> m_byName;  // views into m_items, which never changes
};

}  // namespace nibble
