// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/emulator_bounds.h"

#include <filesystem>
#include <fstream>
#include <regex>

namespace nibble::test {
namespace {

// Calls `line` for each line of each file of the folder with this ending.
template <class Line>
void eachLine(const std::string& folder, const std::string& ending, const Line& line) {
  if (folder.empty()) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(ending)) continue;
    std::ifstream file(entry.path());
    for (std::string text; std::getline(file, text);) line(name, text);
  }
}

}  // namespace

std::map<std::string, KernelBound> kernelBounds(const std::string& source) {
  static const std::regex bound(R"(^// bound (\w+) registers (\d+) shared (\d+)$)");
  std::map<std::string, KernelBound> bounds;
  eachLine(NIBBLE_CUDA_SOURCES, ".cu", [&](const std::string& name, const std::string& text) {
    std::smatch match;
    if ((source.empty() || name == source) && std::regex_match(text, match, bound))
      bounds[match[1]] = {static_cast<unsigned>(std::stoul(match[2])), static_cast<unsigned>(std::stoul(match[3]))};
  });
  return bounds;
}

std::vector<KernelUse> kernelUses() {
  static const std::regex entry(R"(Compiling entry function '(\w+)' for '(\w+)')"), registers(R"(Used (\d+) registers)"),
      spills(R"((\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)");
  std::vector<KernelUse> uses;
  eachLine(NIBBLE_CUDA_LOGS, ".ptxas", [&](const std::string&, const std::string& text) {
    std::smatch match;
    if (std::regex_search(text, match, entry))
      uses.push_back({match[1], match[2], 0, 0});
    else if (!uses.empty() && std::regex_search(text, match, registers))
      uses.back().registers = static_cast<unsigned>(std::stoul(match[1]));
    else if (!uses.empty() && std::regex_search(text, match, spills))
      uses.back().spillBytes += static_cast<unsigned>(std::stoul(match[2]) + std::stoul(match[3]));
  });
  return uses;
}

}  // namespace nibble::test
