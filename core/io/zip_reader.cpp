// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/zip_reader.h"

#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/zip_directory.h"

#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <new>

namespace nibble {
namespace {

constexpr std::uint16_t stored = 0, deflated = 8;
constexpr std::uint64_t deflateRatio = 1032;  // the most a deflate stream can expand to

Status checkRecord(const ZipRecord& record) {
  if (record.method != stored && record.method != deflated)
    return fail("is packed by method " + text::number(std::uint64_t{record.method}) +
                "; only stored and deflated members are read");
  if (record.method == stored && record.size != record.compressedSize) return fail("is stored, but its two sizes differ");
  if (record.method == deflated && record.size / deflateRatio > record.compressedSize)
    return fail("says it holds " + text::byteSize(record.size) + ", more than its " + text::byteSize(record.compressedSize) +
                " can inflate to");
  return {};
}

Status checkAgrees(zip_t* handle, std::uint64_t index, const ZipRecord& record) {
  zip_stat_t facts;
  constexpr zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
  if (zip_stat_index(handle, index, ZIP_FL_ENC_RAW, &facts) != 0 || (facts.valid & needed) != needed ||
      record.name != facts.name || facts.size != record.size || facts.comp_size != record.compressedSize ||
      facts.comp_method != record.method)
    return fail("the zip directory can be read in two ways");
  return {};
}

std::uint64_t physicalMemory() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long bytes = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && bytes > 0 ? static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(bytes) : 0;
}

}  // namespace

Result<std::unique_ptr<ZipReader>> ZipReader::open(std::span<const std::byte> archive) {
  const Result<std::vector<ZipRecord>> records = readZipDirectory(archive);
  if (!records) return fail(records.error());
  std::unique_ptr<ZipReader> reader(new ZipReader);
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(archive.data(), archive.size(), 0, &error);
  if (source != nullptr) reader->m_handle = zip_open_from_source(source, ZIP_RDONLY, &error);
  const std::string why = zip_error_strerror(&error);
  zip_error_fini(&error);
  if (reader->m_handle == nullptr) {
    if (source != nullptr) zip_source_free(source);
    return fail("is no zip archive: " + why);
  }
  if (zip_get_num_entries(reader->m_handle, 0) != static_cast<zip_int64_t>(records->size()))
    return fail("the zip directory can be read in two ways");
  for (const ZipRecord& record : *records) {
    Status status = checkRecord(record);
    if (status) status = checkAgrees(reader->m_handle, reader->m_members.size(), record);
    if (!status) return fail(status.error().within("member " + printable(record.name)));
    reader->m_members.push_back({record.name, record.size, std::nullopt});
    if (record.method == stored) reader->m_members.back().offset = record.dataOffset;
  }
  return reader;
}

ZipReader::~ZipReader() {
  if (m_handle != nullptr) zip_discard(m_handle);
}

Status ZipReader::inflate(std::size_t member, std::span<std::byte> out, bool whole) const {
  const std::scoped_lock lock(m_mutex);
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(m_handle, member, 0), zip_fclose);
  if (!file) return fail(std::string("cannot be read: ") + zip_strerror(m_handle));
  while (!out.empty()) {
    const zip_int64_t got = zip_fread(file.get(), out.data(), std::min<std::size_t>(out.size(), std::size_t{1} << 24));
    if (got < 0) return fail(std::string("cannot be inflated: ") + zip_file_strerror(file.get()));
    if (got == 0) return fail("is shorter than it says");
    out = out.subspan(static_cast<std::size_t>(got));
  }
  if (!whole) return {};
  // The checksum is compared when the end is reached.
  std::byte more{};
  const zip_int64_t got = zip_fread(file.get(), &more, 1);
  if (got < 0) return fail(std::string("is damaged: ") + zip_file_strerror(file.get()));
  if (got > 0) return fail("is longer than it says");
  return {};
}

Result<std::vector<std::byte>> ZipReader::readStart(std::size_t member, std::size_t count) const {
  std::vector<std::byte> start(static_cast<std::size_t>(std::min<std::uint64_t>(count, m_members[member].size)));
  if (Status status = inflate(member, start, false); !status)
    return fail(status.error().within("member " + printable(m_members[member].name)));
  return start;
}

Result<std::shared_ptr<std::byte[]>> ZipReader::readAll(std::size_t member) const {
  const ZipMember& facts = m_members[member];
  const std::string noMemory = "member " + printable(facts.name) + ": not enough memory for " + text::byteSize(facts.size);
  if (facts.size > physicalMemory()) return fail(noMemory);
  try {
    std::shared_ptr<std::byte[]> bytes = std::make_shared_for_overwrite<std::byte[]>(facts.size);
    if (Status status = inflate(member, {bytes.get(), facts.size}, true); !status)
      return fail(status.error().within("member " + printable(facts.name)));
    return bytes;
  } catch (const std::bad_alloc&) {
    return fail(noMemory);
  }
}

}  // namespace nibble
