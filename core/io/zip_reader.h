// SPDX-License-Identifier: GPL-3.0-or-later
// The members of a zip archive that lies in memory (a mapped file). libzip inflates; the place of stored members is read here
// from the archive's directory (PKWARE APPNOTE 4.3 and 4.5.3), because libzip does not tell it, and both must agree.
// Sizes that cannot be true are refused at opening: beyond the file, or above what deflate can make of the bytes (1032 : 1).
// Safe to use from many threads; inflating is done by one at a time.
#pragma once
#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct zip;

namespace nibble {

struct ZipMember {
  std::string name;
  std::uint64_t size = 0;               // inflated
  std::optional<std::uint64_t> offset;  // of the bytes in the archive, where they are stored as they are
};

class ZipReader {
 public:
  static Result<std::unique_ptr<ZipReader>> open(std::span<const std::byte> archive);
  ~ZipReader();
  ZipReader(const ZipReader&) = delete;
  ZipReader& operator=(const ZipReader&) = delete;

  [[nodiscard]] const std::vector<ZipMember>& members() const { return m_members; }
  // The first bytes of a member, at most `count`.
  Result<std::vector<std::byte>> readStart(std::size_t member, std::size_t count) const;
  // Everything; fails when the member is shorter or longer than it says, or its checksum differs.
  Result<std::shared_ptr<std::byte[]>> readAll(std::size_t member) const;

 private:
  ZipReader() = default;
  Status inflate(std::size_t member, std::span<std::byte> out, bool whole) const;
  zip* m_handle = nullptr;
  mutable std::mutex m_mutex;  // libzip's handle is one thread's at a time
  std::vector<ZipMember> m_members;
};

}  // namespace nibble
