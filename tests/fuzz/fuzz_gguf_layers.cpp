// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes are blocks of any type or an error; what is read decodes to finite numbers and is stored again. Any bytes are a
// SentencePiece model or an error. The first byte chooses the type.
#include "core/base/contracts.h"
#include "core/formats/gguf/tokenizer.h"
#include "core/quant/blocks.h"
#include "core/quant/decode.h"

#include <cmath>
#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nibble;
  const auto pieces = formats::gguf::sentencePieces({reinterpret_cast<const char*>(data), size});
  if (pieces) NIBBLE_EXPECTS(!pieces->empty() && pieces->size() <= size);
  if (size < 2) return 0;
  const BlockType type = allBlockTypes()[data[0] % allBlockTypes().size()];
  const kernels::BlockShape shape = kernels::blockShape(type);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data + 1, size - 1));
  const auto tensor = fromBlocks(type, bytes.size() / shape.bytes, shape.weights, bytes);
  if (!tensor) return 0;
  for (const float value : decodeAll(*tensor)) NIBBLE_EXPECTS(std::isfinite(value));
  const auto back = toBlocks(*tensor);
  NIBBLE_EXPECTS(back && back->size() == bytes.size());
  return 0;
}
