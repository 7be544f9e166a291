// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/zip_directory.h"

#include "core/io/container.h"

#include <cstring>
#include <optional>

namespace nibble {
namespace {

using Bytes = std::span<const std::byte>;

template <class T>
T number(Bytes bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::uint16_t u16(Bytes bytes, std::size_t at) {
  return number<std::uint16_t>(bytes, at);
}
std::uint32_t u32(Bytes bytes, std::size_t at) {
  return number<std::uint32_t>(bytes, at);
}
std::uint64_t u64(Bytes bytes, std::size_t at) {
  return number<std::uint64_t>(bytes, at);
}

bool fits(Bytes bytes, std::uint64_t at, std::uint64_t length) {
  return at <= bytes.size() && length <= bytes.size() - at;
}

constexpr std::uint32_t endSignature = 0x06054b50, end64Signature = 0x06064b50, locatorSignature = 0x07064b50;
constexpr std::uint32_t recordSignature = 0x02014b50, localSignature = 0x04034b50;
constexpr std::size_t endBytes = 22, end64Bytes = 56, locatorBytes = 20, recordBytes = 46, localBytes = 30;

struct Place {
  std::uint64_t begin = 0, bytes = 0, records = 0;
};

// The end record is the last thing in the archive but for a comment of at most 65,535 bytes.
std::optional<std::size_t> findEnd(Bytes archive) {
  if (archive.size() < endBytes) return std::nullopt;
  const std::size_t last = archive.size() - endBytes;
  const std::size_t first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (std::size_t at = last + 1; at-- > first;)
    if (u32(archive, at) == endSignature && at + endBytes + u16(archive, at + 20) == archive.size()) return at;
  return std::nullopt;
}

Result<Place> findDirectory(Bytes archive) {
  const std::optional<std::size_t> end = findEnd(archive);
  if (!end) return fail("has no zip directory at its end");
  if (u16(archive, *end + 4) != 0 && u16(archive, *end + 4) != 0xFFFF)
    return fail("is a part of a zip archive on several disks");
  Place place{u32(archive, *end + 16), u32(archive, *end + 12), u16(archive, *end + 10)};
  if (*end >= locatorBytes && u32(archive, *end - locatorBytes) == locatorSignature) {
    const std::uint64_t at = u64(archive, *end - locatorBytes + 8);
    if (!fits(archive, at, end64Bytes) || u32(archive, at) != end64Signature) return fail("the zip64 end record is broken");
    place = {u64(archive, at + 48), u64(archive, at + 40), u64(archive, at + 32)};
  }
  if (!fits(archive, place.begin, place.bytes)) return fail("the zip directory goes past the end of the file");
  if (place.records > place.bytes / recordBytes) return fail("the zip directory is too short for its members");
  return place;
}

// Fields that do not fit 32 bits stand in the zip64 extra field, in this order, each only where it is needed.
Status readZip64(Bytes extra, ZipRecord& record, std::uint64_t& localOffset) {
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    const std::size_t length = u16(extra, at + 2);
    if (!fits(extra, at + 4, length)) return fail("an extra field goes past its record");
    if (u16(extra, at) == 1) {
      const Bytes field = extra.subspan(at + 4, length);
      std::size_t next = 0;
      for (std::uint64_t* value : {&record.size, &record.compressedSize, &localOffset}) {
        if (*value != 0xFFFFFFFFu) continue;
        if (!fits(field, next, 8)) return fail("the zip64 field is too short");
        *value = u64(field, next);
        next += 8;
      }
      return {};
    }
    at += 4 + length;
  }
  return {};
}

Status checkLocal(Bytes archive, std::uint64_t at, ZipRecord& record) {
  if (!fits(archive, at, localBytes) || u32(archive, at) != localSignature) return fail("its local header is missing");
  const std::uint64_t nameBytes = u16(archive, at + 26);
  const std::uint64_t before = localBytes + nameBytes + u16(archive, at + 28);
  if (!fits(archive, at, before) || !fits(archive, at + before, record.compressedSize))
    return fail("its bytes go past the end of the file");
  const Bytes name = archive.subspan(at + localBytes, nameBytes);
  if (nameBytes != record.name.size() || std::memcmp(name.data(), record.name.data(), nameBytes) != 0)
    return fail("its local header has another name");
  record.dataOffset = at + before;
  return {};
}

Status readRecord(Bytes archive, Bytes directory, std::size_t& at, ZipRecord& record) {
  if (!fits(directory, at, recordBytes) || u32(directory, at) != recordSignature)
    return fail("a record of the zip directory is broken");
  const std::size_t nameBytes = u16(directory, at + 28);
  const std::size_t extraBytes = u16(directory, at + 30);
  const std::size_t total = recordBytes + nameBytes + extraBytes + u16(directory, at + 32);
  if (!fits(directory, at, total)) return fail("a record of the zip directory is cut off");
  record.name.assign(reinterpret_cast<const char*>(directory.data()) + at + recordBytes, nameBytes);
  record.method = u16(directory, at + 10);
  record.compressedSize = u32(directory, at + 20);
  record.size = u32(directory, at + 24);
  std::uint64_t localOffset = u32(directory, at + 42);
  const bool encrypted = (u16(directory, at + 8) & 1u) != 0;
  const Bytes extra = directory.subspan(at + recordBytes + nameBytes, extraBytes);
  at += total;
  Status status = encrypted ? Status(fail("is encrypted")) : readZip64(extra, record, localOffset);
  if (status) status = checkLocal(archive, localOffset, record);
  if (!status) return fail(status.error().within("member " + printable(record.name)));
  return {};
}

}  // namespace

Result<std::vector<ZipRecord>> readZipDirectory(Bytes archive) {
  const Result<Place> place = findDirectory(archive);
  if (!place) return fail(place.error());
  const Bytes directory = archive.subspan(place->begin, place->bytes);
  std::vector<ZipRecord> records;
  records.reserve(place->records);
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < place->records; ++i) NIBBLE_TRY(readRecord(archive, directory, at, records.emplace_back()));
  return records;
}

}  // namespace nibble
