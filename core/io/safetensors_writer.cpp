// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/safetensors_writer.h"

#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/io/container.h"
#include "core/io/name_index.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t largestHeader = 100'000'000;

Status checkTensors(const std::vector<RawTensor>& tensors) {
  NameIndex names(tensors.size());
  for (const RawTensor& tensor : tensors) {
    const std::string where = "tensor " + printable(tensor.name);
    if (tensor.name == "__metadata__") return fail(where + ": the name is the format's own");
    if (names.insert(tensor.name, 0)) return fail(where + ": the name occurs twice");
    if (!storedBytes(tensor.type, tensor.shape)) return fail(where + ": " + toText(tensor.shape) + " is no size for a file");
  }
  return {};
}

// Wide items first: then every tensor begins at a multiple of its own item size.
std::vector<std::size_t> byItemSize(const std::vector<RawTensor>& tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return info(tensors[a].type).bits > info(tensors[b].type).bits; });
  return order;
}

Result<std::string> headerOf(const std::vector<RawTensor>& tensors, const std::vector<std::size_t>& order,
                             const std::vector<std::pair<std::string, std::string>>& metadata) {
  try {
    // Put together piece by piece: an ordered_json object looks through all its keys for each new one.
    std::string header = "{";
    if (!metadata.empty()) {
      Json strings = Json::object();
      for (const auto& [key, value] : metadata) strings[key] = value;
      header += "\"__metadata__\":" + strings.dump();
    }
    std::uint64_t offset = 0;
    for (const std::size_t i : order) {
      const RawTensor& tensor = tensors[i];
      const std::uint64_t end = offset + *storedBytes(tensor.type, tensor.shape);
      const Json entry = {{"dtype", info(tensor.type).name}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
      if (header.size() > 1) header += ",";
      header += Json(tensor.name).dump();
      (header += ':') += entry.dump();
      offset = end;
    }
    header += '}';
    header.append((8 - header.size() % 8) % 8, ' ');
    if (header.size() > largestHeader)
      return fail("the header takes " + text::byteSize(header.size()) + ", more than the format's " +
                  text::byteSize(largestHeader));
    return header;
  } catch (const nlohmann::json::exception&) {
    return fail("a tensor's name or the metadata is not UTF-8");
  }
}

}  // namespace

RawTensor rawTensor(const Tensor& tensor) {
  RawTensor raw{tensor.name(), tensor.type(), tensor.shape(), {}, tensor.bytes(), {}};
  raw.intact = [tensor] { return tensor.intact(); };
  return raw;
}

Result<SafetensorsStream> SafetensorsStream::begin(AtomicFile& file, const std::vector<RawTensor>& tensors,
                                                   const std::vector<std::pair<std::string, std::string>>& metadata) try {
  NIBBLE_TRY(checkTensors(tensors));
  const std::vector<std::size_t> order = byItemSize(tensors);
  const Result<std::string> header = headerOf(tensors, order, metadata);
  if (!header) return fail(header.error());
  const std::uint64_t length = header->size();
  NIBBLE_TRY(file.write(std::as_bytes(std::span(&length, 1))));
  NIBBLE_TRY(file.write(*header));
  SafetensorsStream stream;
  stream.m_file = &file;
  stream.m_places.resize(tensors.size());
  std::uint64_t offset = sizeof(length) + length;
  for (const std::size_t i : order) {
    const std::uint64_t size = *storedBytes(tensors[i].type, tensors[i].shape);
    stream.m_places[i] = {offset, size, tensors[i].name};
    offset += size;
  }
  return stream;
} catch (const std::bad_alloc&) {
  return fail("not enough memory for the header");
}

Status SafetensorsStream::put(std::size_t index, std::span<const std::byte> bytes) {
  const Place& place = m_places.at(index);
  if (bytes.size() != place.size)
    return fail("tensor " + printable(place.name) + ": " + text::number(std::uint64_t{bytes.size()}) + " bytes, not " +
                text::number(place.size));
  return m_file->writeAt(place.offset, bytes);
}

Status writeSafetensors(AtomicFile& file, const std::vector<RawTensor>& tensors,
                        const std::vector<std::pair<std::string, std::string>>& metadata) {
  for (const RawTensor& tensor : tensors)
    if (storedBytes(tensor.type, tensor.shape) != tensor.bytes().size())
      return fail("tensor " + printable(tensor.name) + ": " + text::number(std::uint64_t{tensor.bytes().size()}) +
                  " bytes are not " + toText(tensor.shape) + " of " + std::string(info(tensor.type).name));
  auto stream = SafetensorsStream::begin(file, tensors, metadata);
  if (!stream) return fail(stream.error());
  for (const std::size_t i : byItemSize(tensors)) {
    const Status written = stream->put(i, tensors[i].bytes());
    // A map that shrank makes the write fail too; then that is the reason to tell.
    if (tensors[i].intact) NIBBLE_TRY(tensors[i].intact());
    if (!written) return written;
  }
  return {};
}

}  // namespace nibble
