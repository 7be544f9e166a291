// SPDX-License-Identifier: GPL-3.0-or-later
// What fuzz targets of packed readers share: a safetensors file in memory, under some configs, is layers that decode in each of
// their readings, or refusals with a reason.
#pragma once
#include "core/base/contracts.h"
#include "core/formats/format.h"
#include "core/io/safetensors.h"
#include "core/quant/decode.h"

#include <cstddef>
#include <cstdint>

namespace fuzz {

class MemoryCheckpoint final : public nibble::Checkpoint {
 public:
  MemoryCheckpoint(nibble::SafetensorsHeader header, std::span<const std::byte> file, std::string config)
      : m_header(std::move(header)), m_file(file), m_config(std::move(config)) {}
  const std::filesystem::path& path() const override { return m_path; }
  std::string_view format() const override { return "safetensors"; }
  const std::vector<std::filesystem::path>& files() const override { return m_files; }
  const std::vector<nibble::TensorEntry>& entries() const override { return m_header.entries; }
  const std::vector<std::pair<std::string, std::string>>& metadata() const override { return m_metadata; }
  std::uint64_t mappedBytes() const override { return m_file.size(); }
  nibble::Result<nibble::Tensor> read(std::size_t index) const override {
    const nibble::TensorEntry& entry = m_header.entries[index];
    return nibble::Tensor(entry.name, entry.type, entry.shape, m_file.subspan(m_header.offsets[index], entry.sizeBytes),
                          nullptr);
  }
  using nibble::Checkpoint::read;
  bool changedOnDisk() const override { return false; }
  std::string configText() const override { return m_config; }

 private:
  nibble::SafetensorsHeader m_header;
  std::span<const std::byte> m_file;
  std::string m_config;
  std::filesystem::path m_path = "memory";
  std::vector<std::filesystem::path> m_files{"memory"};
  std::vector<std::pair<std::string, std::string>> m_metadata;
};

inline void readEveryLayer(const MemoryCheckpoint& checkpoint) {
  for (const nibble::DetectedLayer& found : nibble::detectPacked(checkpoint)) {
    NIBBLE_EXPECTS(!found.layer.parts.empty() && !found.layer.description.empty());
    std::vector<std::string> readings = found.layer.readings;
    readings.emplace_back();
    for (const std::string& reading : readings) {
      const auto tensor = found.format->readAs(checkpoint, found.layer, reading);
      if (!tensor) {
        NIBBLE_EXPECTS(!tensor.error().message.empty());
        continue;
      }
      NIBBLE_EXPECTS(tensor->shape == found.layer.shape);
      NIBBLE_EXPECTS(nibble::decodeAll(*tensor).size() == tensor->weightCount());
    }
    if (found.layer.shape.size() == 3) (void)found.format->readMatrix(checkpoint, found.layer, found.layer.shape[0] - 1);
  }
}

// The file under each of the configs.
inline void readUnder(std::span<const char* const> configs, const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto header = nibble::parseSafetensorsHeader(file);
  if (!header) return;
  for (const char* config : configs) readEveryLayer(MemoryCheckpoint(*header, file, config));
}

}  // namespace fuzz
