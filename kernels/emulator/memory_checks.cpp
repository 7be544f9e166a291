// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/emulator/block_run.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <sstream>

namespace nibble::emulator {

// What memory there is, by its end.
struct Memory {
  std::uintptr_t begin = 0, end = 0;
  std::string name;
  bool writable = true;
};

namespace {

struct MemoryMap {
  std::mutex mutex;
  std::map<std::uintptr_t, std::shared_ptr<const Memory>> byEnd;
  std::atomic<unsigned> changes = 0;
};
MemoryMap& memoryMap() {
  static MemoryMap map;
  return map;
}

}  // namespace

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

}  // namespace nibble::emulator
