// SPDX-License-Identifier: GPL-3.0-or-later
// The emulator's counting: accesses of one warp's threads from the same place in the source, for the same time each, are one
// warp access, as they are on a GPU where threads of a warp go together.
#pragma once
#include "kernels/emulator/emulator.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace nibble::emulator {

class AccessCounter {
 public:
  void start(unsigned threads);
  void global(unsigned thread, const void* address, std::size_t bytes, bool write, const std::string* memory, const char* file,
              int line);
  void shared(unsigned thread, std::size_t offset, std::size_t bytes, const char* file, int line);
  // Adds what the block did.
  void finish(Counters& counters);

 private:
  struct Piece {
    std::uint64_t address;
    std::uint32_t bytes, lane;
  };
  struct Access {
    const std::string* memory = nullptr;  // none: shared
    bool write = false;
    std::vector<Piece> pieces;
  };
  std::uint64_t key(unsigned thread, const char* file, int line, bool write);
  static void countGlobal(const Access& access, Counters& counters);
  static void countShared(const Access& access, Counters& counters);
  std::unordered_map<std::uint64_t, unsigned> m_sites;
  std::vector<std::vector<std::uint32_t>> m_times;  // [thread][site]
  std::unordered_map<std::uint64_t, Access> m_accesses;
};

}  // namespace nibble::emulator
