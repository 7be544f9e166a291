// SPDX-License-Identifier: GPL-3.0-or-later
// Any text is an index or an error; an index leads to files of its own folder only.
#include "core/base/contracts.h"
#include "core/io/safetensors.h"

#include <cstddef>
#include <cstdint>
#include <set>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto index = nibble::parseSafetensorsIndex({reinterpret_cast<const char*>(data), size});
  if (!index) {
    NIBBLE_EXPECTS(!index.error().message.empty());
    return 0;
  }
  for (const std::string& shard : index->shards)
    NIBBLE_EXPECTS(!shard.empty() && shard.find('/') == std::string::npos && shard != "..");
  std::set<std::string> names;
  for (const auto& [name, shard] : index->weightMap) NIBBLE_EXPECTS(shard < index->shards.size() && names.insert(name).second);
  return 0;
}
