// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/io/container.h"
#include "core/io/name_index.h"
#include "core/io/npy.h"
#include "core/io/zip_writer.h"

#include <cstring>
#include <new>

namespace nibble {
namespace {

std::string_view descriptor(DType type) {
  switch (type) {
    case DType::Bool:
      return "|b1";
    case DType::U8:
      return "|u1";
    case DType::I8:
      return "|i1";
    case DType::I16:
      return "<i2";
    case DType::U16:
      return "<u2";
    case DType::F16:
      return "<f2";
    case DType::I32:
      return "<i4";
    case DType::U32:
      return "<u4";
    case DType::F32:
      return "<f4";
    case DType::C64:
      return "<c8";
    case DType::F64:
      return "<f8";
    case DType::I64:
      return "<i8";
    case DType::U64:
      return "<u8";
    default:
      return {};
  }
}

std::string tupleOf(const Shape& shape) {
  std::string tuple = "(";
  for (std::size_t d = 0; d < shape.size(); ++d) tuple += (d > 0 ? ", " : "") + text::number(shape[d]);
  return tuple + (shape.size() == 1 ? ",)" : ")");
}

std::span<const std::byte> bytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Status addArray(ZipWriter& zip, const RawTensor& array) {
  const Result<std::string> preamble = npyPreamble(array);
  if (!preamble) return fail(preamble.error());
  const Status written = zip.add(array.name + ".npy", {bytesOf(*preamble), array.bytes()});
  if (array.intact) NIBBLE_TRY(array.intact());
  return written;
}

}  // namespace

Result<std::string> npyPreamble(const RawTensor& tensor) {
  const std::string where = "array " + printable(tensor.name);
  const std::string_view type = descriptor(tensor.type);
  if (type.empty()) return fail(where + ": NumPy has no name for " + std::string(info(tensor.type).name));
  if (storedBytes(tensor.type, tensor.shape) != tensor.bytes().size())
    return fail(where + ": " + text::number(std::uint64_t{tensor.bytes().size()}) + " bytes are not " + toText(tensor.shape) +
                " of " + std::string(info(tensor.type).name));
  std::string dict = "{'descr': '" + std::string(type) + "', 'fortran_order': False, 'shape': " + tupleOf(tensor.shape) + ", }";
  constexpr std::size_t fixedBytes = 10, alignment = 64;
  const std::size_t unpadded = fixedBytes + dict.size() + 1;
  dict.append((alignment - unpadded % alignment) % alignment, ' ');
  dict += '\n';
  if (dict.size() > 0xFFFF) return fail(where + ": its shape does not fit npy version 1.0");
  std::string preamble("\x93NUMPY\x01\x00", 8);
  preamble += static_cast<char>(dict.size() & 0xFF);
  preamble += static_cast<char>(dict.size() >> 8);
  return preamble + dict;
}

Result<std::vector<std::byte>> npyImage(const RawTensor& tensor) {
  const Result<std::string> preamble = npyPreamble(tensor);
  if (!preamble) return fail(preamble.error());
  try {
    std::vector<std::byte> image(preamble->size() + tensor.bytes().size());
    std::memcpy(image.data(), preamble->data(), preamble->size());
    if (!tensor.bytes().empty()) std::memcpy(image.data() + preamble->size(), tensor.bytes().data(), tensor.bytes().size());
    if (tensor.intact) NIBBLE_TRY(tensor.intact());
    return image;
  } catch (const std::bad_alloc&) {
    return fail("array " + printable(tensor.name) + ": not enough memory");
  }
}

Status writeNpz(const std::filesystem::path& destination, const std::vector<RawTensor>& arrays) {
  Result<AtomicFile> file = AtomicFile::create(destination);
  if (!file) return fail(file.error());
  ZipWriter zip(*file);
  NameIndex names(arrays.size());
  for (const RawTensor& array : arrays) {
    if (names.insert(array.name, 0)) return fail(destination.string() + ": array " + printable(array.name) + " is there twice");
    if (Status status = addArray(zip, array); !status) return fail(status.error().within(destination.string()));
  }
  NIBBLE_TRY(zip.finish());
  return file->commit();
}

Status writeNpy(const std::filesystem::path& destination, const RawTensor& tensor) {
  const Result<std::string> preamble = npyPreamble(tensor);
  if (!preamble) return fail(preamble.error().within(destination.string()));
  Result<AtomicFile> file = AtomicFile::create(destination);
  if (!file) return fail(file.error());
  NIBBLE_TRY(file->write(*preamble));
  const Status written = file->write(tensor.bytes());
  if (tensor.intact) NIBBLE_TRY(tensor.intact());
  if (!written) return written;
  return file->commit();
}

}  // namespace nibble
