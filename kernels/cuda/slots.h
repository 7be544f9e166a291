// SPDX-License-Identifier: GPL-3.0-or-later
// Where strips of work wait and run: a few slots, each a stream with staging in pinned memory and as much on the device. While
// one slot's kernel runs, the next one's numbers are copied in and another's results are copied out.
//
//     slot 0   |fill|--in-->|kernel|--out-->|take|fill|--in-->| ...
//     slot 1        |fill|--in-->|kernel|--out-->|take| ...
//     slot 2             |fill|--in-->|kernel|--out-->|take|
//
// A slot's memory is handed out in pieces of 256 bytes, the same places in both halves, in the order of kinds: what goes in,
// what goes in and comes out, what comes out, scratch. So each direction is one copy.
#pragma once
#include "kernels/cuda/device_memory.h"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace nibble::kernels {

struct SlotSettings {
  unsigned count = 3;
  std::size_t bytes = std::size_t{8} << 20;       // of each slot, where the device has as much
  std::size_t leastBytes = std::size_t{1} << 20;  // with less it is not worth a device
};

// One array of a strip in both memories. Scratch has no host side worth reading.
template <class T>
struct Staged {
  T* host = nullptr;
  T* device = nullptr;
  std::size_t count = 0;
};

class Slot {
 public:
  static constexpr std::size_t alignment = 256;
  Outcome make(DeviceRuntime& runtime, std::size_t bytes);

  enum class Kind : std::uint8_t { In, InOut, Out, Scratch };
  void clear();  // a new strip begins
  template <class T>
  Staged<T> take(Kind kind, std::size_t count) {
    const std::size_t at = place(kind, count * sizeof(T));
    return {reinterpret_cast<T*>(static_cast<unsigned char*>(m_pinned.get()) + at),
            reinterpret_cast<T*>(static_cast<unsigned char*>(m_device.get()) + at), count};
  }
  // Queues the copy in, what `kernels` launches, the copy out and the event. Refuses a strip that took more than there is.
  Outcome queue(const std::function<Outcome(Stream)>& kernels);
  Outcome await() { return m_runtime->await(m_done.get()); }
  // After a failure: nothing of the slot may be under way when it is used again.
  Outcome drain() { return m_runtime->drain(m_stream.get()); }
  [[nodiscard]] std::size_t bytes() const { return m_bytes; }
  // Device memory beside the staging, for strips whose scratch is larger than a slot. It is kept, and grows where it must: what
  // an earlier strip had there is gone.
  Outcome reserve(std::size_t bytes, void** memory);

  std::function<void()> collect;  // takes the results of the strip under way out of the host side

 private:
  std::size_t place(Kind kind, std::size_t bytes);
  DeviceRuntime* m_runtime = nullptr;
  DeviceBuffer m_device, m_reserve;
  PinnedBuffer m_pinned;
  OwnedStream m_stream;
  OwnedEvent m_done;
  std::size_t m_bytes = 0, m_reserved = 0, m_used = 0, m_inEnd = 0, m_outBegin = 0, m_outEnd = 0;
};

// The slots of a device, made at first use, shared by all threads.
class SlotPool {
 public:
  SlotPool(DeviceRuntime& runtime, SlotSettings settings) : m_runtime(runtime), m_settings(settings) {}
  // Slots borrowed by one call: one at least, for which it waits, and no more than are free.
  class Lease {
   public:
    Lease() = default;
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    [[nodiscard]] const std::vector<Slot*>& slots() const { return m_slots; }

   private:
    friend class SlotPool;
    SlotPool* m_pool = nullptr;
    std::vector<Slot*> m_slots;
  };
  // Fails where the device has too little memory (next time it may have more), or is lost.
  Outcome borrow(std::size_t wanted, Lease* lease);
  // Bytes of a slot; makes the slots if there are none.
  Outcome slotBytes(std::size_t* bytes);

 private:
  Outcome makeSlots();
  Outcome makeSlots(std::size_t bytes);
  DeviceRuntime& m_runtime;
  SlotSettings m_settings;
  std::mutex m_mutex;
  std::condition_variable m_returned;
  std::vector<std::unique_ptr<Slot>> m_all;
  std::vector<Slot*> m_free;
};

}  // namespace nibble::kernels
