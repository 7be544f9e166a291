// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/packed_variant.h"

#include "core/io/atomic_file.h"
#include "tests/support/golden.h"

#include <QtGlobal>

namespace nibble::test {

PackedVariant::PackedVariant(const std::string& folder, std::string module) : m_module(std::move(module)) {
  const auto model = Checkpoint::open(dataPath("packed") / folder / "model.safetensors");
  if (!model) qFatal("%s", model.error().message.c_str());
  m_config = nlohmann::json::parse((*model)->configText());
  for (std::size_t i = 0; i < (*model)->entries().size(); ++i) {
    const auto tensor = (*model)->read(i);
    RawTensor array;
    array.name = tensor->name();
    array.type = tensor->type();
    array.shape = tensor->shape();
    array.owned = {tensor->bytes().begin(), tensor->bytes().end()};
    m_arrays.push_back(std::move(array));
  }
}

RawTensor& PackedVariant::array(const std::string& key) {
  for (RawTensor& array : m_arrays)
    if (array.name == m_module + key) return array;
  qFatal("no array %s", key.c_str());
}

void PackedVariant::drop(const std::string& key) {
  const std::string name = array(key).name;
  std::erase_if(m_arrays, [&](const RawTensor& array) { return array.name == name; });
}

void PackedVariant::reshape(const std::string& key, Shape shape) {
  RawTensor& changed = array(key);
  changed.owned.resize(elementCount(shape) * static_cast<std::uint64_t>(info(changed.type).bits) / 8);
  changed.shape = std::move(shape);
}

std::shared_ptr<const Checkpoint> PackedVariant::open() {
  auto out = AtomicFile::create(m_scratch.file("model.safetensors"));
  if (!out || !writeSafetensors(*out, m_arrays) || !out->commit()) qFatal("cannot write");
  std::filesystem::remove(m_scratch.file("config.json"));
  if (m_config.is_object()) writeWhole(m_scratch.file("config.json"), m_config.dump());
  auto opened = Checkpoint::open(m_scratch.path());
  if (!opened) qFatal("%s", opened.error().message.c_str());
  return *opened;
}

}  // namespace nibble::test
