// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/huge_array.h"

#include <sys/mman.h>

#include <new>

namespace nibble {

template <class T>
HugeArray<T>::HugeArray(std::size_t count) : m_count(count) {
  if (count == 0) return;
  void* memory = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  ::madvise(memory, count * sizeof(T), MADV_HUGEPAGE);
  m_values = static_cast<T*>(memory);
}

template <class T>
HugeArray<T>::~HugeArray() {
  if (m_values != nullptr) ::munmap(m_values, m_count * sizeof(T));
}

template class HugeArray<float>;
template class HugeArray<std::uint8_t>;
template class HugeArray<std::byte>;

}  // namespace nibble
