// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/files.h"

#include <nlohmann/json.hpp>

#include <stdlib.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

namespace nibble::test {

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "nibble-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    std::fprintf(stderr, "cannot make %s\n", name.c_str());
    std::abort();
  }
  m_path = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(m_path, ignored);
}

std::vector<std::string> ScratchFolder::names() const {
  std::vector<std::string> list;
  for (const auto& entry : std::filesystem::directory_iterator(m_path)) list.push_back(entry.path().filename().string());
  std::sort(list.begin(), list.end());
  return list;
}

void writeWhole(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!stream.flush()) {
    std::fprintf(stderr, "cannot write %s\n", path.c_str());
    std::abort();
  }
}

std::string readWhole(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::string safetensorsHead(std::string json) {
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string head;
  for (int i = 0; i < 8; ++i) head += static_cast<char>((json.size() >> (8 * i)) & 0xFF);
  return head + json;
}

std::string safetensorsOf(const std::vector<std::pair<std::string, std::vector<float>>>& tensors) {
  std::string json = "{";
  std::string data;
  for (const auto& [name, values] : tensors) {
    const std::size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    if (json.size() > 1) json += ",";
    json += nlohmann::json(name).dump();
    json += R"(:{"dtype":"F32","shape":[)" + std::to_string(values.size()) + R"(],"data_offsets":[)" + std::to_string(begin);
    json += "," + std::to_string(data.size()) + "]}";
  }
  return safetensorsHead(json + "}") + data;
}

std::uint64_t memoryKiB(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string word;
  std::uint64_t value = 0;
  while (status >> word)
    if (word == field + ":" && status >> value) return value;
  return 0;
}

}  // namespace nibble::test
