// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/slots.h"

#include <algorithm>

namespace nibble::kernels {

Outcome Slot::make(DeviceRuntime& runtime, std::size_t bytes) {
  m_runtime = &runtime;
  m_bytes = bytes;
  Outcome outcome = m_device.make(runtime, bytes);
  if (outcome.ok()) outcome = m_pinned.make(runtime, bytes);
  if (outcome.ok()) outcome = m_stream.make(runtime);
  if (outcome.ok()) outcome = m_done.make(runtime);
  return outcome;
}

void Slot::clear() {
  m_used = m_inEnd = m_outBegin = m_outEnd = 0;
  collect = nullptr;
}

Outcome Slot::reserve(std::size_t bytes, void** memory) {
  if (bytes > m_reserved) {
    m_reserved = 0;
    if (Outcome outcome = m_reserve.make(*m_runtime, bytes); !outcome.ok()) return outcome;
    m_reserved = bytes;
  }
  *memory = m_reserve.get();
  return {};
}

std::size_t Slot::place(Kind kind, std::size_t bytes) {
  const std::size_t at = m_used;
  m_used += (bytes + alignment - 1) / alignment * alignment;
  if (kind == Kind::In || kind == Kind::InOut) m_inEnd = m_used;
  if (kind == Kind::In) m_outBegin = m_used;
  if (kind != Kind::Scratch) m_outEnd = m_used;
  return m_used <= m_bytes ? at : 0;
}

Outcome Slot::queue(const std::function<Outcome(Stream)>& kernels) {
  if (m_used > m_bytes)
    return Outcome::failed(Fault::BadCall,
                           "a strip of " + std::to_string(m_used) + " bytes in a slot of " + std::to_string(m_bytes));
  Outcome outcome = m_runtime->copyIn(m_device.get(), m_pinned.get(), m_inEnd, m_stream.get());
  if (outcome.ok()) outcome = kernels(m_stream.get());
  if (outcome.ok() && m_outEnd > m_outBegin)
    outcome = m_runtime->copyOut(static_cast<unsigned char*>(m_pinned.get()) + m_outBegin,
                                 static_cast<const unsigned char*>(m_device.get()) + m_outBegin, m_outEnd - m_outBegin,
                                 m_stream.get());
  if (outcome.ok()) outcome = m_runtime->record(m_done.get(), m_stream.get());
  return outcome;
}

SlotPool::Lease::~Lease() {
  if (m_pool == nullptr) return;
  {
    const std::lock_guard lock(m_pool->m_mutex);
    for (Slot* slot : m_slots) m_pool->m_free.push_back(slot);
  }
  m_pool->m_returned.notify_all();
}

Outcome SlotPool::makeSlots(std::size_t bytes) {
  std::vector<std::unique_ptr<Slot>> slots;
  for (unsigned i = 0; i < std::max(1u, m_settings.count); ++i) {
    auto slot = std::make_unique<Slot>();
    Outcome outcome = slot->make(m_runtime, bytes);
    if (!outcome.ok()) return outcome;
    slots.push_back(std::move(slot));
  }
  m_all = std::move(slots);
  for (const auto& slot : m_all) m_free.push_back(slot.get());
  return {};
}

// Half of what is free at most, and less where even that is refused.
Outcome SlotPool::makeSlots() {
  std::size_t free = 0;
  if (Outcome outcome = m_runtime.freeBytes(&free); !outcome.ok()) return outcome;
  const std::size_t share = free / 2 / std::max(1u, m_settings.count);
  std::size_t bytes = std::min(m_settings.bytes, share / Slot::alignment * Slot::alignment);
  for (; bytes >= m_settings.leastBytes; bytes = bytes / 2 / Slot::alignment * Slot::alignment) {
    Outcome outcome = makeSlots(bytes);
    if (outcome.ok() || outcome.fault != Fault::NoMemory) return outcome;
  }
  return Outcome::failed(Fault::NoMemory, "too little memory is free on the device: " + std::to_string(free >> 10) + " KiB");
}

Outcome SlotPool::borrow(std::size_t wanted, Lease* lease) {
  std::unique_lock lock(m_mutex);
  if (m_all.empty())
    if (Outcome outcome = makeSlots(); !outcome.ok()) return outcome;
  m_returned.wait(lock, [this] { return !m_free.empty(); });
  lease->m_pool = this;
  while (!m_free.empty() && lease->m_slots.size() < std::max<std::size_t>(1, wanted)) {
    lease->m_slots.push_back(m_free.back());
    m_free.pop_back();
  }
  return {};
}

Outcome SlotPool::slotBytes(std::size_t* bytes) {
  const std::lock_guard lock(m_mutex);
  if (m_all.empty())
    if (Outcome outcome = makeSlots(); !outcome.ok()) return outcome;
  *bytes = m_all.front()->bytes();
  return {};
}

}  // namespace nibble::kernels
