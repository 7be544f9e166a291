// SPDX-License-Identifier: GPL-3.0-or-later
// A saved session (.nibble): what was open, chosen and compared, as JSON that the window reopens and `nibblescope-cli run`
// repeats headless. A plain value: nothing here opens a checkpoint or knows a scheme; choices are kept as their text.
// The checkpoint's path is stored relative to the session file, so that both can move together; after `read` it is absolute
// (or relative to the working directory, when the session file was named so). Missing keys take the defaults below; unknown
// keys, wrong types, indices out of range and other versions are refused with the key named. Reading is safe on any bytes.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct SessionCell {
  std::uint64_t row = 0, column = 0;
  bool operator==(const SessionCell&) const = default;
};

struct SessionExport {
  std::string format;   // "hqq"; empty: not chosen yet
  std::string runtime;  // empty: the format's own rules
  std::string out;      // as typed
  bool operator==(const SessionExport&) const = default;
};

struct SessionFile {
  static constexpr int currentVersion = 1;

  int version = currentVersion;
  std::filesystem::path checkpoint;     // empty: nothing was open
  std::string tensor;                   // the selected one; empty: none
  SessionCell cell;                     // selected weight of the [rows, columns] view
  std::string choice;                   // canonical text of the scheme dock; empty: the default
  std::vector<std::string> candidates;  // choice texts, in the order of the Compare page
  std::uint64_t baseline = 0;           // index into candidates; 0 when there are none
  std::vector<std::uint64_t> ticked;    // candidates whose histograms are overlaid, ascending
  std::vector<std::string> tensors;     // compared ones; empty: every tensor worth quantizing
  std::string page = "explore";
  SessionExport exporting;
  std::string backend = "auto";
  std::map<std::string, std::string> view;  // options of the views, by their own names

  bool operator==(const SessionFile&) const = default;

  // From the text of a session file that lies in `folder`, and back.
  static Result<SessionFile> parse(std::string_view json, const std::filesystem::path& folder);
  [[nodiscard]] Result<std::string> toJson(const std::filesystem::path& folder) const;

  // Errors carry the path. Writing is atomic: the old file stays whole until the new one is complete.
  static Result<SessionFile> read(const std::filesystem::path& path);
  [[nodiscard]] Status write(const std::filesystem::path& path) const;
};

}  // namespace nibble
