// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/zip_writer.h"

#include "core/io/atomic_file.h"
#include "core/io/container.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace nibble {
namespace {

constexpr std::uint64_t small = 0xFFFFFFFFu;  // what is at or above it stands in a zip64 field
constexpr std::uint16_t needs20 = 20, needs45 = 45, utf8Names = 0x0800;
constexpr std::uint16_t firstDay = (0 << 9) | (1 << 5) | 1;  // 1980-01-01
constexpr std::uint16_t zip64Field = 1, paddingField = 0x4B4E;
constexpr std::size_t localBytes = 30, fieldHead = 4, alignment = 64;

template <class T>
void append(std::string& out, T value) {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), &value, sizeof value);
  out.append(bytes.data(), bytes.size());
}

std::uint32_t capped(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min(value, small));
}

// What a local header and a directory record have in common.
void appendFacts(std::string& out, bool wide, std::uint32_t checksum, std::uint64_t size, std::size_t nameBytes,
                 std::size_t extraBytes) {
  append<std::uint16_t>(out, wide ? needs45 : needs20);
  append<std::uint16_t>(out, utf8Names);
  append<std::uint16_t>(out, 0);  // stored
  append<std::uint16_t>(out, 0);  // midnight
  append<std::uint16_t>(out, firstDay);
  append<std::uint32_t>(out, checksum);
  append<std::uint32_t>(out, capped(size));
  append<std::uint32_t>(out, capped(size));
  append<std::uint16_t>(out, static_cast<std::uint16_t>(nameBytes));
  append<std::uint16_t>(out, static_cast<std::uint16_t>(extraBytes));
}

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

Tables crcTables() {
  Tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1u) != 0 ? 0xEDB88320u : 0u);
    tables[0][i] = value;
  }
  for (std::uint32_t i = 0; i < 256; ++i)
    for (std::size_t t = 1; t < 8; ++t) tables[t][i] = (tables[t - 1][i] >> 8) ^ tables[0][tables[t - 1][i] & 0xFFu];
  return tables;
}

}  // namespace

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) {
  static const Tables tables = crcTables();
  std::uint32_t value = ~before;
  while (bytes.size() >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), 8);
    word ^= value;
    value = 0;
    for (std::size_t i = 0; i < 8; ++i) value ^= tables[7 - i][(word >> (8 * i)) & 0xFFu];
    bytes = bytes.subspan(8);
  }
  for (const std::byte byte : bytes) value = (value >> 8) ^ tables[0][(value ^ std::to_integer<std::uint32_t>(byte)) & 0xFFu];
  return ~value;
}

Status ZipWriter::put(const std::string& bytes) {
  NIBBLE_TRY(m_file->write(bytes));
  m_written += bytes.size();
  return {};
}

Status ZipWriter::add(const std::string& name, std::initializer_list<std::span<const std::byte>> parts) {
  if (name.size() > 0xFFFF) return fail("member " + printable(name) + ": the name is too long for a zip archive");
  Member member{name, 0, 0, m_written};
  for (const auto part : parts) {
    member.checksum = crc32(part, member.checksum);
    member.size += part.size();
  }
  const bool wide = member.size >= small;
  std::string extra;
  if (wide) {
    append(extra, zip64Field);
    append<std::uint16_t>(extra, 16);
    append(extra, member.size);
    append(extra, member.size);
  }
  const std::size_t before = m_written + localBytes + name.size() + extra.size() + fieldHead;
  const std::size_t padding = (alignment - before % alignment) % alignment;
  append(extra, paddingField);
  append(extra, static_cast<std::uint16_t>(padding));
  extra.append(padding, '\0');
  std::string header;
  append<std::uint32_t>(header, 0x04034b50);
  appendFacts(header, wide, member.checksum, member.size, name.size(), extra.size());
  NIBBLE_TRY(put(header + name + extra));
  for (const auto part : parts) NIBBLE_TRY(m_file->write(part));
  m_written += member.size;
  m_members.push_back(std::move(member));
  return {};
}

Status ZipWriter::finish() {
  const std::uint64_t begin = m_written;
  std::string out;
  for (const Member& member : m_members) {
    std::string values;
    if (member.size >= small) {
      append(values, member.size);
      append(values, member.size);
    }
    if (member.offset >= small) append(values, member.offset);
    std::string extra;
    if (!values.empty()) {
      append(extra, zip64Field);
      append(extra, static_cast<std::uint16_t>(values.size()));
      extra += values;
    }
    append<std::uint32_t>(out, 0x02014b50);
    append<std::uint16_t>(out, needs45);
    appendFacts(out, !extra.empty(), member.checksum, member.size, member.name.size(), extra.size());
    out.append(2 + 2 + 2 + 4, '\0');  // no comment, first disk, no attributes
    append(out, capped(member.offset));
    out += member.name + extra;
  }
  const std::uint64_t bytes = out.size();
  const std::uint64_t count = m_members.size();
  if (begin >= small || bytes >= small || count >= 0xFFFF) {
    append<std::uint32_t>(out, 0x06064b50);
    append<std::uint64_t>(out, 44);  // bytes of this record that follow
    append<std::uint16_t>(out, needs45);
    append<std::uint16_t>(out, needs45);
    append<std::uint64_t>(out, 0);  // first disk
    for (const std::uint64_t value : {count, count, bytes, begin}) append(out, value);
    append<std::uint32_t>(out, 0x07064b50);
    append<std::uint32_t>(out, 0);
    append(out, begin + bytes);
    append<std::uint32_t>(out, 1);
  }
  append<std::uint32_t>(out, 0x06054b50);
  append<std::uint32_t>(out, 0);
  for (int i = 0; i < 2; ++i) append(out, static_cast<std::uint16_t>(std::min<std::uint64_t>(count, 0xFFFF)));
  append(out, capped(bytes));
  append(out, capped(begin));
  append<std::uint16_t>(out, 0);
  return put(out);
}

}  // namespace nibble
