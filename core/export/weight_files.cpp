// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/weight_files.h"

#include "core/base/text.h"
#include "core/export/proof.h"
#include "core/export/shards.h"
#include "core/export/staging.h"
#include "core/io/atomic_file.h"
#include "core/io/npy.h"

#include <algorithm>

namespace nibble {
namespace {

namespace fs = std::filesystem;

RawTensor described(const RawTensor& array) {
  RawTensor seen;
  seen.name = array.name;
  seen.type = array.type;
  seen.shape = array.shape;
  seen.block = array.block;
  return seen;
}

RawTensor view(const RawTensor& array) {
  RawTensor seen = described(array);
  seen.borrowed = array.bytes();
  return seen;
}

Status intact(const std::optional<Tensor>& source) {
  return source ? source->intact() : Status{};
}

void removePrefix(const std::string& prefix, std::vector<RawTensor>& arrays) {
  for (RawTensor& array : arrays)
    if (array.name.starts_with(prefix)) array.name.erase(0, prefix.size());
}

}  // namespace

WeightFiles::WeightFiles(const Format& format, const ModelFile* file, const std::vector<ExportLayer>& layers,
                         const Context& context)
    : m_format(format), m_file(file), m_exported(layers), m_context(context) {}

bool WeightFiles::isNpz() const {
  return m_format.info().extension == ".npz";
}

Result<std::vector<RawTensor>> WeightFiles::arraysOf(std::size_t layer) const {
  auto arrays = m_format.pack(m_exported[layer]);
  if (arrays && isNpz() && m_exported.size() == 1) removePrefix(m_exported[layer].name + "/", *arrays);
  return arrays;
}

template <class Use>
Status WeightFiles::withArrays(std::size_t layer, const Use& use) const {
  if (!m_layers[layer].held.empty()) return use(m_layers[layer].held);
  const auto arrays = arraysOf(layer);
  if (!arrays) return fail(arrays.error());
  return use(*arrays);
}

Result<std::uint64_t> WeightFiles::pack(std::size_t layer, std::size_t place, std::uint64_t heldBytes) {
  auto arrays = arraysOf(layer);
  if (!arrays) return fail(arrays.error());
  const std::uint64_t payload = m_format.payloadBytes(m_exported[layer], *arrays);
  Layer packed;
  packed.place = place;
  for (const RawTensor& array : *arrays) {
    packed.described.push_back(described(array));
    m_names.insert(array.name);
    m_packedBytes += array.bytes().size();
  }
  if (inOneGo() || m_packedBytes <= heldBytes) packed.held = *std::move(arrays);  // a zip is written in one go
  m_layers.push_back(std::move(packed));
  return payload;
}

void WeightFiles::addCopy(RawTensor copy, std::optional<Tensor> source, std::size_t place) {
  m_copied.push_back(std::move(source));
  m_copies.push_back(std::move(copy));
  m_copyPlaces.push_back(place);
}

std::vector<WeightFiles::Unit> WeightFiles::units() const {
  std::vector<Unit> units;
  for (std::size_t i = 0; i < m_layers.size(); ++i) {
    Unit unit{false, i, m_layers[i].place, 0};
    for (const RawTensor& array : m_layers[i].described) unit.size += storedBytes(array.type, array.shape).value_or(0);
    units.push_back(unit);
  }
  for (std::size_t i = 0; i < m_copies.size(); ++i) units.push_back({true, i, m_copyPlaces[i], m_copies[i].bytes().size()});
  std::stable_sort(units.begin(), units.end(), [](const Unit& a, const Unit& b) { return a.place < b.place; });
  return units;
}

Status WeightFiles::write(const Staging& staging, std::uint64_t shardSize) {
  const std::vector<Unit> all = units();
  if (inOneGo()) {
    m_files.push_back(weightsFile);
    m_shards.push_back({staging.place(weightsFile), all});
    return writeInOneGo(m_shards.front().file);
  }
  std::vector<std::uint64_t> sizes;
  for (const Unit& unit : all) sizes.push_back(unit.size);
  const auto split = splitUnits(sizes, shardSize);
  std::vector<std::pair<std::string, std::string>> index;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < split.size(); ++i) {
    const std::string name = shardName(i, split.size());
    Shard shard{staging.place(name), {}};
    for (const std::size_t unit : split[i]) shard.units.push_back(all[unit]);
    NIBBLE_TRY(writeShard(shard));
    for (const RawTensor& array : arraysIn(shard)) {
      index.emplace_back(array.name, name);
      total += storedBytes(array.type, array.shape).value_or(0);
    }
    m_files.push_back(name);
    m_shards.push_back(std::move(shard));
  }
  if (split.size() < 2) return {};
  m_files.push_back(indexFile);
  return writeFileAtomically(staging.place(indexFile), indexText(total, std::move(index)));
}

