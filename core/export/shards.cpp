// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/shards.h"

#include "core/base/text.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

namespace nibble {

Result<std::uint64_t> parseByteSize(std::string_view text) {
  static const std::pair<std::string_view, double> units[] = {{"", 1},         {"b", 1},       {"kb", 1e3},     {"mb", 1e6},
                                                              {"gb", 1e9},     {"tb", 1e12},   {"kib", 0x1p10}, {"mib", 0x1p20},
                                                              {"gib", 0x1p30}, {"tib", 0x1p40}};
  const std::string all(text);
  std::size_t end = 0;
  while (end < all.size() && (std::isdigit(static_cast<unsigned char>(all[end])) != 0 || all[end] == '.')) ++end;
  std::string unit;
  for (const char c : all.substr(end))
    if (c != ' ') unit += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto number = text::parseDouble(all.substr(0, end));
  for (const auto& [name, bytes] : units) {
    if (unit != name || !number) continue;
    const double size = std::floor(*number * bytes);
    if (size >= 1 && size < 0x1p62) return static_cast<std::uint64_t>(size);
  }
  return fail("'" + all + "' is no size; write 5GB, 500MB, 2GiB or a number of bytes", ErrorKind::Usage);
}

std::vector<std::vector<std::size_t>> splitUnits(const std::vector<std::uint64_t>& sizes, std::uint64_t limit) {
  std::vector<std::vector<std::size_t>> files(1);
  std::uint64_t inFile = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (limit != 0 && !files.back().empty() && inFile + sizes[i] > limit) {
      files.emplace_back();
      inFile = 0;
    }
    files.back().push_back(i);
    inFile += sizes[i];
  }
  return files;
}

std::string shardName(std::size_t index, std::size_t count) {
  if (count <= 1) return weightsFile;
  const auto five = [](std::size_t number) {
    std::string digits = std::to_string(number);
    return digits.size() < 5 ? std::string(5 - digits.size(), '0') + digits : digits;
  };
  return "model-" + five(index + 1) + "-of-" + five(count) + ".safetensors";
}

std::string indexText(std::uint64_t totalSize, std::vector<std::pair<std::string, std::string>> files) {
  using Json = nlohmann::ordered_json;
  std::sort(files.begin(), files.end());
  // Put together piece by piece: an ordered_json object looks through all its keys for each new one.
  std::string text = "{\n  \"metadata\": {\n    \"total_size\": " + std::to_string(totalSize) + "\n  },\n  \"weight_map\": {";
  for (std::size_t i = 0; i < files.size(); ++i)
    text += (i == 0 ? "\n    " : ",\n    ") + Json(files[i].first).dump() + ": " + Json(files[i].second).dump();
  return text + "\n  }\n}\n";
}

}  // namespace nibble
