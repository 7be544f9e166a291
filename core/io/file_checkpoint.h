// SPDX-License-Identifier: GPL-3.0-or-later
// What checkpoints of mapped files have in common; a container adds how an entry becomes a Tensor.
#pragma once
#include "core/io/checkpoint.h"
#include "core/io/mapped_file.h"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace nibble {

class FileCheckpoint : public Checkpoint {
 public:
  using Checkpoint::read;
  [[nodiscard]] const std::filesystem::path& path() const override { return m_path; }
  [[nodiscard]] const std::vector<std::filesystem::path>& files() const override { return m_files; }
  [[nodiscard]] const std::vector<TensorEntry>& entries() const override { return m_entries; }
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& metadata() const override { return m_metadata; }
  [[nodiscard]] std::uint64_t mappedBytes() const override;
  [[nodiscard]] bool changedOnDisk() const override;
  // Looks beside the first file; a file above 16 MiB is taken for something else.
  [[nodiscard]] std::string configText() const override;

 protected:
  explicit FileCheckpoint(std::filesystem::path path) : m_path(std::move(path)) {}
  void addFile(std::shared_ptr<const MappedFile> file);
  // A key that is already there keeps its value.
  void addMetadata(const std::string& key, const std::string& value);
  // A tensor whose bytes are `bytes`, a part of file number `file`.
  [[nodiscard]] Tensor mappedTensor(const TensorEntry& entry, std::span<const std::byte> bytes) const;

  std::vector<TensorEntry> m_entries;
  std::vector<std::shared_ptr<const MappedFile>> m_maps;

 private:
  std::filesystem::path m_path;
  std::vector<std::filesystem::path> m_files;
  std::vector<std::pair<std::string, std::string>> m_metadata;
};

}  // namespace nibble
