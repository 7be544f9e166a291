// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/imatrix.h"

#include "core/base/text.h"
#include "core/io/container.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace nibble {
namespace {

constexpr std::string_view sumsEnding = ".in_sum2", countsEnding = ".counts";

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : m_bytes(bytes) {}
  Result<std::int32_t> integer(const std::string& what) {
    std::int32_t value = 0;
    if (m_bytes.size() < sizeof value) return fail(what + ": the file ends within it");
    std::memcpy(&value, m_bytes.data(), sizeof value);
    m_bytes = m_bytes.subspan(sizeof value);
    return value;
  }
  Result<std::span<const std::byte>> take(std::uint64_t count, const std::string& what) {
    if (m_bytes.size() < count) return fail(what + ": the file ends within it");
    const auto taken = m_bytes.first(count);
    m_bytes = m_bytes.subspan(count);
    return taken;
  }

 private:
  std::span<const std::byte> m_bytes;
};

Status checkMeanSquares(const std::string& name, const std::vector<float>& values) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]) || values[i] < 0)
      return fail(printable(name) + ": E[x^2] of channel " + text::number(std::uint64_t{i}) + " is " + text::number(values[i]) +
                  "; it must be finite and not negative");
  return {};
}

struct Entry {
  std::string name;
  std::vector<float> meanSquares;
};

Result<Entry> readEntry(ByteReader& bytes, const std::string& what) {
  const auto nameLength = bytes.integer(what + ": name length");
  if (!nameLength) return fail(nameLength.error());
  if (*nameLength < 1) return fail(what + ": a name of " + text::number(std::int64_t{*nameLength}) + " bytes");
  const auto nameBytes = bytes.take(static_cast<std::uint64_t>(*nameLength), what + ": name");
  if (!nameBytes) return fail(nameBytes.error());
  Entry entry{std::string(reinterpret_cast<const char*>(nameBytes->data()), nameBytes->size()), {}};
  const std::string place = printable(entry.name);
  const auto calls = bytes.integer(place + ": number of calls");
  if (!calls) return fail(calls.error());
  const auto count = bytes.integer(place + ": number of values");
  if (!count) return fail(count.error());
  if (*count < 1) return fail(place + ": " + text::number(std::int64_t{*count}) + " values");
  const auto values = bytes.take(static_cast<std::uint64_t>(*count) * sizeof(float), place + ": values");
  if (!values) return fail(values.error());
  entry.meanSquares.resize(static_cast<std::size_t>(*count));
  std::memcpy(entry.meanSquares.data(), values->data(), values->size());
  if (*calls > 0)
    for (float& value : entry.meanSquares) value /= static_cast<float>(*calls);
  NIBBLE_TRY(checkMeanSquares(entry.name, entry.meanSquares));
  return entry;
}

bool hasKey(const Checkpoint& checkpoint, std::string_view key) {
  return std::any_of(checkpoint.metadata().begin(), checkpoint.metadata().end(), [&](const auto& pair) { return pair.first == key; });
}

Result<std::vector<float>> readF32(const Checkpoint& checkpoint, const std::string& name) {
  const auto index = checkpoint.find(name);
  if (!index) return fail(printable(name) + " is missing");
  const TensorEntry& entry = checkpoint.entries()[*index];
  if (entry.type != DType::F32) return fail(printable(name) + ": " + std::string(info(entry.type).name) + ", expected F32");
  const auto tensor = checkpoint.read(*index);
  if (!tensor) return fail(tensor.error());
  return tensor->readAll();
}

// Sums over tokens, matrix after matrix, and a count for each matrix (or, in old files, one for all).
Result<std::vector<float>> meanSquaresOf(const Checkpoint& checkpoint, const std::string& name) {
  auto sums = readF32(checkpoint, name + std::string(sumsEnding));
  if (!sums) return fail(sums.error());
  const auto counts = readF32(checkpoint, name + std::string(countsEnding));
  if (!counts) return fail(counts.error());
  if (sums->empty() || counts->empty() || sums->size() % counts->size() != 0)
    return fail(printable(name) + ": " + text::number(std::uint64_t{sums->size()}) + " sums for " +
                text::number(std::uint64_t{counts->size()}) + " counts");
  const std::size_t channels = sums->size() / counts->size();
  for (std::size_t matrix = 0; matrix < counts->size(); ++matrix) {
    const float count = (*counts)[matrix];
    if (!std::isfinite(count) || count < 0) return fail(printable(name) + ": a count of " + text::number(count));
    for (std::size_t c = matrix * channels; c < (matrix + 1) * channels; ++c) (*sums)[c] = count > 0 ? (*sums)[c] / count : 1.0f;
  }
  NIBBLE_TRY(checkMeanSquares(name, *sums));
  return sums;
}

}  // namespace

Result<Imatrix> readImatrix(std::span<const std::byte> dat) {
  ByteReader bytes(dat);
  const auto count = bytes.integer("number of entries");
  if (!count) return fail(count.error());
  if (*count < 1) return fail("no importance matrix: it claims " + text::number(std::int64_t{*count}) + " entries");
  Imatrix matrix;
  for (std::int32_t i = 0; i < *count; ++i) {
    auto entry = readEntry(bytes, "entry " + text::number(std::int64_t{i}));
    if (!entry) return fail(entry.error());
    matrix.insert_or_assign(std::move(entry->name), std::move(entry->meanSquares));
  }
  return matrix;
}

Result<Imatrix> readImatrix(const Checkpoint& gguf) {
  constexpr std::array<std::string_view, 3> keys{"imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"};
  for (const std::string_view key : keys)
    if (!hasKey(gguf, key)) return fail("no importance matrix: the key " + std::string(key) + " is missing");
  Imatrix matrix;
  for (const TensorEntry& entry : gguf.entries()) {
    // Of a pair, one without the other is an error; what is neither does not belong to us.
    const bool sums = entry.name.ends_with(sumsEnding), counts = entry.name.ends_with(countsEnding);
    if (!sums && !counts) continue;
    std::string name = entry.name.substr(0, entry.name.size() - (sums ? sumsEnding : countsEnding).size());
    if (matrix.contains(name)) continue;
    auto values = meanSquaresOf(gguf, name);
    if (!values) return fail(values.error());
    matrix.emplace(std::move(name), *std::move(values));
  }
  if (matrix.empty()) return fail("no importance matrix: no tensor ends in " + std::string(sumsEnding));
  return matrix;
}

}  // namespace nibble
