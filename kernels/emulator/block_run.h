// SPDX-License-Identifier: GPL-3.0-or-later
// One block of an emulated launch: its threads as fibers, its shared memory with who touched each byte, where its threads wait
// for each other. block_run.cpp lets them run and meet, memory_checks.cpp looks at every access.
#pragma once
#include "kernels/cuda/device.h"
#include "kernels/emulator/counting.h"
#include "kernels/emulator/fiber.h"

#include <array>
#include <memory>
#include <random>
#include <set>

namespace nibble::emulator {

namespace emulated = kernels::emulated;
using emulated::Touch;

inline constexpr unsigned warpLanes = 32, nobody = 0xFFFFFFFFu, several = 0xFFFFFFFEu;

struct Memory;

std::string placeText(const char* file, int line);

// When a thread did something: barriers it passed, whole-warp meetings it passed.
struct Moment {
  unsigned thread = nobody;  // or several, of one warp or of several
  unsigned warp = nobody;
  std::uint64_t blockTime = 0, warpTime = 0;
};

struct ThreadState {
  enum class At { Ready, Barrier, Warp, Done } at = At::Ready;
  emulated::Indices indices{};
  unsigned mask = 0;
  std::uint64_t deposit = 0, warpTime = 0;
  std::array<std::uint64_t, warpLanes> values{};
  const char* file = "";
  int line = 0;
  struct Copy {
    std::size_t offset;
    const void* from;
    std::size_t bytes;
    const char* file;
    int line;
  };
  std::vector<std::vector<Copy>> copies;  // groups under way; the last one is open
};
class BlockRun {
 public:
  BlockRun(kernels::GridSize grid, unsigned threads, std::size_t sharedBytes);
  // Empty, or what went wrong.
  std::string run(unsigned x, unsigned y, const std::function<void()>& body, std::mt19937* random);

  [[nodiscard]] const emulated::Indices& indices() const { return m_threads[m_current].indices; }
  void touchGlobal(const void* address, std::size_t bytes, Touch touch, const char* file, int line);
  void touchShared(std::size_t offset, std::size_t bytes, Touch touch, const char* file, int line);
  unsigned char* arena() { return m_arena.data(); }
  void meetBlock(const char* file, int line);
  const std::uint64_t* meetWarp(unsigned mask, std::uint64_t value, const char* file, int line);
  void copyWhenAwaited(ThreadState::Copy copy);
  void closeCopies() { m_threads[m_current].copies.emplace_back(); }
  void awaitCopies(int pending);
  [[noreturn]] void fail(const std::string& what, const char* file, int line);

 private:
  struct Shadow {
    Moment write, read;
    Touch kind = Touch::Write;
  };
  void pause();
  void releaseBarrier();
  void releaseWarp(unsigned warp, unsigned mask);
  [[nodiscard]] std::string stuck() const;
  [[nodiscard]] Moment now() const;
  [[nodiscard]] bool ordered(const Moment& before, const Moment& after) const;
  void checkRace(std::size_t offset, Touch touch, const char* file, int line);

  kernels::GridSize m_grid;
  std::size_t m_sharedBytes;
  std::vector<ThreadState> m_threads;
  std::vector<std::unique_ptr<Fiber>> m_fibers;
  std::vector<unsigned char> m_arena;
  std::vector<Shadow> m_shadows;
  std::uint64_t m_blockTime = 0;
  std::vector<std::uint64_t> m_warpTimes;
  unsigned m_current = 0, m_done = 0, m_atBarrier = 0;
  bool m_stopping = false;
  std::string m_failure;
  std::shared_ptr<const Memory> m_lastMemory;
  unsigned m_lastChanges = 0;
  std::set<std::shared_ptr<const Memory>> m_counted;  // keeps the names of counted memory
  AccessCounter m_counter;
};
// The block whose threads run on this operating system thread.
extern thread_local BlockRun* currentRun;

}  // namespace nibble::emulator
