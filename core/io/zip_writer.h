// SPDX-License-Identifier: GPL-3.0-or-later
// Writes a zip archive of stored members, one after the other, without going back (PKWARE APPNOTE 4.3; zip64 where sizes need
// it). Members' bytes begin at multiples of 64, so that a mapped reader can use them in place. Dates are fixed: the same
// members give the same bytes.
#pragma once
#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nibble {

class AtomicFile;

class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file) : m_file(&file) {}
  // A member of `parts` in a row; the bytes are read twice, for the checksum and to write them.
  Status add(const std::string& name, std::initializer_list<std::span<const std::byte>> parts);
  // Writes the directory; nothing can be added after it.
  Status finish();

 private:
  struct Member {
    std::string name;
    std::uint32_t checksum = 0;
    std::uint64_t size = 0, offset = 0;
  };
  Status put(const std::string& bytes);
  AtomicFile* m_file;
  std::uint64_t m_written = 0;
  std::vector<Member> m_members;
};

// CRC-32 as zip uses it (reflected polynomial 0xEDB88320), continued from an earlier call's value.
std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace nibble
