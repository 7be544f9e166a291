// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes are a safetensors header or an error; what is accepted covers the data exactly.
#include "core/base/contracts.h"
#include "core/io/safetensors.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto header = nibble::parseSafetensorsHeader(std::as_bytes(std::span(data, size)));
  if (!header) {
    NIBBLE_EXPECTS(!header.error().message.empty());
    NIBBLE_EXPECTS(header.error().message.find('\n') == std::string::npos);
    return 0;
  }
  NIBBLE_EXPECTS(header->offsets.size() == header->entries.size());
  std::uint64_t at = header->offsets.empty() ? size : header->offsets.front();
  for (std::size_t i = 0; i < header->entries.size(); ++i) {
    const nibble::TensorEntry& entry = header->entries[i];
    NIBBLE_EXPECTS(header->offsets[i] == at);
    NIBBLE_EXPECTS(nibble::storedBytes(entry.type, entry.shape) == entry.sizeBytes);
    at += entry.sizeBytes;
  }
  NIBBLE_EXPECTS(at == size);
  return 0;
}
