// SPDX-License-Identifier: GPL-3.0-or-later
// Containers of safetensors: one file, the shards an index names, a folder with either.
#include "core/io/safetensors.h"

#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/file_checkpoint.h"

#include <algorithm>
#include <system_error>

namespace nibble {
namespace {

namespace fs = std::filesystem;

class SafetensorsCheckpoint final : public FileCheckpoint {
 public:
  explicit SafetensorsCheckpoint(fs::path path) : FileCheckpoint(std::move(path)) {}
  using FileCheckpoint::read;
  [[nodiscard]] std::string_view format() const override { return "safetensors"; }
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override {
    const TensorEntry& entry = m_entries[index];
    return mappedTensor(entry, m_maps[entry.file]->bytes().subspan(m_offsets[index], entry.sizeBytes));
  }

  // Adds the file's tensors that `wanted` takes.
  template <class Wanted>
  Status addShard(const fs::path& path, Wanted wanted) {
    Result<std::shared_ptr<const MappedFile>> map = MappedFile::open(path);
    if (!map) return fail(map.error());
    Result<SafetensorsHeader> header = parseSafetensorsHeader((*map)->bytes());
    NIBBLE_TRY((*map)->intact());
    if (!header) return fail(header.error().within(path.string()));
    const auto number = static_cast<std::uint32_t>(m_maps.size());
    addFile(std::move(*map));
    for (const auto& [key, value] : header->metadata) addMetadata(key, value);
    if (m_entries.empty()) {
      m_entries.reserve(header->entries.size());
      m_offsets.reserve(header->entries.size());
    }
    for (std::size_t i = 0; i < header->entries.size(); ++i) {
      header->entries[i].file = number;
      if (!wanted(header->entries[i])) continue;
      m_entries.push_back(std::move(header->entries[i]));
      m_offsets.push_back(header->offsets[i]);
    }
    return {};
  }

  // Several files: the same name in two of them means that we do not know which is meant.
  Status checkNames() const {
    NameIndex names(m_entries.size());
    for (std::size_t i = 0; i < m_entries.size(); ++i)
      if (const auto first = names.insert(m_entries[i].name, static_cast<std::uint32_t>(i)))
        return fail(path().string() + ": tensor " + printable(m_entries[i].name) + ": is in two files, " + nameOf(*first) +
                    " and " + nameOf(i));
    return {};
  }

  void addIndexMetadata(const SafetensorsIndex& index) {
    for (const auto& [key, value] : index.metadata) addMetadata(key, value);
  }

