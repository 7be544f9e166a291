// SPDX-License-Identifier: GPL-3.0-or-later
// One .npy file: a checkpoint of one tensor, named after the file.
#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/file_checkpoint.h"
#include "core/io/npy.h"

namespace nibble {
namespace {

class NpyCheckpoint final : public FileCheckpoint {
 public:
  NpyCheckpoint(std::filesystem::path path, std::shared_ptr<const MappedFile> file, NpyHeader header)
      : FileCheckpoint(std::move(path)), m_header(std::move(header)) {
    m_entries.push_back({file->path().stem().string(), m_header.type, m_header.shape, m_header.dataBytes, 0});
    addFile(std::move(file));
  }
  using FileCheckpoint::read;
  [[nodiscard]] std::string_view format() const override { return "npy"; }
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override {
    const TensorEntry& entry = m_entries[index];
    const std::span<const std::byte> data = m_maps[0]->bytes().subspan(m_header.dataOffset, m_header.dataBytes);
    if (!m_header.fortranOrder && !m_header.bigEndian) return mappedTensor(entry, data);
    Result<std::shared_ptr<std::byte[]>> ordered = npyRowMajor(m_header, data);
    if (!ordered) return fail(ordered.error().within(m_maps[0]->path().string()));
    NIBBLE_TRY(m_maps[0]->intact());
    const std::span<const std::byte> bytes(ordered->get(), m_header.dataBytes);
    return Tensor(entry.name, entry.type, entry.shape, bytes, std::move(*ordered));
  }

 private:
  NpyHeader m_header;
};

Result<std::shared_ptr<const Checkpoint>> openNpy(const std::filesystem::path& path, const Context&) {
  Result<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file) return fail(file.error());
  Result<NpyHeader> header = parseNpyHeader((*file)->bytes());
  NIBBLE_TRY((*file)->intact());
  if (!header) return fail(header.error().within(path.string()));
  const std::uint64_t there = (*file)->bytes().size() - header->dataOffset;
  if (there != header->dataBytes)
    return fail(path.string() + ": shape " + toText(header->shape) + " of " + std::string(info(header->type).name) + " takes " +
                text::number(header->dataBytes) + " bytes, the file holds " + text::number(there));
  return std::make_shared<const NpyCheckpoint>(path, std::move(*file), std::move(*header));
}

bool byName(const PathFacts& facts) {
  return facts.extension == ".npy";
}
bool byContent(const PathFacts& facts) {
  return facts.head.starts_with("\x93NUMPY");
}

}  // namespace

extern const Container npyContainer;
const Container npyContainer{"npy", byName, byContent, openNpy};

}  // namespace nibble
