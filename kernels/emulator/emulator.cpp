// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/emulator/emulator.h"

#include "kernels/emulator/block_run.h"

#include <algorithm>
#include <numeric>

namespace nibble::emulator {

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

constexpr std::size_t mostShared = 227 << 10;

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
}  // namespace nibble::emulator

namespace nibble::kernels::emulated {

using emulator::currentRun;

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
  if (grid.x == 0 || grid.y == 0 || grid.y > largestGridY || block == 0 || block > 1024 || sharedBytes > emulator::mostShared)
    return Outcome::failed(Fault::BadCall, "a launch no device takes: grid " + std::to_string(grid.x) + " x " +
                                               std::to_string(grid.y) + ", block " + std::to_string(block) + ", shared " +
                                               std::to_string(sharedBytes));
  auto& queue = emulator::EmulatedStream::of(stream);
  if (queue.gate)
    if (Outcome outcome = queue.gate(); !outcome.ok()) return outcome;
  queue.queue([=, body = std::move(body)] { return emulator::runBlocks(grid, block, sharedBytes, body); });
  return {};
}

}  // namespace nibble::kernels::emulated
