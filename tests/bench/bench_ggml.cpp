// SPDX-License-Identifier: GPL-3.0-or-later
// Encoding GGUF blocks against ggml itself, one thread each, interleaved in one run, on the same weights:
//   bench_ggml PATH-OF-libggml-base.so [repetitions] [type] [instruction set, as `AVX2`]
// Prints the least and the median CPU time of both, their ratios, and whether the bytes are equal; status 1 where they are not.
// The library: any build of ggml, for example out of a llama-cpp-python wheel; for the figures of the README its default build
// (no -march).
#include "kernels/backend.h"
#include "kernels/simd/simd_loops.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <vector>

namespace {

using namespace nibble::kernels;

// ggml_quantize_chunk: type, weights, out, first weight, rows, columns, importance (or null); the number of bytes.
using QuantizeChunk = std::size_t (*)(int, const float*, void*, std::int64_t, std::int64_t, std::int64_t, const float*);

struct Pair {
  const char* name;
  BlockType ours;
  int theirs;  // ggml_type, which GGUF files hold too
};
using enum BlockType;
constexpr Pair pairs[] = {{"q4_0", Q4_0, 2},    {"q4_1", Q4_1, 3},   {"q5_0", Q5_0, 6},      {"q5_1", Q5_1, 7},
                          {"q8_0", Q8_0, 8},    {"q2_k", Q2_K, 10},  {"q3_k", Q3_K, 11},     {"q4_k", Q4_K, 12},
                          {"q5_k", Q5_K, 13},   {"q6_k", Q6_K, 14},  {"iq4_nl", IQ4_NL, 20}, {"iq4_xs", IQ4_XS, 23},
                          {"tq1_0", TQ1_0, 34}, {"tq2_0", TQ2_0, 35}};

constexpr std::size_t rows = 256, columns = 4096;

// CPU time of this thread: what others do on the machine counts less.
double now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class Work>
double secondsOf(const Work& work) {
  const double start = now();
  work();
  return now() - start;
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

bool compare(const Pair& pair, QuantizeChunk quantize, const std::vector<float>& weights, int repetitions) {
  const BlockShape shape = blockShape(pair.ours);
  const std::size_t bytes = rows * columns / shape.weights * shape.bytes;
  std::vector<std::uint8_t> ours(bytes), theirs(bytes);
  std::vector<double> oursTimes, theirTimes;
  for (int i = 0; i < repetitions; ++i) {
    theirTimes.push_back(secondsOf([&] {
      quantize(pair.theirs, weights.data(), theirs.data(), 0, static_cast<std::int64_t>(rows),
               static_cast<std::int64_t>(columns), nullptr);
    }));
    oursTimes.push_back(
        secondsOf([&] { defaultBackend().encodeBlocks(pair.ours, weights.data(), rows, columns, nullptr, ours.data()); }));
  }
  const double least = *std::min_element(oursTimes.begin(), oursTimes.end()), middle = median(oursTimes);
  const double theirLeast = *std::min_element(theirTimes.begin(), theirTimes.end()), theirMiddle = median(theirTimes);
  const bool equal = std::memcmp(ours.data(), theirs.data(), bytes) == 0;
  std::printf("%-7s ggml %8.3f (%8.3f) ms, here %8.3f (%8.3f) ms: %6.2f x (%6.2f x) %s\n", pair.name, theirLeast * 1e3,
              theirMiddle * 1e3, least * 1e3, middle * 1e3, theirLeast / least, theirMiddle / middle,
              equal ? "bytes equal" : "BYTES DIFFER");
  return equal;
}

void useInstructionSet(std::string_view name) {
  for (const std::int64_t target : simd::targets()) {
    simd::useTarget(target);
    if (simd::targetName() == name) return;
  }
  simd::useTarget(0);
  std::printf("no such instruction set: %s\n", std::string(name).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  void* library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
  const auto quantize = library != nullptr ? reinterpret_cast<QuantizeChunk>(dlsym(library, "ggml_quantize_chunk")) : nullptr;
  if (quantize == nullptr) {
    std::fprintf(stderr, "usage: bench_ggml PATH-OF-libggml-base.so [repetitions] [type] [instruction set]\n%s\n",
                 argc > 1 ? dlerror() : "");
    return 2;
  }
  const int repetitions = argc > 2 ? std::max(1, std::atoi(argv[2])) : 15;
  const std::string_view type = argc > 3 ? argv[3] : "";
  if (argc > 4) useInstructionSet(argv[4]);
  setThreadCount(1);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> weights(rows * columns);
  for (float& weight : weights) weight = normal(random);
  std::printf("%s, 1 M weights; least (median) of %d\n", std::string(defaultBackend().description()).c_str(), repetitions);
  bool equal = true;
  for (const Pair& pair : pairs)
    if (type.empty() || type == "all" || type == pair.name) equal = compare(pair, quantize, weights, repetitions) && equal;
  return equal ? 0 : 1;
}
