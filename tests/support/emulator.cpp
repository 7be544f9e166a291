// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/emulator.h"

#include "kernels/cuda/device.h"
#include "tests/support/emulator_counting.h"
#include "tests/support/fiber.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <sstream>

namespace nibble::test {
namespace {

namespace emulated = kernels::emulated;
using emulated::Touch;

constexpr unsigned warpLanes = 32, nobody = 0xFFFFFFFFu, several = 0xFFFFFFFEu;
constexpr std::size_t mostShared = 227 << 10;

// What memory there is, by its end.
struct Memory {
  std::uintptr_t begin = 0, end = 0;
  std::string name;
  bool writable = true;
};
struct MemoryMap {
  std::mutex mutex;
  std::map<std::uintptr_t, std::shared_ptr<const Memory>> byEnd;
  std::atomic<unsigned> changes = 0;
};
MemoryMap& memoryMap() {
  static MemoryMap map;
  return map;
}

struct Stop {};  // ends a thread of a block that failed

std::string placeText(const char* file, int line) {
  const std::string name = file;
  return name.substr(name.rfind('/') + 1) + ":" + std::to_string(line);
}

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

thread_local BlockRun* currentRun = nullptr;

// Fibers are dear to make; each operating system thread keeps those it made.
std::vector<std::unique_ptr<Fiber>>& fiberPool() {
  thread_local std::vector<std::unique_ptr<Fiber>> pool;
  return pool;
}

BlockRun::BlockRun(kernels::GridSize grid, unsigned threads, std::size_t sharedBytes)
    : m_grid(grid),
      m_sharedBytes(sharedBytes),
      m_threads(threads),
      m_arena(sharedBytes + 16),
      m_shadows(sharedBytes),
      m_warpTimes((threads + warpLanes - 1) / warpLanes) {}

std::string BlockRun::run(unsigned x, unsigned y, const std::function<void()>& body, std::mt19937* random) {
  auto& fibers = fiberPool();
  const auto count = static_cast<unsigned>(m_threads.size());
  while (fibers.size() < count) fibers.push_back(std::make_unique<Fiber>());
  std::memset(m_arena.data(), 0xCD, m_arena.size());
  std::fill(m_shadows.begin(), m_shadows.end(), Shadow{});
  m_done = m_atBarrier = 0;
  if (emulatorSettings().counting) m_counter.start(count);
  for (unsigned t = 0; t < count; ++t) {
    m_threads[t] = ThreadState{};
    m_threads[t].indices = {t, count, x, y, m_grid.x, m_grid.y};
    m_threads[t].copies.emplace_back();
    fibers[t]->start([this, t, &body] {
      try {
        body();
        if (m_threads[t].copies.size() > 1 || !m_threads[t].copies.front().empty())
          fail("the thread ends with copies under way", "", 0);
      } catch (const Stop&) {
      }
      m_threads[t].at = ThreadState::At::Done;
      ++m_done;
    });
  }
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  currentRun = this;
  while (m_done < count) {
    if (random != nullptr) std::shuffle(order.begin(), order.end(), *random);
    bool any = false;
    for (const unsigned t : order) {
      if (m_threads[t].at != ThreadState::At::Ready && !(m_stopping && m_threads[t].at != ThreadState::At::Done)) continue;
      any = true;
      m_current = t;
      fibers[t]->resume();
    }
    if (!any && !m_stopping) {
      m_failure = stuck();
      m_stopping = true;
    }
  }
  currentRun = nullptr;
  if (emulatorSettings().counting && m_failure.empty()) m_counter.finish(emulatorCounters());
  return m_failure;
}

void BlockRun::pause() {
  const unsigned t = m_current;
  fiberPool()[t]->pause();
  if (m_stopping) throw Stop{};
}

void BlockRun::fail(const std::string& what, const char* file, int line) {
  if (m_failure.empty()) {
    const auto& at = indices();
    m_failure = "thread " + std::to_string(at.thread) + " of block (" + std::to_string(at.blockX) + ", " +
                std::to_string(at.blockY) + ")" + (line > 0 ? " at " + placeText(file, line) : "") + ": " + what;
  }
  m_stopping = true;
  throw Stop{};
}

void BlockRun::meetBlock(const char* file, int line) {
  ThreadState& self = m_threads[m_current];
  self.at = ThreadState::At::Barrier;
  self.file = file;
  self.line = line;
  if (++m_atBarrier == m_threads.size())
    releaseBarrier();
  else
    pause();
}

void BlockRun::releaseBarrier() {
  const ThreadState& mine = m_threads[m_current];
  for (const ThreadState& other : m_threads)
    if (other.line != mine.line || std::strcmp(other.file, mine.file) != 0)
      fail("the threads of the block meet at different barriers; thread " + std::to_string(other.indices.thread) + " at " +
               placeText(other.file, other.line),
           mine.file, mine.line);
  for (ThreadState& thread : m_threads) thread.at = ThreadState::At::Ready;
  m_atBarrier = 0;
  ++m_blockTime;
  ++emulatorCounters().barriers;
}

const std::uint64_t* BlockRun::meetWarp(unsigned mask, std::uint64_t value, const char* file, int line) {
  ThreadState& self = m_threads[m_current];
  const unsigned warp = m_current / warpLanes, lane = m_current % warpLanes;
  if ((mask >> lane & 1u) == 0) fail("a warp operation whose mask leaves out its own lane " + std::to_string(lane), file, line);
  self.at = ThreadState::At::Warp;
  self.mask = mask;
  self.deposit = value;
  self.file = file;
  self.line = line;
  bool complete = true;
  for (unsigned l = 0; l < warpLanes; ++l) {
    if ((mask >> l & 1u) == 0) continue;
    const unsigned t = warp * warpLanes + l;
    if (t >= m_threads.size())
      fail("a warp operation with lane " + std::to_string(l) + ", which the block does not have", file, line);
    const ThreadState& other = m_threads[t];
    if (other.at == ThreadState::At::Done)
      fail("a warp operation with lane " + std::to_string(l) + ", which has ended", file, line);
    if (other.at != ThreadState::At::Warp) {
      complete = false;
    } else if (other.mask != mask || other.line != line || std::strcmp(other.file, file) != 0) {
      fail("a warp operation with lane " + std::to_string(l) + ", which is in another one at " +
               placeText(other.file, other.line),
           file, line);
    }
  }
  if (complete)
    releaseWarp(warp, mask);
  else
    pause();
  return self.values.data();
}

void BlockRun::releaseWarp(unsigned warp, unsigned mask) {
  std::array<std::uint64_t, warpLanes> values{};
  for (unsigned l = 0; l < warpLanes; ++l)
    if ((mask >> l & 1u) != 0) values[l] = m_threads[warp * warpLanes + l].deposit;
  for (unsigned l = 0; l < warpLanes; ++l)
    if ((mask >> l & 1u) != 0) {
      ThreadState& thread = m_threads[warp * warpLanes + l];
      thread.values = values;
      thread.at = ThreadState::At::Ready;
    }
  if (mask == 0xFFFFFFFFu) ++m_warpTimes[warp];
  ++emulatorCounters().warpOperations;
}

std::string BlockRun::stuck() const {
  std::ostringstream text;
  text << "deadlock in block (" << m_threads[0].indices.blockX << ", " << m_threads[0].indices.blockY << "):";
  std::map<std::string, std::vector<unsigned>> places;
  for (const ThreadState& thread : m_threads) {
    const std::string where =
        thread.at == ThreadState::At::Done
            ? "ended"
            : (thread.at == ThreadState::At::Barrier ? "waiting at the barrier " : "waiting for its warp at ") +
                  placeText(thread.file, thread.line);
    places[where].push_back(thread.indices.thread);
  }
  for (const auto& [where, threads] : places) {
    text << " thread " << threads.front();
    if (threads.size() > 1) text << " and " << threads.size() - 1 << " more";
    text << ' ' << where << ';';
  }
  return text.str();
}

void BlockRun::touchGlobal(const void* address, std::size_t bytes, Touch touch, const char* file, int line) {
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const auto named = [&](const char* what) {
    std::ostringstream text;
    text << what << ' ' << bytes << " bytes at " << address;
    return text.str();
  };
  if (begin % bytes != 0) fail(named("misaligned access to"), file, line);
  MemoryMap& map = memoryMap();
  if (m_lastMemory == nullptr || m_lastChanges != map.changes || begin < m_lastMemory->begin ||
      begin + bytes > m_lastMemory->end) {
    const std::lock_guard lock(map.mutex);
    m_lastChanges = map.changes;
    const auto found = map.byEnd.lower_bound(begin + bytes);
    const auto after = map.byEnd.upper_bound(begin);
    if (found == map.byEnd.end() || found->second->begin > begin) {
      std::string nearest;
      if (after != map.byEnd.end() && after->second->begin <= begin)
        nearest = ", across the end of " + after->second->name;
      else if (after != map.byEnd.begin())
        nearest = ", " + std::to_string(begin - std::prev(after)->second->end) + " bytes after the end of " +
                  std::prev(after)->second->name;
      m_lastMemory = nullptr;
      fail(named("out of range: ") + nearest, file, line);
    }
    m_lastMemory = found->second;
    if (emulatorSettings().counting) m_counted.insert(m_lastMemory);
  }
  if (touch != Touch::Read && !m_lastMemory->writable) fail(named("writes to input") + " of " + m_lastMemory->name, file, line);
  if (touch == Touch::Atomic) ++emulatorCounters().globalAtomics;
  if (emulatorSettings().counting)
    m_counter.global(m_current, address, bytes, touch != Touch::Read, &m_lastMemory->name, file, line);
}

Moment BlockRun::now() const {
  return {m_current, m_current / warpLanes, m_blockTime, m_warpTimes[m_current / warpLanes]};
}

bool BlockRun::ordered(const Moment& before, const Moment& after) const {
  if (before.thread == nobody || before.thread == after.thread || before.blockTime < after.blockTime) return true;
  return before.warp == after.warp && before.warpTime < after.warpTime;
}

void BlockRun::checkRace(std::size_t offset, Touch touch, const char* file, int line) {
  Shadow& shadow = m_shadows[offset];
  const Moment at = now();
  const bool bothAtomic = touch == Touch::Atomic && shadow.kind == Touch::Atomic;
  const auto other = [](unsigned thread) { return thread == several ? "several threads" : "thread " + std::to_string(thread); };
  if (touch != Touch::Write && shadow.write.thread == nobody)
    fail("reads shared byte " + std::to_string(offset) + ", which nobody wrote", file, line);
  if (!bothAtomic && !ordered(shadow.write, at))
    fail("race: shared byte " + std::to_string(offset) + " was written by " + other(shadow.write.thread) +
             " without a barrier between",
         file, line);
  if (touch == Touch::Read) {
    const Moment& before = shadow.read;
    const bool alone = before.thread == nobody || before.thread == at.thread || before.blockTime != at.blockTime;
    shadow.read = {alone ? at.thread : several, alone || before.warp == at.warp ? at.warp : several, at.blockTime, at.warpTime};
    return;
  }
  if (!ordered(shadow.read, at))
    fail("race: shared byte " + std::to_string(offset) + " was read by " + other(shadow.read.thread) +
             " without a barrier between",
         file, line);
  shadow.write = at;
  shadow.kind = touch;
}

void BlockRun::touchShared(std::size_t offset, std::size_t bytes, Touch touch, const char* file, int line) {
  if (offset % bytes != 0) fail("misaligned shared access at byte " + std::to_string(offset), file, line);
  if (offset + bytes > m_sharedBytes)
    fail("shared byte " + std::to_string(offset) + " of a block that has " + std::to_string(m_sharedBytes), file, line);
  for (std::size_t i = 0; i < bytes; ++i) checkRace(offset + i, touch, file, line);
  if (touch == Touch::Atomic) {
    ++emulatorCounters().sharedAtomics;  // counts of data: their conflicts depend on it, not on the kernel
  } else if (emulatorSettings().counting) {
    m_counter.shared(m_current, offset, bytes, file, line);
  }
}

void BlockRun::copyWhenAwaited(ThreadState::Copy copy) {
  touchGlobal(copy.from, copy.bytes, Touch::Read, copy.file, copy.line);
  if (copy.offset % copy.bytes != 0 || copy.offset + copy.bytes > m_sharedBytes)
    fail("copies to shared byte " + std::to_string(copy.offset), copy.file, copy.line);
  m_threads[m_current].copies.back().push_back(copy);
}

void BlockRun::awaitCopies(int pending) {
  auto& groups = m_threads[m_current].copies;  // closed groups and the open one
  while (groups.size() > static_cast<std::size_t>(pending) + 1) {
    for (const ThreadState::Copy& copy : groups.front()) {
      touchShared(copy.offset, copy.bytes, Touch::Write, copy.file, copy.line);
      std::memcpy(m_arena.data() + copy.offset, copy.from, copy.bytes);
    }
    groups.erase(groups.begin());
  }
}

}  // namespace

void allowMemory(const void* begin, std::size_t bytes, const std::string& name, bool writable) {
  MemoryMap& map = memoryMap();
  const std::lock_guard lock(map.mutex);
  const auto start = reinterpret_cast<std::uintptr_t>(begin);
  ++map.changes;
  if (bytes > 0) map.byEnd[start + bytes] = std::make_shared<const Memory>(Memory{start, start + bytes, name, writable});
}

void forgetMemory(const void* begin) {
  MemoryMap& map = memoryMap();
  const std::lock_guard lock(map.mutex);
  ++map.changes;
  std::erase_if(map.byEnd,
                [begin](const auto& entry) { return entry.second->begin == reinterpret_cast<std::uintptr_t>(begin); });
}

Outcome EmulatedStream::wait() {
  while (!m_work.empty()) {
    const auto work = std::move(m_work.front());
    m_work.pop_front();
    if (Outcome outcome = work(); !outcome.ok()) {
      m_work.clear();
      return outcome;
    }
  }
  return {};
}

EmulatorSettings& emulatorSettings() {
  thread_local EmulatorSettings settings;
  return settings;
}

Counters& emulatorCounters() {
  thread_local Counters counters;
  return counters;
}

namespace {

Outcome runBlocks(kernels::GridSize grid, unsigned block, std::size_t sharedBytes, const std::function<void()>& body) {
  Counters& counters = emulatorCounters();
  ++counters.launches;
  counters.largestShared = std::max(counters.largestShared, sharedBytes);
  const unsigned seed = emulatorSettings().seed;
  std::mt19937 random(seed);
  std::vector<unsigned> order(std::size_t{grid.x} * grid.y);
  std::iota(order.begin(), order.end(), 0u);
  if (seed != 0) std::shuffle(order.begin(), order.end(), random);
  BlockRun run(grid, block, sharedBytes);
  for (const unsigned number : order) {
    const std::string failure = run.run(number % grid.x, number / grid.x, body, seed != 0 ? &random : nullptr);
    if (!failure.empty()) return Outcome::failed(Fault::Lost, failure);
  }
  return {};
}

}  // namespace
}  // namespace nibble::test