// Names, types and shapes, in the order of the units.
std::vector<RawTensor> WeightFiles::arraysIn(const Shard& shard) const {
  std::vector<RawTensor> arrays;
  for (const Unit& unit : shard.units) {
    if (unit.copied)
      arrays.push_back(described(m_copies[unit.index]));
    else
      for (const RawTensor& array : m_layers[unit.index].described) arrays.push_back(described(array));
  }
  return arrays;
}

Status WeightFiles::writeShard(const Shard& shard) const {
  auto file = AtomicFile::create(shard.file);
  if (!file) return fail(file.error());
  auto stream = SafetensorsStream::begin(*file, arraysIn(shard), m_format.metadata());
  if (!stream) return fail(stream.error());
  std::size_t next = 0;
  for (const Unit& unit : shard.units) {
    if (m_context.stopRequested()) return cancelled();
    if (unit.copied) {
      const Status put = stream->put(next++, m_copies[unit.index].bytes());
      // A map that shrank makes the write fail too; then that is the reason to tell.
      NIBBLE_TRY(intact(m_copied[unit.index]));
      NIBBLE_TRY(put);
      continue;
    }
    NIBBLE_TRY(withArrays(unit.index, [&](const std::vector<RawTensor>& arrays) -> Status {
      for (const RawTensor& array : arrays) NIBBLE_TRY(stream->put(next++, array.bytes()));
      return {};
    }));
  }
  NIBBLE_TRY(file->sync());
  for (const Unit& unit : shard.units)
    if (unit.copied) NIBBLE_TRY(intact(m_copied[unit.index]));
  return file->commit();
}

Status WeightFiles::writeInOneGo(const fs::path& path) const {
  std::vector<RawTensor> views;
  for (const Layer& layer : m_layers)
    for (const RawTensor& array : layer.held) views.push_back(view(array));
  for (const RawTensor& copy : m_copies) views.push_back(view(copy));
  if (m_context.stopRequested()) return cancelled();
  if (m_file == nullptr) return writeNpz(path, views);
  NIBBLE_TRY(m_file->write(path, views));
  for (const auto& source : m_copied) NIBBLE_TRY(intact(source));
  return {};
}

Status WeightFiles::prove(const std::function<void(std::size_t, double)>& onLayer) const {
  for (const Shard& shard : m_shards) {
    std::vector<RawTensor> copies;
    for (const Unit& unit : shard.units) {
      if (m_context.stopRequested()) return cancelled();
      if (unit.copied) {
        copies.push_back(view(m_copies[unit.index]));
        continue;
      }
      double largest = 0;
      NIBBLE_TRY(proveUnit(shard, unit.index, largest));
      onLayer(unit.index, largest);
      if (largest != 0)
        return fail(m_exported[unit.index].name + ": the file decodes to other values than shown, by up to " +
                    text::number(largest));
    }
    NIBBLE_TRY(proveCopies(shard.file, copies, arraysIn(shard).size(), m_context));
  }
  return {};
}

Status WeightFiles::proveUnit(const Shard& shard, std::size_t layer, double& largest) const {
  return withArrays(layer, [&](const std::vector<RawTensor>& arrays) -> Status {
    const auto found = proveLayer(m_format, shard.file, m_exported[layer], arrays, m_context);
    if (!found) return fail(found.error());
    largest = *found;
    return {};
  });
}

}  // namespace nibble
