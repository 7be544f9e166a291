// SPDX-License-Identifier: GPL-3.0-or-later
// The emulator that stands for a GPU must catch what it is there for: a block reduction, right, and three mutants of it
// (missing barrier, one element too many, wrong lane); every check it makes, with thread and place named; and its counters, on
// patterns whose sectors and conflicts are known by hand.
#include "kernels/cuda/device.h"
#include "kernels/emulator/emulator.h"

#include <QtTest>
#include <numeric>
#include <random>
#include <vector>

using namespace nibble::kernels;
using namespace nibble::kernels::emulated;
using nibble::emulator::Counters;
using nibble::emulator::DeviceArray;
using nibble::emulator::EmulatedStream;
using nibble::emulator::emulatorCounters;
using nibble::emulator::emulatorSettings;

namespace {

enum class Mutant { None, MissingBarrier, TailTooLong, WrongLane };

// out[block] = sum of the block's `threads` numbers: shuffles in warps, shared memory between them.
template <Mutant mutant>
NIBBLE_KERNEL blockSum(const std::uint32_t* in, std::size_t count, std::uint32_t* out) {
  const unsigned thread = threadIndex(), lane = thread % 32, warp = thread / 32;
  const std::size_t i = std::size_t{blockX()} * blockSize() + thread;
  const bool inside = mutant == Mutant::TailTooLong ? i <= count : i < count;
  std::uint32_t sum = inside ? load(in + i) : 0;
  for (unsigned step = 16; step > 0; step /= 2) sum += shuffleXor(sum, mutant == Mutant::WrongLane && step == 4 ? 8 : step);
  const Shared<std::uint32_t> sums(0, 32);
  if (lane == 0) sums.set(warp, sum);
  if (mutant != Mutant::MissingBarrier) syncThreads();
  if (thread != 0) return;
  std::uint32_t total = 0;
  for (unsigned w = 0; w < blockSize() / 32; ++w) total += sums.get(w);
  store(out + blockX(), total);
}

struct Sum {
  Outcome outcome;
  std::vector<std::uint32_t> out;
};

template <Mutant mutant>
Sum runSum(std::size_t count, unsigned seed) {
  std::vector<std::uint32_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 1u);
  const DeviceArray<std::uint32_t> in("in", numbers);
  const unsigned blocks = static_cast<unsigned>((count + 127) / 128);
  DeviceArray<std::uint32_t> out("out", blocks);
  EmulatedStream stream;
  emulatorSettings().seed = seed;
  Outcome outcome = launch(blockSum<mutant>, {blocks, 1}, 128, 32 * 4, stream.handle(), in.data(), count, out.data());
  if (outcome.ok()) outcome = stream.wait();
  emulatorSettings().seed = 0;
  return {outcome, out.values()};
}

std::vector<std::uint32_t> sumsOf(std::size_t count) {
  std::vector<std::uint32_t> sums((count + 127) / 128);
  for (std::size_t i = 0; i < count; ++i) sums[i / 128] += static_cast<std::uint32_t>(i + 1);
  return sums;
}

// Runs one block of a lambda-like kernel.
template <class... P, class... A>
Outcome runOnce(void (*kernel)(P...), unsigned threads, std::size_t shared, A... arguments) {
  EmulatedStream stream;
  Outcome outcome = launch(kernel, {1, 1}, threads, shared, stream.handle(), arguments...);
  return outcome.ok() ? stream.wait() : outcome;
}

bool tells(const Outcome& outcome, std::initializer_list<const char*> words) {
  bool all = !outcome.ok();
  for (const char* word : words) all = all && outcome.detail.find(word) != std::string::npos;
  if (!all) qWarning("said: %s", outcome.detail.c_str());
  return all;
}

