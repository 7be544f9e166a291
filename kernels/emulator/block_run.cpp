// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/emulator/block_run.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sstream>

namespace nibble::emulator {

thread_local BlockRun* currentRun = nullptr;

namespace {

struct Stop {};  // ends a thread of a block that failed

// Fibers are dear to make; each operating system thread keeps those it made.
std::vector<std::unique_ptr<Fiber>>& fiberPool() {
  thread_local std::vector<std::unique_ptr<Fiber>> pool;
  return pool;
}

}  // namespace

std::string placeText(const char* file, int line) {
  const std::string name = file;
  return name.substr(name.rfind('/') + 1) + ":" + std::to_string(line);
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

}  // namespace nibble::emulator
