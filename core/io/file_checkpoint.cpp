// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/file_checkpoint.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>

namespace nibble {

std::uint64_t FileCheckpoint::mappedBytes() const {
  std::uint64_t sum = 0;
  for (const auto& map : m_maps) sum += map->bytes().size();
  return sum;
}

bool FileCheckpoint::changedOnDisk() const {
  return std::any_of(m_maps.begin(), m_maps.end(), [](const auto& map) { return map->changedOnDisk(); });
}

std::string FileCheckpoint::configText() const {
  constexpr std::uintmax_t largest = std::uintmax_t{16} << 20;
  std::error_code error;
  const std::filesystem::path folder =
      std::filesystem::is_directory(m_path, error) || m_files.empty() ? m_path : m_files.front().parent_path();
  const std::filesystem::path config = folder / "config.json";
  if (!std::filesystem::is_regular_file(config, error)) return {};
  const std::uintmax_t size = std::filesystem::file_size(config, error);
  if (error || size > largest) return {};
  std::ifstream stream(config, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void FileCheckpoint::addFile(std::shared_ptr<const MappedFile> file) {
  m_files.push_back(file->path());
  m_maps.push_back(std::move(file));
}

void FileCheckpoint::addMetadata(const std::string& key, const std::string& value) {
  const auto known = std::find_if(m_metadata.begin(), m_metadata.end(), [&](const auto& pair) { return pair.first == key; });
  if (known == m_metadata.end()) m_metadata.emplace_back(key, value);
}

Tensor FileCheckpoint::mappedTensor(const TensorEntry& entry, std::span<const std::byte> bytes) const {
  const std::shared_ptr<const MappedFile>& map = m_maps[entry.file];
  return {entry.name, entry.type, entry.shape, bytes, map, [map] { return map->intact(); }};
}

}  // namespace nibble
