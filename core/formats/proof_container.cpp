// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/proof_container.h"

#include <zip.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

namespace nibble::proof {
namespace {

struct ZipCloser {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
struct ZipFileCloser {
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using ZipArchive = std::unique_ptr<zip_t, ZipCloser>;
using ZipFile = std::unique_ptr<zip_file_t, ZipFileCloser>;

std::uint64_t itemBytes(const std::string& type) {
  if (type == "U8" || type == "I8" || type == "BOOL") return 1;
  if (type == "U16" || type == "I16" || type == "F16" || type == "BF16") return 2;
  if (type == "U32" || type == "I32" || type == "F32") return 4;
  if (type == "U64" || type == "I64" || type == "F64") return 8;
  return 0;
}

float widenHalf(unsigned bits) {
  const int exponent = static_cast<int>(bits >> 10 & 31u), fraction = static_cast<int>(bits & 1023u);
  double magnitude = 0;
  if (exponent == 31)
    magnitude = fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else if (exponent == 0)
    magnitude = std::ldexp(fraction, -24);
  else
    magnitude = std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>((bits & 0x8000u) != 0 ? -magnitude : magnitude);
}

// To `fractionBits` bits after the leading one, with the smallest exponent of the type's normal numbers.
double roundedTo(double value, int fractionBits, int smallestExponent, double overflowsAt) {
  if (value == 0 || !std::isfinite(value)) return value;
  int exponent = 0;
  (void)std::frexp(value, &exponent);  // value = f * 2^exponent, f in [0.5, 1)
  const int unit = std::max(exponent - 1, smallestExponent) - fractionBits;
  const double result = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
  if (std::fabs(result) >= overflowsAt) return std::copysign(std::numeric_limits<double>::infinity(), value);
  return result;
}

std::string numpyType(const std::string& descriptor) {
  static const std::map<std::string, std::string> types = {{"|u1", "U8"},  {"<u2", "U16"}, {"<i4", "I32"}, {"<i8", "I64"},
                                                           {"<f2", "F16"}, {"<f4", "F32"}, {"<f8", "F64"}, {"<u4", "U32"}};
  const auto found = types.find(descriptor);
  return found == types.end() ? std::string() : found->second;
}

// The text between `key` and `end` in a .npy header.
std::string between(const std::string& header, const std::string& key, char end) {
  const std::size_t begin = header.find(key);
  if (begin == std::string::npos) return {};
  const std::size_t from = begin + key.size(), to = header.find(end, from);
  return to == std::string::npos ? std::string() : header.substr(from, to - from);
}

Result<Array> parseNpy(const std::vector<unsigned char>& image) {
  if (image.size() < 10 || std::memcmp(image.data(), "\x93NUMPY\x01\x00", 8) != 0) return fail("not a .npy 1.0 array");
  const std::size_t length = image[8] + 256u * image[9];
  if (image.size() < 10 + length) return fail("the .npy header is cut off");
  const std::string header(image.begin() + 10, image.begin() + 10 + static_cast<std::ptrdiff_t>(length));
  Array array;
  array.type = numpyType(between(header, "'descr': '", '\''));
  if (array.type.empty()) return fail("unexpected .npy type");
  if (header.find("'fortran_order': False") == std::string::npos) return fail("unexpected .npy order");
  std::string dimensions = between(header, "'shape': (", ')');
  for (std::size_t at = 0; at < dimensions.size();) {
    std::size_t used = 0;
    if (dimensions[at] == ' ' || dimensions[at] == ',') {
      ++at;
      continue;
    }
    try {
      array.shape.push_back(std::stoull(dimensions.substr(at), &used));
    } catch (const std::exception&) {
      return fail("unexpected .npy shape");
    }
    at += used;
  }
  array.bytes.assign(image.begin() + 10 + static_cast<std::ptrdiff_t>(length), image.end());
  if (array.bytes.size() != array.count() * itemBytes(array.type)) return fail("the .npy data do not fill the shape");
  return array;
}

}  // namespace

std::uint64_t Array::count() const {
  std::uint64_t product = 1;
  for (const std::uint64_t side : shape) product *= side;
  return product;
}

std::uint64_t Array::unsignedAt(std::uint64_t i) const {
  const std::uint64_t item = itemBytes(type);
  std::uint64_t value = 0;
  for (std::uint64_t k = item; k-- > 0;) value = value << 8 | bytes[i * item + k];
  return value;
}

float Array::floatAt(std::uint64_t i) const {
  const auto bits = static_cast<std::uint32_t>(unsignedAt(i));
  if (type == "F16") return widenHalf(bits);
  const std::uint32_t wide = type == "BF16" ? bits << 16 : bits;
  float value = 0;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

std::string Array::text() const {
  return std::string(bytes.begin(), bytes.end());
}

bool Array::is(const std::string& wantedType, const std::vector<std::uint64_t>& wantedShape) const {
  return type == wantedType && shape == wantedShape;
}

Status Container::openSafetensors() {
  std::ifstream file(m_file, std::ios::binary);
  unsigned char size[8] = {};
  if (!file.read(reinterpret_cast<char*>(size), 8)) return fail("too short for a safetensors file");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | size[i];
  const std::uint64_t total = std::filesystem::file_size(m_file);
  if (length > total - 8) return fail("the header is longer than the file");
  std::string header(length, '\0');
  if (!file.read(header.data(), static_cast<std::streamsize>(length))) return fail("the header cannot be read");
  const nlohmann::json parsed = nlohmann::json::parse(header);
  for (const auto& [name, entry] : parsed.items()) {
    if (name == "__metadata__") continue;
    Place place{entry.at("dtype"), entry.at("shape"), entry.at("data_offsets").at(0), entry.at("data_offsets").at(1)};
    if (place.size < place.begin || place.size > total - 8 - length) return fail(name + ": data outside the file");
    place.size -= place.begin;
    place.begin += 8 + length;
    std::uint64_t expected = itemBytes(place.type);
    for (const std::uint64_t side : place.shape) expected *= side;
    if (expected != place.size && itemBytes(place.type) != 0) return fail(name + ": data do not fill the shape");
    m_places.emplace(name, std::move(place));
  }
  return {};
}

Status Container::openNpz() {
  const ZipArchive archive(zip_open(m_file.c_str(), ZIP_RDONLY, nullptr));
  if (!archive) return fail("the zip directory cannot be read");
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    zip_stat_t entry{};
    if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &entry) != 0) return fail("a zip entry cannot be read");
    std::string name = entry.name;
    if (name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0) name.resize(name.size() - 4);
    m_places.emplace(std::move(name), Place{{}, {}, static_cast<std::uint64_t>(i), entry.size});
  }
  return {};
}

Result<Container> Container::open(const std::filesystem::path& file) {
  Container container;
  container.m_file = file;
  char magic[4] = {};
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(magic, 4)) return fail(file.string() + ": cannot be read back");
  container.m_zip = magic[0] == 'P' && magic[1] == 'K';
  container.m_gguf = std::memcmp(magic, "GGUF", 4) == 0;
  try {
    const Status opened = container.m_zip    ? container.openNpz()
                          : container.m_gguf ? container.openGguf()
                                             : container.openSafetensors();
    if (!opened) return fail(opened.error().within(file.string()));
  } catch (const std::exception& error) {
    return fail(file.string() + ": " + error.what());
  }
  return container;
}