NIBBLE_KERNEL halfReachBarrier() {
  if (threadIndex() < 32) syncThreads();
}
NIBBLE_KERNEL differentBarriers() {
  if (threadIndex() < 32)
    syncThreads();
  else
    syncThreads();
}
NIBBLE_KERNEL laneMissing() {
  if (threadIndex() != 7) shuffleXor(1u, 1);
}
NIBBLE_KERNEL maskWithoutSelf() {
  meetWarp(0xFFFFFFFEu, 0, "here.cu", 1);
}
NIBBLE_KERNEL readsUnwritten() {
  Shared<std::uint32_t>(0, 8).get(threadIndex() % 8);
}
NIBBLE_KERNEL beyondSharedArray() {
  Shared<std::uint32_t>(0, 8).set(threadIndex(), 1u);
}
NIBBLE_KERNEL overwritesWhatIsRead() {
  const Shared<std::uint32_t> words(0, 64);
  words.set(threadIndex(), threadIndex());
  syncThreads();
  const std::uint32_t next = words.get((threadIndex() + 1) % 64);
  words.set(threadIndex(), next);
}
NIBBLE_KERNEL withinWarp(std::uint32_t* out) {
  const Shared<std::uint32_t> words(0, 64);
  words.set(threadIndex(), threadIndex());
  syncWarp();
  store(out + threadIndex(), words.get(threadIndex() ^ 1));
}
NIBBLE_KERNEL acrossWarps(std::uint32_t* out) {
  const Shared<std::uint32_t> words(0, 64);
  words.set(threadIndex(), threadIndex());
  syncWarp();
  store(out + threadIndex(), words.get(threadIndex() ^ 32));
}
NIBBLE_KERNEL misaligned(const unsigned char* in) {
  load(reinterpret_cast<const std::uint32_t*>(in + 2));
}
NIBBLE_KERNEL writesInput(const std::uint32_t* in) {
  store(const_cast<std::uint32_t*>(in), 1u);
}
template <bool awaits>
NIBBLE_KERNEL copies(const Quad<std::uint32_t>* in, std::uint32_t* out) {
  const Shared<Quad<std::uint32_t>> quads(0, 32);
  quads.copyLater(threadIndex(), in + threadIndex());
  closeCopies();
  if (awaits) awaitCopies<0>();
  syncThreads();
  store(out + threadIndex(), Shared<std::uint32_t>(0, 128).get(4 * threadIndex() + 1));
  if (!awaits) awaitCopies<0>();
}
NIBBLE_KERNEL strided(const float* in, float* out, unsigned stride) {
  store(out + threadIndex(), load(in + threadIndex() * stride));
}
NIBBLE_KERNEL sharedStride(unsigned stride) {
  const Shared<float> numbers(0, 32 * 33);
  numbers.set(threadIndex() * stride, 1.0f);
  syncWarp();
  numbers.get(threadIndex() * stride);
}
NIBBLE_KERNEL quadsOfShared() {
  const Shared<Quad<float>> quads(0, 32);
  quads.set(threadIndex(), Quad<float>{});
}
NIBBLE_KERNEL tile(const std::uint16_t* a, const std::uint16_t* b, float* d) {
  const unsigned lane = threadIndex(), g = lane / 4, t = lane % 4;
  const auto pair = [](std::uint16_t low, std::uint16_t high) { return static_cast<std::uint32_t>(low | high << 16); };
  std::uint32_t fa[4], fb[2];
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint16_t* from = a + (g + 8 * (i % 2)) * 16 + 2 * t + 8 * (i / 2);
    fa[i] = pair(load(from), load(from + 1));
  }
  for (unsigned i = 0; i < 2; ++i) {
    const std::uint16_t* from = b + (2 * t + 8 * i) * 8 + g;
    fb[i] = pair(load(from), load(from + 8));
  }
  float sums[4] = {1, 1, 1, 1};
  multiplyTile(sums, fa, fb);
  for (unsigned i = 0; i < 4; ++i) store(d + (g + 8 * (i / 2)) * 8 + 2 * t + i % 2, sums[i]);
}

}  // namespace

class TestCudaEmulator : public QObject {
  Q_OBJECT

 private slots:
  void cleanup() { emulatorSettings() = {}; }

  void sumsAreRightInEveryOrder() {
    for (const std::size_t count : {1, 127, 128, 129, 1000})
      for (const unsigned seed : {0u, 1u, 2u, 77u}) {
        const Sum sum = runSum<Mutant::None>(count, seed);
        QVERIFY2(sum.outcome.ok(), sum.outcome.detail.c_str());
        QCOMPARE(sum.out, sumsOf(count));
      }
  }

