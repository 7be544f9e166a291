// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes are a GGUF header or an error; tensors of an accepted one lie inside the file, apart from each other.
#include "core/base/contracts.h"
#include "core/io/gguf.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto header = nibble::parseGgufHeader(std::as_bytes(std::span(data, size)));
  if (!header) return 0;
  NIBBLE_EXPECTS(header->entries.size() == header->offsets.size());
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < header->entries.size(); ++i) {
    const nibble::TensorEntry& entry = header->entries[i];
    NIBBLE_EXPECTS(nibble::storedBytes(entry.type, entry.shape) == entry.sizeBytes);
    if (entry.sizeBytes == 0) continue;
    NIBBLE_EXPECTS(header->offsets[i] >= end && header->offsets[i] % header->alignment == 0);
    NIBBLE_EXPECTS(entry.sizeBytes <= size && header->offsets[i] <= size - entry.sizeBytes);
    end = header->offsets[i] + entry.sizeBytes;
  }
  for (const nibble::GgufValue& value : header->values) NIBBLE_EXPECTS(nibble::displayText(value).size() < size + 4096);
  return 0;
}
