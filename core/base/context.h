// SPDX-License-Identifier: GPL-3.0-or-later
// What a piece of work is told by whoever asked for it: which backend, when to stop, where to report progress.
// Core is synchronous; it looks at the stop token once per strip (about 64k weights, well under 10 ms).
#pragma once
#include <atomic>
#include <cstdint>
#include <stop_token>

namespace nibble::kernels {
class Backend;
const Backend& defaultBackend();
}  // namespace nibble::kernels

namespace nibble {

class ActivationData;

// Counters polled by a viewer at its own pace; any thread may add. The unit is the worker's own (weights, bytes, candidates).
struct Progress {
  std::atomic<std::uint64_t> done{0};
  std::atomic<std::uint64_t> total{0};
};

struct Context {
  const kernels::Backend* backend = &kernels::defaultBackend();
  std::stop_token stop;
  Progress* progress = nullptr;
  const ActivationData* activations = nullptr;  // core/tensor/activations.h; null: nothing is known about the inputs

  [[nodiscard]] bool stopRequested() const { return stop.stop_requested(); }
  void addTotal(std::uint64_t units) const {
    if (progress != nullptr) progress->total.fetch_add(units, std::memory_order_relaxed);
  }
  void addDone(std::uint64_t units) const {
    if (progress != nullptr) progress->done.fetch_add(units, std::memory_order_relaxed);
  }
};

}  // namespace nibble