std::vector<std::string> Container::names() const {
  std::vector<std::string> names;
  for (const auto& [name, place] : m_places) names.push_back(name);
  return names;
}

Result<Array> Container::read(const std::string& name) const {
  const auto found = m_places.find(name);
  if (found == m_places.end()) return fail("no array named " + name);
  const Place& place = found->second;
  Array array{place.type, place.shape, std::vector<unsigned char>(place.size)};
  if (!m_zip) {
    std::ifstream file(m_file, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(place.begin));
    if (!file.read(reinterpret_cast<char*>(array.bytes.data()), static_cast<std::streamsize>(place.size)))
      return fail(name + ": cannot be read back");
    return array;
  }
  const ZipArchive archive(zip_open(m_file.c_str(), ZIP_RDONLY, nullptr));
  const ZipFile file(archive ? zip_fopen_index(archive.get(), place.begin, 0) : nullptr);
  if (!file || zip_fread(file.get(), array.bytes.data(), place.size) != static_cast<zip_int64_t>(place.size))
    return fail(name + ": cannot be read back");
  char beyond = 0;  // reading to the end is what makes libzip compare the checksum
  if (zip_fread(file.get(), &beyond, 1) != 0) return fail(name + ": checksum differs");
  auto parsed = parseNpy(array.bytes);
  if (!parsed) return fail(parsed.error().within(name));
  return parsed;
}

Result<std::int64_t> Container::number(const std::string& name, const std::string& type) const {
  auto array = read(name);
  if (!array) return fail(array.error());
  if (!array->is(type, {})) return fail(name + ": expected one number of type " + type);
  const std::uint64_t bits = array->unsignedAt(0);
  if (type == "I32") return static_cast<std::int32_t>(static_cast<std::uint32_t>(bits));
  return static_cast<std::int64_t>(bits);
}

float rounded(double value, const std::string& type) {
  if (type == "float16") return static_cast<float>(roundedTo(value, 10, -14, 65520.0));
  if (type == "bfloat16") return static_cast<float>(roundedTo(value, 7, -126, std::ldexp(1.0, 128)));
  return static_cast<float>(value);
}

}  // namespace nibble::proof
