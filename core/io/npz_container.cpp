// SPDX-License-Identifier: GPL-3.0-or-later
// .npz: a zip archive of .npy arrays. Stored arrays are used where they lie in the map; deflated ones are inflated when they
// are read, only their headers when the archive is listed. Members that are no arrays of numbers are named in the metadata
// ("skipped: NAME"), so that a text beside the weights does not stand in the way; an archive of nothing else is refused.
#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/file_checkpoint.h"
#include "core/io/npy.h"
#include "core/io/zip_reader.h"

namespace nibble {
namespace {

struct Array {
  std::size_t member = 0;
  NpyHeader header;
};

class NpzCheckpoint final : public FileCheckpoint {
 public:
  NpzCheckpoint(std::filesystem::path path, const std::shared_ptr<const MappedFile>& file, std::unique_ptr<const ZipReader> zip)
      : FileCheckpoint(std::move(path)), m_zip(std::move(zip)) {
    addFile(file);
  }
  using FileCheckpoint::read;
  [[nodiscard]] std::string_view format() const override { return "npz"; }
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override {
    const TensorEntry& entry = m_entries[index];
    const Array& array = m_arrays[index];
    const ZipMember& member = m_zip->members()[array.member];
    const bool asItLies = !array.header.fortranOrder && !array.header.bigEndian;
    std::shared_ptr<std::byte[]> owner;
    std::span<const std::byte> data;
    if (member.offset) {
      data = m_maps[0]->bytes().subspan(*member.offset + array.header.dataOffset, array.header.dataBytes);
      if (asItLies) return mappedTensor(entry, data);
    } else {
      Result<std::shared_ptr<std::byte[]>> inflated = m_zip->readAll(array.member);
      NIBBLE_TRY(m_maps[0]->intact());
      if (!inflated) return fail(inflated.error().within(m_maps[0]->path().string()));
      owner = std::move(*inflated);
      data = {owner.get() + array.header.dataOffset, array.header.dataBytes};
    }
    if (!asItLies) {
      Result<std::shared_ptr<std::byte[]>> ordered = npyRowMajor(array.header, data);
      NIBBLE_TRY(m_maps[0]->intact());
      if (!ordered) return fail(ordered.error().within(m_maps[0]->path().string() + ": tensor " + printable(entry.name)));
      owner = std::move(*ordered);
      data = {owner.get(), array.header.dataBytes};
    }
    return Tensor(entry.name, entry.type, entry.shape, data, std::move(owner));
  }

  Status list() {
    std::string skipped;
    NameIndex names(m_zip->members().size());
    for (std::size_t i = 0; i < m_zip->members().size(); ++i) {
      const std::string& member = m_zip->members()[i].name;
      if (names.insert(member, 0)) return fail("member " + printable(member) + " is there twice");
      if (!member.ends_with(".npy")) {
        addMetadata("skipped: " + member, "not an npy array");
        continue;
      }
      NIBBLE_TRY(listArray(i, skipped));
    }
    if (m_entries.empty() && !skipped.empty()) return fail(skipped);
    return {};
  }

 private:
  Result<std::vector<std::byte>> inflatedStart(std::size_t member) const {
    constexpr std::size_t usual = 128;  // nearly all headers
    Result<std::vector<std::byte>> start = m_zip->readStart(member, usual);
    if (!start) return start;
    const Result<std::size_t> needed = npyHeaderBytes(*start);
    if (!needed || *needed <= start->size()) return start;
    return m_zip->readStart(member, *needed);
  }

  Status listArray(std::size_t index, std::string& skipped) {
    const ZipMember& member = m_zip->members()[index];
    std::vector<std::byte> inflated;
    std::span<const std::byte> start;
    if (member.offset) {
      start = m_maps[0]->bytes().subspan(*member.offset, member.size);
    } else {
      Result<std::vector<std::byte>> bytes = inflatedStart(index);
      if (!bytes) return fail(bytes.error());
      inflated = std::move(*bytes);
      start = inflated;
    }
    const std::string where = "member " + printable(member.name);
    Result<NpyHeader> header = readNpyHeader(start);
    if (!header) return fail(header.error().within(where));
    if (!header->foreignType.empty()) {
      addMetadata("skipped: " + member.name, header->foreignType);
      if (skipped.empty()) skipped = where + ": " + header->foreignType;
      return {};
    }
    if (header->dataOffset > member.size || member.size - header->dataOffset != header->dataBytes)
      return fail(where + ": shape " + toText(header->shape) + " of " + std::string(info(header->type).name) + " takes " +
                  text::number(header->dataBytes) + " bytes, the member holds " +
                  text::number(member.size - header->dataOffset));
    const std::string name = member.name.substr(0, member.name.size() - 4);
    m_entries.push_back({name, header->type, header->shape, header->dataBytes, 0});
    m_arrays.push_back({index, std::move(*header)});
    return {};
  }

  std::unique_ptr<const ZipReader> m_zip;
  std::vector<Array> m_arrays;
};

Result<std::shared_ptr<const Checkpoint>> openNpz(const std::filesystem::path& path, const Context&) {
  const Result<std::shared_ptr<const MappedFile>> file = MappedFile::open(path);
  if (!file) return fail(file.error());
  Result<std::unique_ptr<ZipReader>> zip = ZipReader::open((*file)->bytes());
  NIBBLE_TRY((*file)->intact());
  if (!zip) return fail(zip.error().within(path.string()));
  auto checkpoint = std::make_shared<NpzCheckpoint>(path, *file, std::move(*zip));
  const Status listed = checkpoint->list();
  NIBBLE_TRY((*file)->intact());
  if (!listed) return fail(listed.error().within(path.string()));
  return checkpoint;
}

bool byName(const PathFacts& facts) {
  return facts.extension == ".npz";
}
bool byContent(const PathFacts& facts) {
  return facts.head.starts_with("PK\x03\x04") || facts.head.starts_with("PK\x05\x06");
}

}  // namespace

extern const Container npzContainer;
const Container npzContainer{"npz", byName, byContent, openNpz};

}  // namespace nibble
