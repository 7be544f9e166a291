// SPDX-License-Identifier: GPL-3.0-or-later
// Writes one .safetensors file: tensors by falling item size, so that every one is aligned to its items; header padded with
// spaces to a multiple of 8; `__metadata__` strings as given. Bytes come from memory or from another checkpoint's map.
#pragma once
#include "core/base/result.h"
#include "core/tensor/tensor.h"
#include "kernels/block_type.h"

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nibble {

class AtomicFile;

struct RawTensor {
  std::string name;
  DType type = DType::U8;
  Shape shape;
  std::vector<std::byte> owned;               // the bytes, unless `borrowed` is set
  std::span<const std::byte> borrowed{};      // bytes somebody else keeps alive while writing
  std::function<Status()> intact{};           // asked after borrowed bytes were written: whether they were really there
  std::optional<kernels::BlockType> block{};  // for a GGUF file: the rows are blocks; shape and type as in TensorEntry
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return borrowed.data() != nullptr ? borrowed : std::span<const std::byte>(owned);
  }
};

// The tensor's stored bytes, borrowed; keeps the tensor alive.
RawTensor rawTensor(const Tensor& tensor);

// Refuses names that occur twice or are no UTF-8, "__metadata__", and bytes that do not fit type and shape.
Status writeSafetensors(AtomicFile& file, const std::vector<RawTensor>& tensors,
                        const std::vector<std::pair<std::string, std::string>>& metadata = {{"format", "pt"}});

// The same where the bytes come piece by piece, in any order: the header is written first, from names, types and shapes alone.
class SafetensorsStream {
 public:
  // `tensors`: their bytes are not looked at. The file outlives the stream.
  static Result<SafetensorsStream> begin(AtomicFile& file, const std::vector<RawTensor>& tensors,
                                         const std::vector<std::pair<std::string, std::string>>& metadata = {{"format", "pt"}});
  // The bytes of tensor `index`. Refuses those that do not fit type and shape.
  Status put(std::size_t index, std::span<const std::byte> bytes);

 private:
  struct Place {
    std::uint64_t offset = 0, size = 0;
    std::string name;
  };
  AtomicFile* m_file = nullptr;
  std::vector<Place> m_places;
};

}  // namespace nibble
