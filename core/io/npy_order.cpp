// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/contracts.h"
#include "core/base/text.h"
#include "core/io/npy.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace nibble {
namespace {

// A column-major array of shape [d0, ..., dk] as three nested counts: d0, which runs fastest in the source, dk, which runs
// fastest in the result, and everything between. Tiles of the first and last keep both sides in cache.
template <std::size_t itemBytes>
void transpose(const std::byte* from, std::byte* to, const Shape& shape) {
  const std::uint64_t first = shape.front();
  const std::uint64_t last = shape.back();
  const std::uint64_t total = elementCount(shape);
  const std::uint64_t middle = total / first / last;
  const std::uint64_t fromStep = total / last;  // between neighbours along the last dimension
  const std::uint64_t toStep = total / first;   // between neighbours along the first
  constexpr std::uint64_t tile = 32;
  Shape at(shape.size(), 0);  // the dimensions between, last of them fastest
  for (std::uint64_t m = 0; m < middle; ++m) {
    std::uint64_t fromStart = 0;
    std::uint64_t stride = first;
    for (std::size_t d = 1; d + 1 < shape.size(); ++d) {
      fromStart += at[d] * stride;
      stride *= shape[d];
    }
    for (std::uint64_t i0 = 0; i0 < first; i0 += tile)
      for (std::uint64_t j0 = 0; j0 < last; j0 += tile)
        for (std::uint64_t i = i0; i < std::min(i0 + tile, first); ++i)
          for (std::uint64_t j = j0; j < std::min(j0 + tile, last); ++j)
            std::memcpy(to + (i * toStep + m * last + j) * itemBytes, from + (i + fromStart + j * fromStep) * itemBytes,
                        itemBytes);
    for (std::size_t d = shape.size() - 2; d >= 1 && ++at[d] == shape[d]; --d) at[d] = 0;
  }
}

void swapItems(std::byte* bytes, std::uint64_t count, std::size_t itemBytes) {
  for (std::uint64_t i = 0; i < count; ++i) std::reverse(bytes + i * itemBytes, bytes + (i + 1) * itemBytes);
}

}  // namespace

Result<std::shared_ptr<std::byte[]>> npyRowMajor(const NpyHeader& header, std::span<const std::byte> data) {
  NIBBLE_EXPECTS(data.size() >= header.dataBytes);
  std::shared_ptr<std::byte[]> result;
  try {
    result = std::make_shared_for_overwrite<std::byte[]>(header.dataBytes);
  } catch (const std::bad_alloc&) {
    return fail("not enough memory for " + text::byteSize(header.dataBytes));
  }
  if (header.dataBytes == 0) return result;
  const auto itemBytes = static_cast<std::size_t>(info(header.type).bits) / 8;
  if (!header.fortranOrder || header.shape.size() < 2) {
    std::memcpy(result.get(), data.data(), header.dataBytes);
  } else {
    switch (itemBytes) {
      case 1:
        transpose<1>(data.data(), result.get(), header.shape);
        break;
      case 2:
        transpose<2>(data.data(), result.get(), header.shape);
        break;
      case 4:
        transpose<4>(data.data(), result.get(), header.shape);
        break;
      default:
        transpose<8>(data.data(), result.get(), header.shape);
        break;
    }
  }
  // A complex number is two numbers, each with its own bytes in order.
  const std::size_t swapped = header.type == DType::C64 ? 4 : itemBytes;
  if (header.bigEndian) swapItems(result.get(), header.dataBytes / swapped, swapped);
  return result;
}

}  // namespace nibble
