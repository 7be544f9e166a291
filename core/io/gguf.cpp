// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/gguf.h"

#include "core/base/text.h"
#include "core/io/container.h"

#include <system_error>

namespace nibble {
namespace {

namespace fs = std::filesystem;

struct SplitName {
  std::string head;     // all before the number of the part
  std::uint64_t count;  // parts
};

// "model-00002-of-00003.gguf"; none: the file stands alone.
std::optional<SplitName> splitName(const fs::path& path) {
  const std::string stem = path.stem().string();
  constexpr std::size_t tail = 15;  // -00002-of-00003
  if (path.extension() != ".gguf" || stem.size() <= tail || stem[stem.size() - tail] != '-' || stem.substr(stem.size() - 9, 4) != "-of-")
    return std::nullopt;
  const auto part = text::parseUnsigned(stem.substr(stem.size() - 14, 5)), count = text::parseUnsigned(stem.substr(stem.size() - 5));
  if (!part || !count || *part == 0 || *part > *count) return std::nullopt;
  return SplitName{stem.substr(0, stem.size() - 14), *count};
}

std::string fiveDigits(std::uint64_t number) {
  const std::string digits = text::number(number);
  return std::string(5 - std::min<std::size_t>(digits.size(), 5), '0') + digits;
}

Result<std::vector<fs::path>> partsOf(const fs::path& path) {
  const auto split = splitName(path);
  if (!split) return std::vector<fs::path>{path};
  std::vector<fs::path> parts;
  for (std::uint64_t i = 1; i <= split->count; ++i) {
    parts.push_back(path.parent_path() / (split->head + fiveDigits(i) + "-of-" + fiveDigits(split->count) + ".gguf"));
    std::error_code error;
    if (!fs::exists(parts.back(), error)) return fail(parts.back().string() + ": this part is missing beside " + path.filename().string());
  }
  return parts;
}

// A folder is one of ours where all its .gguf files are the parts of one model.
Result<fs::path> onlyModelIn(const fs::path& folder) {
  std::optional<fs::path> first;
  std::string head;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".gguf" || it->path().filename().string().starts_with('.')) continue;
    const auto split = splitName(it->path());
    const std::string own = split ? split->head : it->path().filename().string();
    if (first && own != head) return fail(folder.string() + ": holds several GGUF models: open one of them");
    if (!first || it->path() < *first) first = it->path();
    head = own;
  }
  if (!first) return fail(folder.string() + ": holds no GGUF file");
  return *first;
}

bool byName(const PathFacts& facts) {
  if (!facts.directory) return facts.extension == ".gguf";
  std::error_code error;
  for (fs::directory_iterator it(facts.path, error), end; !error && it != end; it.increment(error))
    if (it->path().extension() == ".gguf" && !it->path().filename().string().starts_with('.')) return true;
  return false;
}

bool byContent(const PathFacts& facts) { return !facts.directory && facts.head.starts_with("GGUF"); }

Result<std::shared_ptr<const Checkpoint>> openGguf(const fs::path& path, const Context& context) {
  auto checkpoint = GgufCheckpoint::open(path, context);
  if (!checkpoint) return fail(checkpoint.error());
  return std::shared_ptr<const Checkpoint>(*std::move(checkpoint));
}

}  // namespace

Status GgufCheckpoint::addPart(const fs::path& path) {
  auto map = MappedFile::open(path);
  if (!map) return fail(map.error());
  auto header = parseGgufHeader((*map)->bytes());
  NIBBLE_TRY((*map)->intact());
  if (!header) return fail(header.error().within(path.string()));
  const auto number = static_cast<std::uint32_t>(m_maps.size());
  addFile(std::move(*map));
  for (const GgufValue& value : header->values) addMetadata(value.key, displayText(value));
  if (number == 0) m_values = std::move(header->values);
  for (std::size_t i = 0; i < header->entries.size(); ++i) {
    header->entries[i].file = number;
    m_entries.push_back(std::move(header->entries[i]));
    m_offsets.push_back(header->offsets[i]);
  }
  return {};
}

Result<std::shared_ptr<const GgufCheckpoint>> GgufCheckpoint::open(const fs::path& path, const Context& context) {
  fs::path file = path;
  std::error_code error;
  if (fs::is_directory(path, error)) {
    auto found = onlyModelIn(path);
    if (!found) return fail(found.error());
    file = *std::move(found);
  }
  const auto parts = partsOf(file);
  if (!parts) return fail(parts.error());
  std::shared_ptr<GgufCheckpoint> checkpoint(new GgufCheckpoint(path));
  for (const fs::path& part : *parts) {
    if (context.stopRequested()) return cancelled();
    NIBBLE_TRY(checkpoint->addPart(part));
  }
  NameIndex names(checkpoint->m_entries.size());
  for (std::size_t i = 0; i < checkpoint->m_entries.size(); ++i)
    if (names.insert(checkpoint->m_entries[i].name, static_cast<std::uint32_t>(i)))
      return fail(path.string() + ": tensor " + printable(checkpoint->m_entries[i].name) + ": is in two parts");
  return std::shared_ptr<const GgufCheckpoint>(std::move(checkpoint));
}

Result<Tensor> GgufCheckpoint::read(std::size_t index) const {
  const TensorEntry& entry = m_entries[index];
  return mappedTensor(entry, m_maps[entry.file]->bytes().subspan(m_offsets[index], entry.sizeBytes));
}

extern const Container ggufContainer;
const Container ggufContainer{"gguf", byName, byContent, openGguf};

}  // namespace nibble
