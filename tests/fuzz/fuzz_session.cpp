// SPDX-License-Identifier: GPL-3.0-or-later
// Any bytes are a session or an error; a session that was read writes and reads back to itself.
#include "core/base/contracts.h"
#include "core/run/session_file.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::filesystem::path folder = std::filesystem::temp_directory_path();
  const auto session = nibble::SessionFile::parse(text, folder);
  if (!session) return 0;
  const auto json = session->toJson(folder);
  if (!json) return 0;
  const auto again = nibble::SessionFile::parse(*json, folder);
  NIBBLE_EXPECTS(again.has_value());
  NIBBLE_EXPECTS(again->candidates == session->candidates && again->view == session->view && again->tensor == session->tensor);
  return 0;
}
