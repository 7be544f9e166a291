// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/trainable.h"

#include "core/train/optimizer.h"

#include <algorithm>
#include <cstring>

namespace nibble::train {
namespace {

// FNV-1a, eight bytes at a time.
std::uint64_t hashed(std::span<const std::byte> bytes, std::uint64_t before) {
  std::uint64_t hash = before ^ 0xCBF29CE484222325u;
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    hash = (hash ^ word) * 0x100000001B3u;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace

RowRange Pass::rows(std::uint64_t all) const {
  if (batchRows == 0) {
    const std::uint64_t begin = all * part / parts, end = all * (part + 1) / parts;
    return {begin, end - begin};
  }
  const std::uint64_t count = std::min(batchRows, all), batches = all / count;
  return {number() % batches * count, count};
}

Status Trainable::update(const OptimizerSettings& settings, double scheduleFactor, std::uint64_t step, const Context&) {
  train::update(parameters(), settings, scheduleFactor, step);
  return {};
}

std::uint64_t checksum(std::span<const double> values, std::uint64_t before) {
  return hashed(std::as_bytes(values), before);
}
std::uint64_t checksum(std::span<const float> values, std::uint64_t before) {
  return hashed(std::as_bytes(values), before);
}

}  // namespace nibble::train
