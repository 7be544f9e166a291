// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/emulator/counting.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <set>

namespace nibble::emulator {

Traffic& Traffic::operator+=(const Traffic& more) {
  sectors += more.sectors;
  bytes += more.bytes;
  accesses += more.accesses;
  return *this;
}

Traffic Counters::total() const {
  Traffic sum;
  for (const auto* side : {&read, &written})
    for (const auto& [name, traffic] : *side) sum += traffic;
  return sum;
}

double Counters::conflictShare() const {
  return sharedWavefronts == 0 ? 0.0 : static_cast<double>(bankConflicts) / static_cast<double>(sharedWavefronts);
}

void AccessCounter::start(unsigned threads) {
  m_times.assign(threads, {});
  m_accesses.clear();
}

std::uint64_t AccessCounter::key(unsigned thread, const char* file, int line, bool write) {
  const std::uint64_t place =
      reinterpret_cast<std::uintptr_t>(file) * 8191 + static_cast<std::uint64_t>(line) * 2 + (write ? 1 : 0);
  const unsigned site = m_sites.try_emplace(place, static_cast<unsigned>(m_sites.size())).first->second;
  auto& times = m_times[thread];
  if (times.size() <= site) times.resize(site + 1);
  return std::uint64_t{thread / 32} << 52 | std::uint64_t{site} << 32 | times[site]++;
}

void AccessCounter::global(unsigned thread, const void* address, std::size_t bytes, bool write, const std::string* memory,
                           const char* file, int line) {
  Access& access = m_accesses[key(thread, file, line, write)];
  access.memory = memory;
  access.write = write;
  access.pieces.push_back({reinterpret_cast<std::uintptr_t>(address), static_cast<std::uint32_t>(bytes), thread % 32});
}

void AccessCounter::shared(unsigned thread, std::size_t offset, std::size_t bytes, const char* file, int line) {
  m_accesses[key(thread, file, line, false)].pieces.push_back({offset, static_cast<std::uint32_t>(bytes), thread % 32});
}

void AccessCounter::countGlobal(const Access& access, Counters& counters) {
  std::map<std::uint64_t, std::uint32_t> sectors;  // number, bytes of it
  for (const Piece& piece : access.pieces)
    for (std::uint64_t at = piece.address; at < piece.address + piece.bytes; ++at) sectors[at / 32] |= 1u << (at % 32);
  Traffic traffic;
  traffic.accesses = 1;
  traffic.sectors = sectors.size();
  for (const auto& [number, mask] : sectors) traffic.bytes += static_cast<std::uint64_t>(std::popcount(mask));
  (access.write ? counters.written : counters.read)[*access.memory] += traffic;
}

// 32 banks of four bytes. Eight-byte accesses go in two halves of the warp, sixteen-byte ones in four quarters.
void AccessCounter::countShared(const Access& access, Counters& counters) {
  const std::uint32_t bytes = access.pieces.front().bytes, lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  for (std::uint32_t first = 0; first < 32; first += lanes) {
    std::array<std::set<std::uint64_t>, 32> words;
    bool any = false;
    for (const Piece& piece : access.pieces) {
      if (piece.lane < first || piece.lane >= first + lanes) continue;
      any = true;
      for (std::uint64_t word = piece.address / 4; word <= (piece.address + piece.bytes - 1) / 4; ++word)
        words[word % 32].insert(word);
    }
    std::size_t passes = 0;
    for (const auto& bank : words) passes = std::max(passes, bank.size());
    if (!any) continue;
    counters.sharedWavefronts += passes;
    counters.bankConflicts += passes - 1;
  }
}

void AccessCounter::finish(Counters& counters) {
  for (const auto& [key, access] : m_accesses) {
    if (access.memory != nullptr)
      countGlobal(access, counters);
    else
      countShared(access, counters);
  }
  m_accesses.clear();
}

}  // namespace nibble::emulator