 private:
  [[nodiscard]] std::string nameOf(std::size_t entry) const { return files()[m_entries[entry].file].filename().string(); }
  std::vector<std::uint64_t> m_offsets;
};

using Opened = Result<std::shared_ptr<const Checkpoint>>;

Opened openFiles(const fs::path& path, const std::vector<fs::path>& files, const Context& context) {
  auto checkpoint = std::make_shared<SafetensorsCheckpoint>(path);
  for (const fs::path& file : files) {
    if (context.stopRequested()) return cancelled();
    NIBBLE_TRY(checkpoint->addShard(file, [](const TensorEntry&) { return true; }));
  }
  if (files.size() > 1) NIBBLE_TRY(checkpoint->checkNames());
  return checkpoint;
}

Result<SafetensorsIndex> readIndex(const fs::path& path) {
  const Result<std::shared_ptr<const MappedFile>> map = MappedFile::open(path);
  if (!map) return fail(map.error());
  const std::span<const std::byte> bytes = (*map)->bytes();
  Result<SafetensorsIndex> index = parseSafetensorsIndex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  NIBBLE_TRY((*map)->intact());
  if (!index) return fail(index.error().within(path.string()));
  return index;
}

Opened openIndex(const fs::path& path, const fs::path& indexFile, const Context& context) {
  const Result<SafetensorsIndex> index = readIndex(indexFile);
  if (!index) return fail(index.error());
  auto checkpoint = std::make_shared<SafetensorsCheckpoint>(path);
  checkpoint->addIndexMetadata(*index);
  NameIndex places(index->weightMap.size());
  for (std::size_t i = 0; i < index->weightMap.size(); ++i)
    places.insert(index->weightMap[i].first, static_cast<std::uint32_t>(i));
  std::vector<bool> seen(index->weightMap.size());
  for (std::uint32_t shard = 0; shard < index->shards.size(); ++shard) {
    if (context.stopRequested()) return cancelled();
    // A tensor the index gives to another shard is a leftover; one it does not know at all is listed.
    const auto wanted = [&](const TensorEntry& entry) {
      const std::optional<std::uint32_t> place = places.find(entry.name);
      if (!place) return true;
      if (index->weightMap[*place].second != shard) return false;
      seen[*place] = true;
      return true;
    };
    if (Status status = checkpoint->addShard(indexFile.parent_path() / index->shards[shard], wanted); !status) {
      const auto first = std::find_if(index->weightMap.begin(), index->weightMap.end(),
                                      [&](const auto& pair) { return pair.second == shard; });
      return fail(status.error().message + " (the shard of tensor " + printable(first->first) + " in " +
                  indexFile.filename().string() + ")");
    }
  }
  for (std::size_t i = 0; i < seen.size(); ++i)
    if (!seen[i])
      return fail((indexFile.parent_path() / index->shards[index->weightMap[i].second]).string() + ": tensor " +
                  printable(index->weightMap[i].first) + ": is not in this file, where " + indexFile.filename().string() +
                  " says it is");
  NIBBLE_TRY(checkpoint->checkNames());
  return checkpoint;
}

bool isIndexName(const std::string& name) {
  return name.ends_with(".safetensors.index.json");
}

struct Folder {
  std::vector<fs::path> indexes, files;  // sorted
};

Folder listFolder(const fs::path& path) {
  Folder folder;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.')) continue;
    if (isIndexName(name)) folder.indexes.push_back(it->path());
    if (name.ends_with(".safetensors")) folder.files.push_back(it->path());
  }
  std::sort(folder.indexes.begin(), folder.indexes.end());
  std::sort(folder.files.begin(), folder.files.end());
  return folder;
}

// "model-00001-of-00003.safetensors" tells how many there must be, index or not.
Status checkAllShardsThere(const fs::path& folder, const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    const std::string stem = file.stem().string();
    const std::size_t of = stem.rfind("-of-");
    if (of == std::string::npos || of < 6) continue;
    const std::string total = stem.substr(of + 4);
    const std::optional<std::uint64_t> count = text::parseUnsigned(total);
    const std::size_t dash = stem.rfind('-', of - 1);
    if (!count || *count > 99'999 || dash == std::string::npos || !text::parseUnsigned(stem.substr(dash + 1, of - dash - 1)))
      continue;
    for (std::uint64_t i = 1; i <= *count; ++i) {
      std::string number = text::number(i);
      number.insert(0, of - dash - 1 > number.size() ? of - dash - 1 - number.size() : 0, '0');
      const fs::path part = folder / (stem.substr(0, dash + 1) + number + "-of-" + total + ".safetensors");
      if (!std::binary_search(files.begin(), files.end(), part))
        return fail(part.string() + ": this shard is missing beside " + file.filename().string());
    }
  }
  return {};
}

Opened openFolder(const fs::path& path, const Context& context) {
  const Folder folder = listFolder(path);
  const fs::path usual = path / "model.safetensors.index.json";
  if (std::binary_search(folder.indexes.begin(), folder.indexes.end(), usual)) return openIndex(path, usual, context);
  if (folder.indexes.size() == 1) return openIndex(path, folder.indexes.front(), context);
  if (folder.indexes.size() > 1)
    return fail(path.string() + ": holds several indexes (" + folder.indexes[0].filename().string() + ", " +
                folder.indexes[1].filename().string() + " ...): open one of them");
  // Loaders look for this name alone; what lies beside it (adapters, other precisions) is another matter.
  const fs::path whole = path / "model.safetensors";
  if (std::binary_search(folder.files.begin(), folder.files.end(), whole)) return openFiles(path, {whole}, context);
  NIBBLE_TRY(checkAllShardsThere(path, folder.files));
  return openFiles(path, folder.files, context);
}

bool byName(const PathFacts& facts) {
  if (!facts.directory) return facts.extension == ".safetensors" || isIndexName(facts.path.filename().string());
  const Folder folder = listFolder(facts.path);
  return !folder.indexes.empty() || !folder.files.empty();
}

bool byContent(const PathFacts& facts) {
  if (facts.directory) return false;
  return (facts.extension == ".json" && facts.head.starts_with('{')) ||
         (facts.head.size() > 8 && facts.head[8] == '{' && facts.head.substr(4, 4) == std::string(4, '\0'));
}

Opened openSafetensors(const fs::path& path, const Context& context) {
  std::error_code error;
  if (fs::is_directory(path, error)) return openFolder(path, context);
  if (path.extension() == ".json") return openIndex(path, path, context);
  return openFiles(path, {path}, context);
}

}  // namespace

extern const Container safetensorsContainer;
const Container safetensorsContainer{"safetensors", byName, byContent, openSafetensors};

}  // namespace nibble
