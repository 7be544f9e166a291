// SPDX-License-Identifier: GPL-3.0-or-later
// The weights of an export on their way to disk: each layer packed into arrays, tensors copied beside them, all of it in one
// file or in shards (shards.h), and proven from those files. Arrays are held up to a number of bytes; beyond, a layer is packed
// once more when it is written and when it is proven, so that one layer's bytes are in memory at a time.
#pragma once
#include "core/base/context.h"
#include "core/formats/format.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace nibble {

class Staging;

class WeightFiles {
 public:
  // All outlive it. `file`: the one file of a format with a container of its own; null: safetensors or npz.
  WeightFiles(const Format& format, const ModelFile* file, const std::vector<ExportLayer>& layers, const Context& context);

  // Layers in turn, 0 and on; `place` orders what is written. Gives the payload bytes.
  Result<std::uint64_t> pack(std::size_t layer, std::size_t place, std::uint64_t heldBytes);
  // `source`: whose bytes the copy borrows.
  void addCopy(RawTensor copy, std::optional<Tensor> source, std::size_t place);
  [[nodiscard]] bool holds(const std::string& arrayName) const { return m_names.count(arrayName) != 0; }

  Status write(const Staging& staging, std::uint64_t shardSize);
  [[nodiscard]] const std::vector<std::string>& names() const { return m_files; }  // of the files, after `write`
  // Calls onLayer(layer, largest difference) for each. The error of a layer that differs says so.
  Status prove(const std::function<void(std::size_t, double)>& onLayer) const;

 private:
  // What is written in one piece: a layer's arrays, or one copy.
  struct Unit {
    bool copied = false;
    std::size_t index = 0, place = 0;
    std::uint64_t size = 0;
  };
  struct Shard {
    std::filesystem::path file;
    std::vector<Unit> units;
  };
  struct Layer {
    std::size_t place = 0;
    std::vector<RawTensor> described;  // the arrays without their bytes
    std::vector<RawTensor> held;       // with them, or empty
  };

  [[nodiscard]] bool isNpz() const;
  [[nodiscard]] bool inOneGo() const { return m_file != nullptr || isNpz(); }  // everything is held until it is written
  [[nodiscard]] Result<std::vector<RawTensor>> arraysOf(std::size_t layer) const;
  template <class Use>
  Status withArrays(std::size_t layer, const Use& use) const;
  [[nodiscard]] std::vector<Unit> units() const;
  [[nodiscard]] std::vector<RawTensor> arraysIn(const Shard& shard) const;
  Status writeShard(const Shard& shard) const;
  Status writeInOneGo(const std::filesystem::path& path) const;
  [[nodiscard]] Status proveUnit(const Shard& shard, std::size_t layer, double& largest) const;

  const Format& m_format;
  const ModelFile* m_file;
  const std::vector<ExportLayer>& m_exported;
  const Context& m_context;
  std::uint64_t m_packedBytes = 0;
  std::vector<Layer> m_layers;
  std::vector<RawTensor> m_copies;
  std::vector<std::size_t> m_copyPlaces;
  std::vector<std::optional<Tensor>> m_copied;  // keep the copies' bytes alive
  std::set<std::string> m_names;
  std::vector<Shard> m_shards;
  std::vector<std::string> m_files;
};

}  // namespace nibble