namespace nibble::kernels::emulated {

using test::currentRun;

const Indices& indices() {
  return currentRun->indices();
}
void touchGlobal(const void* address, std::size_t bytes, Touch touch, const char* file, int line) {
  currentRun->touchGlobal(address, bytes, touch, file, line);
}
void touchShared(std::size_t offset, std::size_t bytes, Touch touch, const char* file, int line) {
  currentRun->touchShared(offset, bytes, touch, file, line);
}
unsigned char* sharedArena() {
  return currentRun->arena();
}
void meetBlock(const char* file, int line) {
  currentRun->meetBlock(file, line);
}
const std::uint64_t* meetWarp(unsigned mask, std::uint64_t value, const char* file, int line) {
  return currentRun->meetWarp(mask, value, file, line);
}
void copyWhenAwaited(std::size_t sharedOffset, const void* from, std::size_t bytes, const char* file, int line) {
  currentRun->copyWhenAwaited({sharedOffset, from, bytes, file, line});
}
void closeCopies() {
  currentRun->closeCopies();
}
void awaitCopies(int pending) {
  currentRun->awaitCopies(pending);
}
void fail(const std::string& what, const char* file, int line) {
  currentRun->fail(what, file, line);
}

Outcome runGrid(GridSize grid, unsigned block, std::size_t sharedBytes, Stream stream, std::function<void()> body) {
  if (stream == nullptr) return Outcome::failed(Fault::BadCall, "a kernel on the default stream");
  if (grid.x == 0 || grid.y == 0 || grid.y > largestGridY || block == 0 || block > 1024 || sharedBytes > test::mostShared)
    return Outcome::failed(Fault::BadCall, "a launch no device takes: grid " + std::to_string(grid.x) + " x " +
                                               std::to_string(grid.y) + ", block " + std::to_string(block) + ", shared " +
                                               std::to_string(sharedBytes));
  auto& queue = test::EmulatedStream::of(stream);
  if (queue.gate)
    if (Outcome outcome = queue.gate(); !outcome.ok()) return outcome;
  queue.queue(
      [=, body = std::move(body)] { return test::runBlocks(grid, block, sharedBytes, body); });
  return {};
}

}  // namespace nibble::kernels::emulated
