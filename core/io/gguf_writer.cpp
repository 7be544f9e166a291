// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/io/container.h"
#include "core/io/gguf.h"
#include "core/io/name_index.h"
#include "core/io/safetensors_writer.h"

#include <bit>
#include <cstring>

namespace nibble {
namespace {

template <class T>
void put(std::vector<std::byte>& bytes, const T& value) {
  const auto* from = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), from, from + sizeof(T));
}

void putText(std::vector<std::byte>& bytes, std::string_view text) {
  put(bytes, std::uint64_t{text.size()});
  const auto* from = reinterpret_cast<const std::byte*>(text.data());
  bytes.insert(bytes.end(), from, from + text.size());
}

template <class T>
GgufValue scalar(std::string key, GgufType type, const T& number) {
  GgufValue value{std::move(key), type, {}};
  put(value.bytes, number);
  return value;
}

template <class T>
GgufValue array(std::string key, GgufType element, std::span<const T> numbers) {
  GgufValue value{std::move(key), GgufType::Array, {}};
  put(value.bytes, static_cast<std::uint32_t>(element));
  put(value.bytes, std::uint64_t{numbers.size()});
  for (const T& number : numbers) put(value.bytes, number);
  return value;
}

std::uint64_t padded(std::uint64_t size, std::uint64_t alignment) { return (size + alignment - 1) / alignment * alignment; }

Result<std::uint64_t> alignmentOf(const std::vector<GgufValue>& values) {
  NameIndex keys(values.size());
  std::uint64_t alignment = 32;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i].key.empty() || keys.insert(values[i].key, static_cast<std::uint32_t>(i)))
      return fail("metadata " + printable(values[i].key) + ": is empty or there twice");
    if (values[i].key != "general.alignment") continue;
    std::uint32_t number = 0;
    if (values[i].type != GgufType::U32 || values[i].bytes.size() != 4) return fail("general.alignment must be a u32");
    std::memcpy(&number, values[i].bytes.data(), 4);
    if (!std::has_single_bit(number)) return fail("general.alignment is no power of two");
    alignment = number;
  }
  return alignment;
}

Status checkTensors(const std::vector<RawTensor>& tensors) {
  NameIndex names(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const RawTensor& tensor = tensors[i];
    const auto refuse = [&](const std::string& why) { return fail("tensor " + printable(tensor.name) + ": " + why); };
    if (tensor.name.size() > 63) return refuse("GGUF names have at most 63 bytes");
    if (names.insert(tensor.name, static_cast<std::uint32_t>(i))) return refuse("is there twice");
    if (tensor.shape.size() > 4) return refuse("GGUF tensors have at most 4 dimensions");
    if (!ggufTypeOf(tensor.type, tensor.block)) return refuse(std::string(info(tensor.type).name) + " has no place in GGUF");
    if (storedBytes(tensor.type, tensor.shape) != tensor.bytes().size()) return refuse("its bytes do not fit type and shape");
    if (tensor.block && (tensor.shape.empty() || tensor.shape.back() % kernels::blockShape(*tensor.block).bytes != 0))
      return refuse("its rows are no whole blocks");
  }
  return {};
}

void putEntry(std::vector<std::byte>& header, const RawTensor& tensor, std::uint64_t offset) {
  putText(header, tensor.name);
  put(header, static_cast<std::uint32_t>(tensor.shape.size()));
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    std::uint64_t side = tensor.shape[i];
    if (tensor.block && i + 1 == tensor.shape.size()) {
      const kernels::BlockShape block = kernels::blockShape(*tensor.block);
      side = side / block.bytes * block.weights;
    }
    put(header, side);
  }
  put(header, *ggufTypeOf(tensor.type, tensor.block));
  put(header, offset);
}

}  // namespace

GgufValue GgufValue::text(std::string key, std::string_view value) {
  GgufValue result{std::move(key), GgufType::String, {}};
  putText(result.bytes, value);
  return result;
}
GgufValue GgufValue::number(std::string key, std::uint32_t value) { return scalar(std::move(key), GgufType::U32, value); }
GgufValue GgufValue::real(std::string key, float value) { return scalar(std::move(key), GgufType::F32, value); }
GgufValue GgufValue::flag(std::string key, bool value) {
  return scalar(std::move(key), GgufType::Bool, static_cast<std::uint8_t>(value ? 1 : 0));
}
GgufValue GgufValue::texts(std::string key, std::span<const std::string> values) {
  GgufValue result{std::move(key), GgufType::Array, {}};
  put(result.bytes, static_cast<std::uint32_t>(GgufType::String));
  put(result.bytes, std::uint64_t{values.size()});
  for (const std::string& value : values) putText(result.bytes, value);
  return result;
}
GgufValue GgufValue::numbers(std::string key, std::span<const std::int32_t> values) {
  return array(std::move(key), GgufType::I32, values);
}
GgufValue GgufValue::reals(std::string key, std::span<const float> values) { return array(std::move(key), GgufType::F32, values); }

Status writeGguf(AtomicFile& file, const std::vector<RawTensor>& tensors, const std::vector<GgufValue>& values) {
  const auto alignment = alignmentOf(values);
  if (!alignment) return fail(alignment.error());
  NIBBLE_TRY(checkTensors(tensors));
  std::vector<std::byte> header;
  for (const char c : {'G', 'G', 'U', 'F'}) put(header, c);
  put(header, std::uint32_t{3});
  put(header, std::uint64_t{tensors.size()});
  put(header, std::uint64_t{values.size()});
  for (const GgufValue& value : values) {
    putText(header, value.key);
    put(header, static_cast<std::uint32_t>(value.type));
    header.insert(header.end(), value.bytes.begin(), value.bytes.end());
  }
  std::uint64_t offset = 0;
  for (const RawTensor& tensor : tensors) {
    putEntry(header, tensor, offset);
    offset += padded(tensor.bytes().size(), *alignment);
  }
  header.resize(padded(header.size(), *alignment));
  NIBBLE_TRY(file.write(header));
  for (const RawTensor& tensor : tensors) {
    NIBBLE_TRY(file.write(tensor.bytes()));
    if (tensor.intact) NIBBLE_TRY(tensor.intact());
    const std::uint64_t size = tensor.bytes().size();
    NIBBLE_TRY(file.write(std::vector<std::byte>(padded(size, *alignment) - size)));
  }
  return {};
}

}  // namespace nibble
