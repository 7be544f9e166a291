// SPDX-License-Identifier: GPL-3.0-or-later
// The central directory of a zip archive as it is written (PKWARE APPNOTE 4.3.12 to 4.3.16, zip64 in 4.5.3).
// Every offset and length is checked against the archive's size; encrypted and multi-disk archives are refused.
#pragma once
#include "core/base/result.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace nibble {

struct ZipRecord {
  std::string name;
  std::uint16_t method = 0;  // 0 stored, 8 deflated
  std::uint64_t compressedSize = 0, size = 0;
  std::uint64_t dataOffset = 0;  // of the member's bytes, behind its local header
};

Result<std::vector<ZipRecord>> readZipDirectory(std::span<const std::byte> archive);

}  // namespace nibble
