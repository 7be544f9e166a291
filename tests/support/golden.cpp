// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/golden.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>

namespace nibble::test {

std::filesystem::path dataPath(const std::string& name) { return std::filesystem::path(NIBBLE_TEST_DATA) / name; }
std::filesystem::path resourcePath(const std::string& name) { return std::filesystem::path(NIBBLE_RESOURCES) / name; }

nlohmann::json loadJson(const std::string& name) {
  std::ifstream file(dataPath(name));
  if (!file) {
    std::fprintf(stderr, "missing test data: %s\n", dataPath(name).c_str());
    std::abort();
  }
  return nlohmann::json::parse(file);
}

std::vector<std::uint8_t> bytesFromHex(const std::string& hex) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::vector<float> floatsFromJson(const nlohmann::json& array) {
  std::vector<float> values;
  for (const auto& item : array) {
    if (item.is_number()) {
      values.push_back(item.get<float>());
    } else {
      const std::string word = item.get<std::string>();
      const float infinity = std::numeric_limits<float>::infinity();
      values.push_back(word == "nan" ? std::nanf("") : word == "inf" ? infinity : -infinity);
    }
  }
  return values;
}

}  // namespace nibble::test
