// SPDX-License-Identifier: GPL-3.0-or-later
// The walls of the house, as a reading of the sources: who may include whom, where a library, a format or a scheme may be
// named, where rounding other than half-to-even may stand, and what a GUI test may not call. Paths are relative to the top,
// with '/'. A reading by lines: comments are left out, strings and includes are looked at, nothing is parsed further.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace nibble::test {

struct WallFinding {
  std::string file;
  int line = 0;
  std::string what;
};

struct WallFacts {
  std::vector<std::string> schemes;  // ids, which are names of files under core/schemes
  std::vector<std::string> formats;  // ids, which are folders under core/formats
};

using SourceTree = std::map<std::string, std::string>;  // path, text

// What one file breaks by itself.
std::vector<WallFinding> wallFindings(const std::string& path, const std::string& text, const WallFacts& facts);

// What a proof decoder reaches through its includes that it must be independent of.
std::vector<WallFinding> proofFindings(const SourceTree& tree);

std::string withoutComments(const std::string& text);

}  // namespace nibble::test
