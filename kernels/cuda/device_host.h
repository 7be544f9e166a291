// SPDX-License-Identifier: GPL-3.0-or-later
// device.h's words for a C++ compiler: each goes to an emulator of one block's threads (kernels/emulator), which
// checks ranges, alignment, races and masks, and counts. Included by device.h alone; nothing of it is in the program.
#pragma once
#include "kernels/math/minifloat.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#define NIBBLE_KERNEL inline void
#define NIBBLE_DEVICE inline
#define NIBBLE_THREADS(threads)

// Where in the kernel's source an access stands, as defaulted arguments.
#define NIBBLE_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace nibble::kernels::emulated {

enum class Touch : std::uint8_t { Read, Write, Atomic };

// What the emulator provides.
struct Indices {
  unsigned thread, blockSize, blockX, blockY, gridX, gridY;
};
const Indices& indices();
void touchGlobal(const void* address, std::size_t bytes, Touch touch, const char* file, int line);
void touchShared(std::size_t offset, std::size_t bytes, Touch touch, const char* file, int line);
unsigned char* sharedArena();
void meetBlock(const char* file, int line);
// Deposits a value; returns those of all 32 lanes when the lanes of the mask are there.
const std::uint64_t* meetWarp(unsigned mask, std::uint64_t value, const char* file, int line);
void copyWhenAwaited(std::size_t sharedOffset, const void* from, std::size_t bytes, const char* file, int line);
void closeCopies();
void awaitCopies(int pending);
void fail(const std::string& what, const char* file, int line);
Outcome runGrid(GridSize grid, unsigned block, std::size_t sharedBytes, Stream stream, std::function<void()> body);

inline unsigned threadIndex() {
  return indices().thread;
}
inline unsigned blockSize() {
  return indices().blockSize;
}
inline unsigned blockX() {
  return indices().blockX;
}
inline unsigned blockY() {
  return indices().blockY;
}
inline unsigned gridX() {
  return indices().gridX;
}
inline unsigned gridY() {
  return indices().gridY;
}

template <class T>
T load(const T* from, NIBBLE_HERE) {
  touchGlobal(from, sizeof(T), Touch::Read, file, line);
  return *from;
}
template <class T>
T loadOnce(const T* from, NIBBLE_HERE) {
  return load(from, file, line);
}
template <class T>
void store(T* to, T value, NIBBLE_HERE) {
  touchGlobal(to, sizeof(T), Touch::Write, file, line);
  *to = value;
}
inline void addAtomically(std::uint64_t* to, std::uint64_t value, NIBBLE_HERE) {
  touchGlobal(to, sizeof(value), Touch::Atomic, file, line);
  *to += value;
}
inline void leastAtomically(std::uint64_t* to, std::uint64_t value, NIBBLE_HERE) {
  touchGlobal(to, sizeof(value), Touch::Atomic, file, line);
  *to = value < *to ? value : *to;
}

template <class T>
class Shared {
 public:
  Shared(std::size_t offset, std::size_t count) : m_offset(offset), m_count(count) {}
  T get(std::size_t i, NIBBLE_HERE) const {
    T value;
    std::memcpy(&value, place(i, Touch::Read, file, line), sizeof(T));
    return value;
  }
  void set(std::size_t i, T value, NIBBLE_HERE) const { std::memcpy(place(i, Touch::Write, file, line), &value, sizeof(T)); }
  void add(std::size_t i, T value, NIBBLE_HERE) const {
    unsigned char* at = place(i, Touch::Atomic, file, line);
    T sum;
    std::memcpy(&sum, at, sizeof(T));
    sum += value;
    std::memcpy(at, &sum, sizeof(T));
  }
  void copyLater(std::size_t i, const T* from, NIBBLE_HERE) const {
    static_assert(sizeof(T) == 16);
    check(i, file, line);
    copyWhenAwaited(m_offset + i * sizeof(T), from, sizeof(T), file, line);
  }

 private:
  void check(std::size_t i, const char* file, int line) const {
    if (i >= m_count)
      fail("element " + std::to_string(i) + " of a shared array of " + std::to_string(m_count) + " at byte " +
               std::to_string(m_offset),
           file, line);
  }
  unsigned char* place(std::size_t i, Touch touch, const char* file, int line) const {
    check(i, file, line);
    touchShared(m_offset + i * sizeof(T), sizeof(T), touch, file, line);
    return sharedArena() + m_offset + i * sizeof(T);
  }
  std::size_t m_offset, m_count;
};

inline void syncThreads(NIBBLE_HERE) {
  meetBlock(file, line);
}
inline void syncWarp(NIBBLE_HERE) {
  meetWarp(wholeWarp, 0, file, line);
}
template <int pending>
void awaitCopies() {
  awaitCopies(pending);
}

