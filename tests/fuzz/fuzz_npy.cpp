// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes are an npy array or an error; an array that is all there can be put in order.
#include "core/base/contracts.h"
#include "core/io/npy.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const auto header = nibble::parseNpyHeader(bytes);
  if (!header) return 0;
  NIBBLE_EXPECTS(header->dataOffset <= size);
  NIBBLE_EXPECTS(nibble::storedBytes(header->type, header->shape) == header->dataBytes);
  if (size - header->dataOffset < header->dataBytes) return 0;
  const auto ordered = nibble::npyRowMajor(*header, bytes.subspan(header->dataOffset));
  NIBBLE_EXPECTS(ordered.has_value());
  return 0;
}
