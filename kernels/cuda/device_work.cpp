// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/device_work.h"

#include <deque>
#include <numeric>
#include <vector>

namespace nibble::kernels {

void DeviceWork::open() {
  const Outcome outcome = m_runtime->open(&m_facts);
  if (!outcome.ok()) {
    m_closedReason = outcome.detail;
    return;
  }
  m_description = m_facts.name + ", " + std::to_string(m_facts.memoryBytes >> 30) + " GiB";
}

std::string_view DeviceWork::unusableReason() {
  std::call_once(m_opened, [this] { open(); });
  if (!m_closedReason.empty()) return m_closedReason;
  return m_lost.load(std::memory_order_acquire) ? std::string_view(m_lostReason) : std::string_view();
}

std::string_view DeviceWork::description() {
  std::call_once(m_opened, [this] { open(); });
  return m_description;
}

DeviceGemm* DeviceWork::gemm() {
  std::call_once(m_gemmOpened, [this] {
    if (const Outcome outcome = m_runtime->openGemm(&m_gemm); !outcome.ok()) m_gemm.reset();
  });
  return m_gemm.get();
}

std::string DeviceWork::notice() {
  const std::lock_guard lock(m_mutex);
  return m_notice;
}

void DeviceWork::note(const Outcome& outcome) {
  const std::lock_guard lock(m_mutex);
  if (m_lost.load(std::memory_order_relaxed)) return;
  if (outcome.fault == Fault::NoMemory || outcome.fault == Fault::BadCall) {
    if (m_notice.empty()) m_notice = "part of the work was done on the CPU: " + outcome.detail;
    return;
  }
  m_lostReason = "the device was lost: " + outcome.detail;
  m_notice = m_lostReason + "; the CPU goes on";
  m_lost.store(true, std::memory_order_release);
}

std::size_t DeviceWork::stripBytes() {
  if (!unusableReason().empty()) return 0;
  std::size_t bytes = 0;
  const Outcome outcome = m_pool.slotBytes(&bytes);
  if (outcome.ok()) return bytes;
  note(outcome);
  return 0;
}

void DeviceWork::run(std::size_t count, const std::function<Outcome(Slot&, std::size_t)>& onDevice,
                     const std::function<void(std::size_t)>& onHost) {
  std::vector<std::size_t> left;  // for the host
  {
    SlotPool::Lease lease;
    if (const Outcome outcome = m_pool.borrow(count, &lease); !outcome.ok()) {
      note(outcome);
      left.resize(count);
      std::iota(left.begin(), left.end(), std::size_t{0});
      count = 0;
    }
    std::vector<Slot*> idle = lease.slots();
    std::deque<std::pair<Slot*, std::size_t>> underWay;
    const auto leave = [&](Slot& slot, std::size_t strip, const Outcome& outcome) {
      note(outcome);
      // A slot that something may still be under way in is not used again, and no other is.
      if (const Outcome drained = slot.drain(); !drained.ok()) note(Outcome::failed(Fault::Lost, drained.detail));
      left.push_back(strip);
    };
    const auto finishOldest = [&] {
      const auto [slot, strip] = underWay.front();
      underWay.pop_front();
      if (const Outcome outcome = slot->await(); outcome.ok())
        slot->collect();
      else
        leave(*slot, strip, outcome);
      idle.push_back(slot);
    };
    for (std::size_t strip = 0; strip < count; ++strip) {
      if (idle.empty()) finishOldest();
      if (m_lost.load(std::memory_order_acquire)) {
        left.push_back(strip);
        continue;
      }
      Slot& slot = *idle.back();
      slot.clear();
      if (const Outcome outcome = onDevice(slot, strip); outcome.ok()) {
        underWay.emplace_back(&slot, strip);
        idle.pop_back();
      } else {
        leave(slot, strip, outcome);
      }
    }
    while (!underWay.empty()) finishOldest();
  }
  for (const std::size_t strip : left) onHost(strip);
}

}  // namespace nibble::kernels