  void mutantWithoutBarrierIsCaught() {
    for (const unsigned seed : {0u, 1u, 2u, 3u})
      QVERIFY(tells(runSum<Mutant::MissingBarrier>(1000, seed).outcome, {"shared byte", "thread", "test_cuda_emulator.cpp:"}));
  }
  void mutantWithTailTooLongIsCaught() {
    const Sum sum = runSum<Mutant::TailTooLong>(1000, 0);
    QVERIFY(tells(sum.outcome, {"out of range", "0 bytes after the end of in", "thread 104 of block (7, 0)"}));
  }
  void mutantWithWrongLaneIsCaught() {
    const Sum sum = runSum<Mutant::WrongLane>(1000, 0);
    QVERIFY(sum.outcome.ok());
    QVERIFY(sum.out != sumsOf(1000));
  }

  void barriersThatNotAllReach() {
    QVERIFY(tells(runOnce(halfReachBarrier, 64, 0),
                  {"deadlock", "thread 0 and 31 more waiting at the barrier", "thread 32 and 31 more ended"}));
    QVERIFY(tells(runOnce(differentBarriers, 64, 0), {"different barriers"}));
  }
  void warpOperationsWithoutALane() {
    QVERIFY(tells(runOnce(laneMissing, 32, 0), {"lane 7", "has ended"}));
    QVERIFY(tells(runOnce(laneMissing, 20, 0), {"which the block does not have"}));
    QVERIFY(tells(runOnce(maskWithoutSelf, 32, 0), {"leaves out its own lane 0", "here.cu:1"}));
  }
  void sharedMemory() {
    QVERIFY(tells(runOnce(readsUnwritten, 8, 32), {"nobody wrote"}));
    QVERIFY(tells(runOnce(beyondSharedArray, 16, 64), {"element 8 of a shared array of 8", "thread 8"}));
    QVERIFY(tells(runOnce(beyondSharedArray, 8, 16), {"shared byte 16 of a block that has 16"}));
    QVERIFY(tells(runOnce(overwritesWhatIsRead, 64, 256), {"race", "was read by"}));
    DeviceArray<std::uint32_t> out("out", 64);
    QVERIFY(runOnce(withinWarp, 64, 256, out.data()).ok());
    QCOMPARE(out.values()[4], 5u);
    QVERIFY(!runOnce(acrossWarps, 64, 256, out.data()).ok());
  }
  void globalMemory() {
    const DeviceArray<std::uint32_t> in("in", std::vector<std::uint32_t>{1, 2, 3});
    QVERIFY(tells(runOnce(misaligned, 1, 0, reinterpret_cast<const unsigned char*>(in.data())), {"misaligned", "4 bytes"}));
    QVERIFY(tells(runOnce(writesInput, 1, 0, in.data()), {"writes to input", "of in"}));
  }
  void asynchronousCopies() {
    std::vector<Quad<std::uint32_t>> quads(32);
    for (std::uint32_t i = 0; i < 32; ++i) quads[i] = {{4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3}};
    const DeviceArray<Quad<std::uint32_t>> in("in", quads);
    DeviceArray<std::uint32_t> out("out", 32);
    QVERIFY(runOnce(copies<true>, 32, 512, in.data(), out.data()).ok());
    QCOMPARE(out.values()[9], 37u);
    QVERIFY(tells(runOnce(copies<false>, 32, 512, in.data(), out.data()), {"nobody wrote"}));
  }
  void refusedLaunches() {
    QVERIFY(launch(halfReachBarrier, {1, 1}, 32, 0, Stream{nullptr}).fault == Fault::BadCall);
    EmulatedStream stream;
    QVERIFY(launch(halfReachBarrier, {1, 1}, 2048, 0, stream.handle()).fault == Fault::BadCall);
    QVERIFY(launch(halfReachBarrier, {1, 1}, 32, 300 << 10, stream.handle()).fault == Fault::BadCall);
  }
  void workWaitsForItsStream() {
    DeviceArray<std::uint32_t> out("out", 64);
    out.data()[4] = 0;
    EmulatedStream stream;
    QVERIFY(launch(withinWarp, {1, 1}, 64, 256, stream.handle(), out.data()).ok());
    QCOMPARE(out.values()[4], 0u);
    QVERIFY(stream.wait().ok());
    QCOMPARE(out.values()[4], 5u);
  }

