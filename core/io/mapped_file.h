// SPDX-License-Identifier: GPL-3.0-or-later
// A file mapped read-only and shared; opening reads no page. Any thread may read the bytes.
// A file may shrink while it is mapped, and the system then answers a read with SIGBUS. A handler, installed with the first
// map, puts zero pages over what is gone and raises a flag on that map; whoever reads asks `intact` after reading and gets an
// Error that names the file. Faults at other addresses go to the handler that was there before.
// The descriptor stays open, so that `intact` also sees a cut within the last page, which raises no signal.
#pragma once
#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace nibble {

class MappedFile {
 public:
  // Refuses what is not a regular file. At most 4096 files can be mapped at once.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  [[nodiscard]] const std::filesystem::path& path() const { return m_path; }
  [[nodiscard]] std::span<const std::byte> bytes() const { return m_bytes; }
  // Whether every byte read so far was really the file's.
  [[nodiscard]] Status intact() const;
  // Whether the path now leads to other bytes: another file, size or time of change.
  [[nodiscard]] bool changedOnDisk() const;

 private:
  struct Identity {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Identity&) const = default;
  };
  MappedFile() = default;
  Status map(int descriptor);

  std::filesystem::path m_path;
  std::span<const std::byte> m_bytes;
  Identity m_identity;
  int m_descriptor = -1;
  int m_slot = -1;
};

}  // namespace nibble