template <class T>
std::uint64_t asBits(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T fromBits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
T shuffleXor(T value, unsigned distance, NIBBLE_HERE) {
  return fromBits<T>(meetWarp(wholeWarp, asBits(value), file, line)[(threadIndex() % 32) ^ (distance % 32)]);
}
template <class T>
T shuffleFrom(T value, unsigned lane, NIBBLE_HERE) {
  return fromBits<T>(meetWarp(wholeWarp, asBits(value), file, line)[lane % 32]);
}
inline unsigned ballot(bool value, NIBBLE_HERE) {
  const std::uint64_t* values = meetWarp(wholeWarp, value ? 1 : 0, file, line);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) bits |= static_cast<unsigned>(values[lane] & 1u) << lane;
  return bits;
}

// The products are exact in float32; their sum is taken in double and rounded once, which the instruction need not do: results
// are held to a bound, not to bits.
inline void multiplyTile(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], NIBBLE_HERE) {
  std::uint64_t words[3][32];
  const std::uint64_t mine[3] = {a[0] | std::uint64_t{a[1]} << 32, a[2] | std::uint64_t{a[3]} << 32,
                                 b[0] | std::uint64_t{b[1]} << 32};
  for (int i = 0; i < 3; ++i) std::memcpy(words[i], meetWarp(wholeWarp, mine[i], file, line), sizeof(words[i]));
  const auto half = [&words](int word, unsigned lane, unsigned part) {
    return static_cast<double>(halfToFloat(static_cast<std::uint16_t>(words[word][lane] >> (16 * part))));
  };
  const unsigned lane = threadIndex() % 32, g = lane / 4, t = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + 8 * (i / 2), column = 2 * t + i % 2;
    double sum = static_cast<double>(d[i]);
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned in = k % 8, holder = in / 2, up = k / 8;
      sum += half(static_cast<int>(up), (row % 8) * 4 + holder, row / 8 * 2 + in % 2) *
             half(2, column * 4 + holder, up * 2 + in % 2);
    }
    d[i] = static_cast<float>(sum);
  }
}
inline void multiplyByteTile(std::int32_t (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], NIBBLE_HERE) {
  std::uint64_t words[3][32];
  const std::uint64_t mine[3] = {a[0] | std::uint64_t{a[1]} << 32, a[2] | std::uint64_t{a[3]} << 32,
                                 b[0] | std::uint64_t{b[1]} << 32};
  for (int i = 0; i < 3; ++i) std::memcpy(words[i], meetWarp(wholeWarp, mine[i], file, line), sizeof(words[i]));
  const auto byte = [&words](unsigned word, unsigned lane, unsigned part) {
    return static_cast<std::int32_t>(static_cast<std::int8_t>(words[word][lane] >> (8 * part)));
  };
  const unsigned lane = threadIndex() % 32, g = lane / 4, t = lane % 4;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = g + 8 * (i / 2), column = 2 * t + i % 2;
    for (unsigned k = 0; k < 32; ++k) {
      const unsigned holder = k % 16 / 4, up = k / 16;
      d[i] += byte(up, (row % 8) * 4 + holder, row / 8 * 4 + k % 4) * byte(2, column * 4 + holder, up * 4 + k % 4);
    }
  }
}

inline float halfToNumber(std::uint16_t bits) {
  return halfToFloat(bits);
}
inline std::uint16_t numberToHalf(float value) {
  return floatToHalf(value);
}
// Exact in double (at most 48 bits), then rounded once: to float32 with the last bit sticky, then to half.
inline std::uint16_t fusedHalf(std::uint16_t scale, unsigned code, std::uint16_t zero) {
  const double exact = static_cast<double>(halfToFloat(scale)) * code - static_cast<double>(halfToFloat(zero));
  auto rounded = static_cast<float>(exact);
  const double back = static_cast<double>(rounded);
  if (back != exact && std::isfinite(rounded) && (std::bit_cast<std::uint32_t>(rounded) & 1u) == 0)
    rounded = std::nextafter(rounded, exact > back ? HUGE_VALF : -HUGE_VALF);
  return floatToHalf(rounded);
}
inline std::uint32_t fusedHalves(std::uint32_t scales, unsigned code0, unsigned code1, std::uint32_t zeros) {
  const auto low = fusedHalf(static_cast<std::uint16_t>(scales), code0, static_cast<std::uint16_t>(zeros));
  const auto high = fusedHalf(static_cast<std::uint16_t>(scales >> 16), code1, static_cast<std::uint16_t>(zeros >> 16));
  return low | static_cast<std::uint32_t>(high) << 16;
}
inline float fused(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline std::uint32_t funnel(std::uint32_t low, std::uint32_t high, unsigned shift) {
  return static_cast<std::uint32_t>((std::uint64_t{high} << 32 | low) >> (shift % 32));
}

// As the device's: stream order, errors as values. The kernel runs when the stream does.
template <class... Parameters, class... Arguments>
Outcome launch(void (*kernel)(Parameters...), GridSize grid, unsigned block, std::size_t sharedBytes, Stream stream,
               Arguments... arguments) {
  return runGrid(grid, block, sharedBytes, stream, [=] { kernel(static_cast<Parameters>(arguments)...); });
}

}  // namespace nibble::kernels::emulated