  void sectorsAreCounted() {
    emulatorSettings().counting = true;
    const DeviceArray<float> in("in", std::vector<float>(512));
    DeviceArray<float> out("out", 64);
    for (const auto& [stride, sectors] : {std::pair{1u, 8u}, {2u, 16u}, {8u, 64u}, {0u, 2u}}) {
      emulatorCounters() = {};
      QVERIFY(runOnce(strided, 64, 0, in.data(), out.data(), stride).ok());
      QCOMPARE(emulatorCounters().read["in"].sectors, std::uint64_t{sectors});
      QCOMPARE(emulatorCounters().read["in"].accesses, std::uint64_t{2});
      QCOMPARE(emulatorCounters().written["out"].moved(), std::uint64_t{256});
    }
    const DeviceArray<float> shifted("in", std::vector<float>(64), 3);
    emulatorCounters() = {};
    QVERIFY(runOnce(strided, 64, 0, shifted.data(), out.data(), 1u).ok());
    QCOMPARE(emulatorCounters().read["in"].sectors, std::uint64_t{10});  // each warp straddles a fifth sector
  }
  void bankConflictsAreCounted() {
    emulatorSettings().counting = true;
    for (const auto& [stride, conflicts] : {std::pair{1u, 0u}, {2u, 2u}, {32u, 62u}, {33u, 0u}}) {
      emulatorCounters() = {};
      QVERIFY(runOnce(sharedStride, 32, 33 * 32 * 4, stride).ok());
      QCOMPARE(emulatorCounters().bankConflicts, std::uint64_t{conflicts});
    }
    emulatorCounters() = {};
    QVERIFY(runOnce(quadsOfShared, 32, 512).ok());
    QCOMPARE(emulatorCounters().sharedWavefronts, std::uint64_t{4});
    QCOMPARE(emulatorCounters().bankConflicts, std::uint64_t{0});
  }

  void tileMultiply() {
    std::mt19937 random(1);
    std::vector<std::uint16_t> a(256), b(128);
    for (auto* side : {&a, &b})
      for (auto& number : *side) number = floatToHalf(static_cast<float>(static_cast<int>(random() % 65) - 32) / 8.0f);
    const DeviceArray<std::uint16_t> da("a", a), db("b", b);
    DeviceArray<float> d("d", 128);
    QVERIFY(runOnce(tile, 32, 0, da.data(), db.data(), d.data()).ok());
    for (unsigned row = 0; row < 16; ++row)
      for (unsigned column = 0; column < 8; ++column) {
        float sum = 1;
        for (unsigned k = 0; k < 16; ++k) sum += halfToFloat(a[row * 16 + k]) * halfToFloat(b[k * 8 + column]);
        QCOMPARE(d.values()[row * 8 + column], sum);  // exact: small multiples of 1/64
      }
  }
  void fusedHalfRoundsOnce() {
    // 3 * (1 + 2^-10) - 2^-13 = 3.0028076: between the halves 3.00195 and 3.00390, past the middle only without the
    // subtraction.
    QCOMPARE(fusedHalf(0x3C01, 3, 0x0800), floatToHalf(3.0028076f));
    QCOMPARE(fusedHalf(0x3C00, 255, 0x5BF8), floatToHalf(0.0f));
    // 2048 + 1 is a tie to even; with any more below it rounds up, though float32 would lose that.
    QCOMPARE(fusedHalf(0x6400, 2, 0xBC00), std::uint16_t{0x6800});
    QCOMPARE(fusedHalf(0x7BFF, 255, 0), std::uint16_t{0x7C00});
  }
};

QTEST_APPLESS_MAIN(TestCudaEmulator)
#include "test_cuda_emulator.moc"
