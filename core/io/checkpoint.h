// SPDX-License-Identifier: GPL-3.0-or-later
// A checkpoint on disk as a list of named tensors, whatever container holds it: one .safetensors file, shards by
// model.safetensors.index.json, a directory with either, a single shard, .npy, .npz, .gguf (single or split). Files are memory-mapped; opening reads
// headers only, values are touched when a tensor is read. A refusal names the file, the tensor and the reason.
// Immutable after opening; safe to use from many threads. Adding a container: one file with a Container entry (container.h).
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/io/name_index.h"
#include "core/tensor/tensor.h"
#include "kernels/block_type.h"

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble {

struct TensorEntry {
  std::string name;
  DType type = DType::F32;
  Shape shape;
  std::uint64_t sizeBytes = 0;  // as stored
  std::uint32_t file = 0;       // index into Checkpoint::files()
  // GGUF: the rows are whole blocks of this type; `type` is then U8 and the last dimension counts bytes.
  std::optional<kernels::BlockType> block{};
};

class Checkpoint {
 public:
  Checkpoint() = default;
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;
  virtual ~Checkpoint() = default;
  static Result<std::shared_ptr<const Checkpoint>> open(const std::filesystem::path& path, const Context& context = {});

  [[nodiscard]] virtual const std::filesystem::path& path() const = 0;  // as given
  [[nodiscard]] virtual std::string_view format() const = 0;            // "safetensors", "npy", "npz", "gguf"
  [[nodiscard]] virtual const std::vector<std::filesystem::path>& files() const = 0;
  [[nodiscard]] virtual const std::vector<TensorEntry>& entries() const = 0;  // in file order
  [[nodiscard]] virtual const std::vector<std::pair<std::string, std::string>>& metadata() const = 0;
  [[nodiscard]] virtual std::uint64_t mappedBytes() const = 0;
  [[nodiscard]] virtual Result<Tensor> read(std::size_t index) const = 0;
  // Whether a file's size or time of change differs from when it was opened.
  [[nodiscard]] virtual bool changedOnDisk() const = 0;
  // config.json beside the weights, as text; empty where there is none.
  [[nodiscard]] virtual std::string configText() const = 0;

  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;
  // Also takes `NAME[e]`, matrix e of an expert stack. "no tensor named ..., did you mean ..."
  [[nodiscard]] Result<Tensor> read(std::string_view name) const;

 private:
  mutable std::once_flag m_named;  // the names are looked up only in what is worked on
  mutable NameIndex m_names;
};

// Floating, at least two dimensions, no side (of the [-1, C] matrix view) below 32, at least 4,096 elements.
bool worthQuantizing(const TensorEntry& entry);
// Three dimensions, of which the last two alone are a matrix worth quantizing: one matrix per expert, `NAME[e]`.
bool isExpertStack(const TensorEntry& entry);
// What a command without a selection works on, in file order: entries worth quantizing, an expert stack as one entry of two
// dimensions per expert. Checkpoint::read takes each name.
std::vector<TensorEntry> quantizableTensors(const Checkpoint& checkpoint);

}  // namespace nibble
