// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/simd/threads.h"

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nibble::kernels {
namespace {

struct Pool {
  int threads;
  tbb::global_control control;  // lifts the library's own limit when more threads than cores are asked for
  tbb::task_arena arena;
  explicit Pool(int count)
      : threads(count), control(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(count)), arena(count) {}
};

int coreCount() {
  return std::max(1, tbb::info::default_concurrency());
}

std::mutex poolMutex;
std::shared_ptr<Pool> pool;

std::shared_ptr<Pool> currentPool() {
  const std::lock_guard lock(poolMutex);
  if (!pool) pool = std::make_shared<Pool>(coreCount());
  return pool;
}

#ifdef __SANITIZE_THREAD__
// oneTBB is not built with ThreadSanitizer, which sees neither how it hands work over nor, where that is suppressed, a race in the
// work itself. Threads that it does see take the same pieces.
template <class Piece>
void share(const Pool& threads, std::size_t pieces, const Piece& piece) {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next++; i < pieces; i = next++) piece(i);
  };
  std::vector<std::jthread> others;
  for (int i = 1; i < threads.threads; ++i) others.emplace_back(work);
  work();
}
#else
// Isolated: a thread that waits for the pieces of an inner call must not start a piece of an outer one, whose scratch memory it
// would share with itself.
template <class Piece>
void share(Pool& threads, std::size_t pieces, const Piece& piece) {
  threads.arena.execute([&] {
    tbb::this_task_arena::isolate([&] { tbb::parallel_for(std::size_t{0}, pieces, piece, tbb::simple_partitioner()); });
  });
}
#endif

}  // namespace

void setThreadCount(int threads) {
  const std::lock_guard lock(poolMutex);
  pool = std::make_shared<Pool>(threads > 0 ? threads : coreCount());
}

int threadCount() {
  return currentPool()->threads;
}

void runParallel(std::size_t count, std::size_t grain, const RangeBody& body) {
  const std::size_t pieces = (count + grain - 1) / grain;
  const auto piece = [&](std::size_t i) { body.call(body.object, i * grain, std::min(count, (i + 1) * grain)); };
  if (pieces == 0) return;
  if (pieces == 1) return piece(0);
  const std::shared_ptr<Pool> threads = currentPool();
  if (threads->threads == 1) {
    for (std::size_t i = 0; i < pieces; ++i) piece(i);
    return;
  }
  share(*threads, pieces, piece);
}

}  // namespace nibble::kernels
