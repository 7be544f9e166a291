// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/text.h"
#include "core/io/container.h"
#include "core/io/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace nibble {
namespace {

namespace dom = simdjson::dom;

constexpr std::uint64_t largestHeader = 100'000'000;

Error aboutTensor(std::string_view name, const std::string& what) {
  return {ErrorKind::Input, "tensor " + printable(name) + ": " + what};
}

struct Range {
  std::uint64_t begin = 0, end = 0;
};

// The fields of one tensor's object, as far as they have been seen.
struct Fields {
  bool type = false, shape = false, offsets = false;
};

Status readType(dom::element value, DType& type) {
  std::string_view name;
  if (value.get(name) != simdjson::SUCCESS) return fail("dtype is not a string");
  const std::optional<DType> known = dtypeFromName(name);
  if (!known) return fail("unknown dtype " + printable(name));
  type = *known;
  return {};
}

Status readShape(dom::element value, Shape& shape) {
  dom::array sides;
  if (value.get(sides) != simdjson::SUCCESS) return fail("shape is not a list");
  shape.reserve(sides.size());
  for (const dom::element side : sides) {
    std::uint64_t number = 0;
    if (side.get(number) != simdjson::SUCCESS) return fail("a dimension is not a whole number from 0");
    shape.push_back(number);
  }
  return {};
}

Status readOffsets(dom::element value, Range& range) {
  dom::array pair;
  if (value.get(pair) != simdjson::SUCCESS || pair.size() != 2) return fail("data_offsets is not a list of two numbers");
  auto at = pair.begin();
  if ((*at).get(range.begin) != simdjson::SUCCESS || (*++at).get(range.end) != simdjson::SUCCESS)
    return fail("data_offsets holds what is not a whole number from 0");
  if (range.begin > range.end)
    return fail("its bytes end (" + text::number(range.end) + ") before they begin (" + text::number(range.begin) + ")");
  return {};
}

Status readField(dom::key_value_pair field, Fields& seen, TensorEntry& entry, Range& range) {
  const auto once = [&](bool& flag) -> Status {
    if (std::exchange(flag, true)) return fail(std::string(field.key) + " occurs twice");
    return {};
  };
  if (field.key == "dtype") {
    NIBBLE_TRY(once(seen.type));
    return readType(field.value, entry.type);
  }
  if (field.key == "shape") {
    NIBBLE_TRY(once(seen.shape));
    return readShape(field.value, entry.shape);
  }
  if (field.key == "data_offsets") {
    NIBBLE_TRY(once(seen.offsets));
    return readOffsets(field.value, range);
  }
  return {};
}

Status readTensor(dom::element value, TensorEntry& entry, Range& range) {
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return fail("its entry is not an object");
  Fields seen;
  for (const dom::key_value_pair field : object) NIBBLE_TRY(readField(field, seen, entry, range));
  if (!seen.type) return fail("dtype is missing");
  if (!seen.shape) return fail("shape is missing");
  if (!seen.offsets) return fail("data_offsets is missing");
  const std::optional<std::uint64_t> bytes = storedBytes(entry.type, entry.shape);
  if (!bytes)
    return fail("shape " + toText(entry.shape) + " of " + std::string(info(entry.type).name) +
                " overflows or ends within a byte");
  if (*bytes != range.end - range.begin)
    return fail("shape " + toText(entry.shape) + " of " + std::string(info(entry.type).name) + " takes " +
                text::number(*bytes) + " bytes, data_offsets give " + text::number(range.end - range.begin));
  entry.sizeBytes = *bytes;
  return {};
}

Status readMetadata(dom::element value, std::vector<std::pair<std::string, std::string>>& metadata) {
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return fail("__metadata__ is not an object");
  NameIndex keys(object.size());
  for (const dom::key_value_pair field : object) {
    std::string_view string;
    if (field.value.get(string) != simdjson::SUCCESS) return fail("__metadata__: " + printable(field.key) + " is not a string");
    if (keys.insert(field.key, 0)) return fail("__metadata__: " + printable(field.key) + " occurs twice");
    metadata.emplace_back(field.key, string);
  }
  return {};
}

// Puts entries in the order of their bytes. Entries without bytes come before what begins at the same place.
void sortByPlace(std::vector<TensorEntry>& entries, std::vector<Range>& ranges) {
  const auto before = [](const Range& a, const Range& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; };
  if (std::is_sorted(ranges.begin(), ranges.end(), before)) return;
  std::vector<std::uint32_t> order(ranges.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return before(ranges[a], ranges[b]); });
  std::vector<TensorEntry> sortedEntries;
  std::vector<Range> sortedRanges;
  sortedEntries.reserve(order.size());
  sortedRanges.reserve(order.size());
  for (const std::uint32_t i : order) {
    sortedEntries.push_back(std::move(entries[i]));
    sortedRanges.push_back(ranges[i]);
  }
  entries = std::move(sortedEntries);
  ranges = std::move(sortedRanges);
}

