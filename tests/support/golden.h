// SPDX-License-Identifier: GPL-3.0-or-later
// Golden files under tests/data, and small helpers that every test needs.
#pragma once
#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace nibble::test {

std::filesystem::path dataPath(const std::string& name);      // tests/data/NAME
std::filesystem::path resourcePath(const std::string& name);  // resources/NAME
nlohmann::json loadJson(const std::string& name);             // tests/data/NAME; stops the test program when it is missing
std::vector<std::uint8_t> bytesFromHex(const std::string& hex);
std::vector<float> floatsFromJson(const nlohmann::json& array);  // numbers and "nan", "inf", "-inf"

}  // namespace nibble::test
