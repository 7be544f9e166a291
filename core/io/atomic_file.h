// SPDX-License-Identifier: GPL-3.0-or-later
// Files appear whole or not at all: written under a temporary name beside the destination, fsynced, renamed.
// A writer that is destroyed without `commit` leaves nothing behind. Errors carry the path and the system's reason.
// A symbolic link is written through; an existing file's permissions are kept. SIGXFSZ, where nobody handles it, is ignored
// from the first writer on, so that a file size limit is an Error and not the end of the program.
#pragma once
#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace nibble {

class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& destination);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  // At a place of its own, which need not be the end; `write` goes on where it was.
  Status writeAt(std::uint64_t offset, std::span<const std::byte> bytes);
  // Flushes and fsyncs; after this the temporary file can be read back before `commit`.
  Status sync();
  [[nodiscard]] const std::filesystem::path& temporaryPath() const { return m_temporary; }
  // Renames to the destination and fsyncs the folder.
  Status commit();

 private:
  AtomicFile(int descriptor, std::filesystem::path temporary, std::filesystem::path destination);
  template <class Write>
  Status writeAll(std::span<const std::byte> bytes, const Write& writeSome);
  void discard() noexcept;
  int m_descriptor = -1;
  std::filesystem::path m_temporary, m_destination;
  bool m_failed = false;  // a write failed: nothing of it may be put in place
};

// A whole text file at once.
Status writeFileAtomically(const std::filesystem::path& destination, std::string_view text);

}  // namespace nibble