Status checkCovered(const std::vector<TensorEntry>& entries, const std::vector<Range>& ranges, std::uint64_t dataSize) {
  std::uint64_t covered = 0;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (ranges[i].end > dataSize)
      return fail(aboutTensor(
          entries[i].name, "its bytes end at " + text::number(ranges[i].end) + ", the file holds " + text::number(dataSize)));
    if (ranges[i].begin < covered)
      return fail(aboutTensor(entries[i].name, "its bytes overlap those of " + printable(entries[i - 1].name)));
    if (ranges[i].begin > covered)
      return fail(
          aboutTensor(entries[i].name, text::number(ranges[i].begin - covered) + " bytes before it belong to no tensor"));
    covered = ranges[i].end;
  }
  if (covered != dataSize) return fail(text::number(dataSize - covered) + " bytes after the last tensor belong to none");
  return {};
}

Result<dom::object> parseObject(dom::parser& parser, std::string_view json) {
  dom::element root;
  if (json.empty()) json = "";  // of an empty file, with no address at all
  const simdjson::error_code code = parser.parse(json.data(), json.size(), true).get(root);
  if (code != simdjson::SUCCESS) return fail(std::string("the JSON is broken: ") + simdjson::error_message(code));
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) return fail("the JSON is not an object");
  return object;
}

Result<std::string_view> headerText(std::span<const std::byte> file) {
  std::uint64_t length = 0;
  if (file.size() < sizeof length) return fail("too short for a safetensors file: " + text::byteSize(file.size()));
  std::memcpy(&length, file.data(), sizeof length);
  if (length > largestHeader)
    return fail("the header's length " + text::number(length) + " is above the format's limit of " +
                text::number(largestHeader));
  if (length > file.size() - sizeof length)
    return fail("the header's length " + text::number(length) + " goes past the end of the file");
  const std::string_view json(reinterpret_cast<const char*>(file.data()) + sizeof length, length);
  if (json.empty() || json.front() != '{') return fail("the header does not begin with '{'");
  return json;
}

}  // namespace

Result<SafetensorsHeader> parseSafetensorsHeader(std::span<const std::byte> file) {
  const Result<std::string_view> json = headerText(file);
  if (!json) return fail(json.error());
  // The parser copies the text first: it must not change between its passes.
  dom::parser parser;
  const Result<dom::object> root = parseObject(parser, *json);
  if (!root) return fail(root.error());
  const std::uint64_t dataOffset = sizeof(std::uint64_t) + json->size();
  SafetensorsHeader header;
  std::vector<Range> ranges;
  NameIndex names(root->size());
  header.entries.reserve(root->size());
  ranges.reserve(root->size());
  for (const dom::key_value_pair field : *root) {
    if (names.insert(field.key, 0)) return fail(aboutTensor(field.key, "the name occurs twice"));
    if (field.key == "__metadata__") {
      NIBBLE_TRY(readMetadata(field.value, header.metadata));
      continue;
    }
    TensorEntry& entry = header.entries.emplace_back();
    entry.name = field.key;
    if (Status status = readTensor(field.value, entry, ranges.emplace_back()); !status)
      return fail(aboutTensor(field.key, status.error().message));
  }
  sortByPlace(header.entries, ranges);
  NIBBLE_TRY(checkCovered(header.entries, ranges, file.size() - dataOffset));
  header.offsets.reserve(ranges.size());
  for (const Range& range : ranges) header.offsets.push_back(dataOffset + range.begin);
  return header;
}

namespace {

Status checkShardName(std::string_view shard) {
  if (shard.empty() || shard == "." || shard == ".." || shard.find('/') != std::string_view::npos ||
      shard.find('\0') != std::string_view::npos)
    return fail("weight_map leads to " + printable(shard) + ", which is not the name of a file in the folder");
  return {};
}

std::string asText(dom::element value) {
  std::string_view string;
  if (value.get(string) == simdjson::SUCCESS) return std::string(string);
  return simdjson::minify(value);
}

}  // namespace

Result<SafetensorsIndex> parseSafetensorsIndex(std::string_view json) {
  dom::parser parser;
  const Result<dom::object> root = parseObject(parser, json);
  if (!root) return fail(root.error());
  SafetensorsIndex index;
  dom::object object;
  if (root->at_key("metadata").get(object) == simdjson::SUCCESS)
    for (const dom::key_value_pair field : object) index.metadata.emplace_back(field.key, asText(field.value));
  if (root->at_key("weight_map").get(object) != simdjson::SUCCESS) return fail("there is no object weight_map");
  NameIndex names(object.size()), shards;
  std::vector<std::string_view> found;
  for (const dom::key_value_pair field : object) {
    std::string_view shard;
    if (field.value.get(shard) != simdjson::SUCCESS)
      return fail(aboutTensor(field.key, "weight_map gives no file name for it"));
    if (names.insert(field.key, 0)) return fail(aboutTensor(field.key, "the name occurs twice in weight_map"));
    std::optional<std::uint32_t> place = shards.insert(shard, static_cast<std::uint32_t>(found.size()));
    if (!place) {
      NIBBLE_TRY(checkShardName(shard));
      place = static_cast<std::uint32_t>(found.size());
      found.push_back(shard);
    }
    index.weightMap.emplace_back(field.key, *place);
  }
  std::vector<std::uint32_t> order(found.size()), rank(found.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return found[a] < found[b]; });
  for (std::uint32_t i = 0; i < order.size(); ++i) {
    rank[order[i]] = i;
    index.shards.emplace_back(found[order[i]]);
  }
  for (auto& [name, shard] : index.weightMap) shard = rank[shard];
  return index;
}

}  // namespace nibble
