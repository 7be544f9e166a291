// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF as the proof decoders see it, from ggml's docs/gguf.md alone: "GGUF", version 3, counts of tensors and of values; values
// (key, type, what it says); tensors (name, sides fastest first, type, offset); then the data, each tensor padded with zeros to
// the alignment. A block type is shown as "ggml NUMBER" with rows of bytes.
#include "core/formats/gguf/proof.h"
#include "core/formats/proof_container.h"

#include <algorithm>
#include <fstream>

namespace nibble::proof {
namespace {

class Header {
 public:
  Header(const std::filesystem::path& file, std::uint64_t size) : m_stream(file, std::ios::binary), m_size(size) {}

  [[nodiscard]] std::uint64_t position() { return static_cast<std::uint64_t>(m_stream.tellg()); }
  [[nodiscard]] bool good() const { return m_good; }

  std::uint64_t number(unsigned bytes) {
    unsigned char raw[8] = {};
    take(raw, bytes);
    std::uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;) value = value << 8 | raw[i];
    return value;
  }

  std::string text() {
    const std::uint64_t length = number(8);
    if (length > m_size) return m_good = false, std::string();
    std::string value(length, '\0');
    take(value.data(), length);
    return value;
  }

  // What stands for a value of this type.
  void skip(std::uint64_t type) {
    static constexpr unsigned bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type == 8) {
      (void)text();
    } else if (type == 9) {
      const std::uint64_t element = number(4), count = number(8);
      if (element == 9 || count > m_size) m_good = false;
      for (std::uint64_t i = 0; m_good && i < count; ++i) skip(element);
    } else if (type < std::size(bytes)) {
      (void)number(bytes[type]);
    } else {
      m_good = false;
    }
  }

  // Whether the bytes [begin, end) are zeros.
  bool zeros(std::uint64_t begin, std::uint64_t end) {
    m_stream.clear();
    m_stream.seekg(static_cast<std::streamoff>(begin));
    for (; begin < end; ++begin)
      if (m_stream.get() != 0) return false;
    return true;
  }

 private:
  template <class T>
  void take(T* out, std::uint64_t bytes) {
    if (m_good && !m_stream.read(reinterpret_cast<char*>(out), static_cast<std::streamsize>(bytes))) m_good = false;
  }

  std::ifstream m_stream;
  std::uint64_t m_size;
  bool m_good = true;
};

struct Type {
  std::string name;
  std::uint64_t weights = 1, bytes = 0;  // of a block
};

Type typeOf(std::uint64_t number) {
  static const std::map<std::uint64_t, Type> plain = {{0, {"F32", 1, 4}},  {1, {"F16", 1, 2}},  {24, {"I8", 1, 1}},  {25, {"I16", 1, 2}},
                                                      {26, {"I32", 1, 4}}, {27, {"I64", 1, 8}}, {28, {"F64", 1, 8}}, {30, {"BF16", 1, 2}}};
  if (const auto found = plain.find(number); found != plain.end()) return found->second;
  for (const auto& family : {plainGgufBlocks(), superGgufBlocks(), vectorGgufBlocks()})
    for (const GgufBlock& block : family)
      if (block.number == number) return {"ggml " + std::to_string(number), block.weights, block.bytes};
  return {};
}

}  // namespace

Status Container::openGguf() {
  const std::uint64_t total = std::filesystem::file_size(m_file);
  Header header(m_file, total);
  (void)header.number(4);
  if (header.number(4) != 3) return fail("not version 3");
  const std::uint64_t tensors = header.number(8), values = header.number(8);
  std::uint64_t alignment = 32;
  for (std::uint64_t i = 0; header.good() && i < values; ++i) {
    const std::string key = header.text();
    const std::uint64_t type = header.number(4);
    if (key == "general.alignment" && type == 4)
      alignment = header.number(4);
    else
      header.skip(type);
  }
  const auto padded = [&alignment](std::uint64_t size) { return (size + alignment - 1) / alignment * alignment; };
  if (!header.good() || alignment == 0) return fail("the metadata cannot be read");
  std::uint64_t expected = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;  // of the data, relative to their begin
  for (std::uint64_t i = 0; i < tensors; ++i) {
    const std::string name = header.text();
    std::vector<std::uint64_t> shape(std::min<std::uint64_t>(header.number(4), 5));
    for (std::uint64_t& side : shape) side = header.number(8);
    std::reverse(shape.begin(), shape.end());
    const Type type = typeOf(header.number(4));
    const std::uint64_t offset = header.number(8);
    if (!header.good() || type.bytes == 0 || shape.size() > 4) return fail(name + ": its entry cannot be read");
    if (type.weights > 1 && (shape.empty() || shape.back() % type.weights != 0)) return fail(name + ": its rows are no whole blocks");
    if (type.weights > 1) shape.back() = shape.back() / type.weights * type.bytes;
    Place place{type.name, shape, expected, type.weights > 1 ? 1 : type.bytes};
    for (const std::uint64_t side : shape) place.size *= side;
    if (offset != expected) return fail(name + ": does not begin where the tensor before it ends");
    gaps.emplace_back(expected + place.size, padded(expected + place.size));
    expected = gaps.back().second;
    if (!m_places.emplace(name, std::move(place)).second) return fail(name + ": is there twice");
  }
  const std::uint64_t end = header.position(), begin = padded(end);
  if (total != begin + expected) return fail("its length is not that of its tensors");
  if (!header.zeros(end, begin)) return fail("the header is not padded with zeros");
  for (const auto& [from, to] : gaps)
    if (!header.zeros(begin + from, begin + to)) return fail("a tensor is not padded with zeros");
  for (auto& [name, place] : m_places) place.begin += begin;
  return {};
}

}  // namespace nibble::proof
