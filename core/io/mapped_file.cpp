// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/mapped_file.h"

#include "core/base/text.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>

namespace nibble {
namespace {

// What the signal handler may look at: a fixed table without locks. A slot is free while `begin` is 0, being filled while it
// is 1. A thread that faults inside a map keeps that map alive, so its slot cannot change under the handler.
struct Slot {
  std::atomic<std::uintptr_t> begin{0}, end{0};
  std::atomic<bool> lost{false};
};
constexpr std::size_t slotCount = 4096;
std::array<Slot, slotCount> slots;
static_assert(std::atomic<std::uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

struct sigaction previousAction;
std::uintptr_t pageSize = 4096;

void passOn(int signal, siginfo_t* details, void* context) {
  if ((previousAction.sa_flags & SA_SIGINFO) != 0) return previousAction.sa_sigaction(signal, details, context);
  if (previousAction.sa_handler != SIG_DFL && previousAction.sa_handler != SIG_IGN) return previousAction.sa_handler(signal);
  // The faulting instruction runs again and now ends the program as it would have without us.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  ::sigaction(SIGBUS, &standard, nullptr);
}

void onBusError(int signal, siginfo_t* details, void* context) {
  const int keptErrno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(details->si_addr);
  for (Slot& slot : slots) {
    const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    const std::uintptr_t end = slot.end.load(std::memory_order_acquire);
    if (begin <= 1 || address < begin || address >= end) continue;
    // What lies behind the first missing page is missing too: one map for all of it keeps the number of maps small.
    const std::uintptr_t page = address & ~(pageSize - 1);
    void* zeros = ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (zeros == MAP_FAILED) break;
    slot.lost.store(true, std::memory_order_release);
    errno = keptErrno;
    return;
  }
  errno = keptErrno;
  passOn(signal, details, context);
}

void installHandler() {
  static std::once_flag once;
  std::call_once(once, [] {
    pageSize = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action {};
    action.sa_sigaction = onBusError;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previousAction);
  });
}

int claimSlot(std::uintptr_t begin, std::uintptr_t end) {
  for (std::size_t i = 0; i < slotCount; ++i) {
    std::uintptr_t free = 0;
    if (!slots[i].begin.compare_exchange_strong(free, 1, std::memory_order_acq_rel)) continue;
    slots[i].lost.store(false, std::memory_order_relaxed);
    slots[i].end.store(end, std::memory_order_release);
    slots[i].begin.store(begin, std::memory_order_release);
    return static_cast<int>(i);
  }
  return -1;
}

void freeSlot(int index) {
  Slot& slot = slots[static_cast<std::size_t>(index)];
  slot.end.store(0, std::memory_order_release);
  slot.begin.store(0, std::memory_order_release);
}

std::string reason(int number) {
  return std::generic_category().message(number);
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  installHandler();
  try {
    std::shared_ptr<MappedFile> file(new MappedFile);
    file->m_path = path;
    // Not blocking: a pipe would hold us in `open` before we can see that it is one.
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return fail(path.string() + ": cannot open: " + reason(errno));
    file->m_descriptor = descriptor;
    if (Status status = file->map(descriptor); !status) return fail(status.error().within(path.string()));
    return file;
  } catch (const std::bad_alloc&) {
    return fail(path.string() + ": not enough memory to open");
  }
}

Status MappedFile::map(int descriptor) {
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) return fail("cannot read its size: " + reason(errno));
  if (S_ISDIR(facts.st_mode)) return fail("is a directory, not a file");
  if (!S_ISREG(facts.st_mode)) return fail("is not a regular file");
  m_identity = {facts.st_dev, facts.st_ino, static_cast<std::uint64_t>(facts.st_size), facts.st_mtim.tv_sec,
                facts.st_mtim.tv_nsec};
  const auto size = static_cast<std::size_t>(facts.st_size);
  if (size == 0) return {};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return fail("cannot map " + text::byteSize(size) + ": " + reason(errno));
  m_bytes = {static_cast<const std::byte*>(address), size};
  const auto begin = reinterpret_cast<std::uintptr_t>(address);
  const std::uintptr_t wholePages = (size + pageSize - 1) / pageSize * pageSize;
  m_slot = claimSlot(begin, begin + wholePages);
  if (m_slot < 0) return fail("too many files are open at once (" + text::number(std::uint64_t{slotCount}) + ")");
  return {};
}

MappedFile::~MappedFile() {
  if (m_slot >= 0) freeSlot(m_slot);
  if (!m_bytes.empty()) ::munmap(const_cast<std::byte*>(m_bytes.data()), m_bytes.size());
  if (m_descriptor >= 0) ::close(m_descriptor);
}

Status MappedFile::intact() const {
  bool lost = m_slot >= 0 && slots[static_cast<std::size_t>(m_slot)].lost.load(std::memory_order_acquire);
  if (!lost) {
    struct stat facts {};
    lost = ::fstat(m_descriptor, &facts) != 0 || static_cast<std::uint64_t>(facts.st_size) < m_identity.size;
  }
  if (lost) return fail(m_path.string() + ": the file shrank or became unreadable while it was open");
  return {};
}

bool MappedFile::changedOnDisk() const {
  struct stat facts {};
  if (::stat(m_path.c_str(), &facts) != 0) return true;
  return m_identity != Identity{facts.st_dev, facts.st_ino, static_cast<std::uint64_t>(facts.st_size), facts.st_mtim.tv_sec,
                                facts.st_mtim.tv_nsec};
}

}  // namespace nibble
