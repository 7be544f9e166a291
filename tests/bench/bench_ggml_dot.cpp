// SPDX-License-Identifier: GPL-3.0-or-later
// One token against packed weights, 8-bit activations: here against ggml's vec_dot on the same q4_0 and q8_0 weights, by turns in
// one run, the same threads for both, activations quantized by each in its own time:
//   bench_ggml_dot PATH-OF-libggml-cpu.so [repetitions] [threads]
// Prints the least and the median time of both, their ratios, and how far the results are apart, which is what rounding x to 8
// bits does; status 1 where that is more than a hundredth. The library: a build of ggml for this machine (its default).
#include "core/layers/factored_linear.h"
#include "core/run/transformed.h"
#include "core/tensor/tensor.h"
#include "kernels/backend.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace {

using namespace nibble;

// ggml_type_traits_cpu of ggml-cpu.h.
struct Traits {
  void (*fromFloat)(const float* x, void* y, std::int64_t count);
  void (*vecDot)(int count, float* sum, std::size_t, const void* weights, std::size_t, const void* x, std::size_t, int rows);
  int activations;  // ggml_type that vecDot takes
  std::int64_t rows;
};
using TraitsOf = const Traits* (*)(int type);

constexpr std::uint64_t outputs = 11008, inputs = 4096;
constexpr int typeQ8_0 = 8;

struct Type {
  const char* scheme;
  kernels::BlockType ours;
  int theirs;  // ggml_type
};
constexpr Type types[] = {{"q4_0", kernels::BlockType::Q4_0, 2}, {"q8_0", kernels::BlockType::Q8_0, typeQ8_0}};

template <class Work>
double secondsOf(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

int refuse(const std::string& message) {
  std::fprintf(stderr, "%s\n", message.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  void* library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : nullptr;
  const auto traitsOf = library != nullptr ? reinterpret_cast<TraitsOf>(dlsym(library, "ggml_get_type_traits_cpu")) : nullptr;
  const auto init = library != nullptr ? reinterpret_cast<void (*)()>(dlsym(library, "ggml_cpu_init")) : nullptr;
  if (traitsOf == nullptr || init == nullptr)
    return refuse(std::string("usage: bench_ggml_dot PATH-OF-libggml-cpu.so [repetitions] [threads]\n") + (argc > 1 ? dlerror() : ""));
  init();
  const int repetitions = argc > 2 ? std::max(1, std::atoi(argv[2])) : 30;
  kernels::setThreadCount(argc > 3 ? std::atoi(argv[3]) : 0);
  const Context context;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> weights(outputs * inputs), x(inputs);
  for (float& value : weights) value = 0.02f * normal(random);
  for (float& value : x) value = normal(random);
  const Tensor tensor = Tensor::fromFloats("w", {outputs, inputs}, weights);
  std::printf("%s, %d threads, %llu x %llu, one token; least (median) of %d\n", std::string(context.backend->description()).c_str(),
              kernels::threadCount(), static_cast<unsigned long long>(outputs), static_cast<unsigned long long>(inputs), repetitions);
  bool close = true;
  for (const Type& type : types) {
    const auto choice = Choice::parse(type.scheme);
    const auto quantized = quantizeTransformed(tensor, *choice, context);
    if (!quantized) return refuse(quantized.error().message);
    const auto layer = FactoredLinear::make("layer", *quantized, {}, context);
    if (!layer) return refuse(layer.error().message);
    const kernels::BlockShape shape = kernels::blockShape(type.ours);
    const std::size_t rowBytes = inputs / shape.weights * shape.bytes;
    std::vector<std::uint8_t> blocks(outputs * rowBytes);
    context.backend->encodeBlocks(type.ours, weights.data(), outputs, inputs, nullptr, blocks.data());
    const Traits &traits = *traitsOf(type.theirs), &ofActivations = *traitsOf(traits.activations);
    if (traits.activations != typeQ8_0) return refuse("this ggml multiplies by other activations than q8_0");
    std::vector<std::byte> activations(inputs / 32 * 34);
    std::vector<float> theirs(outputs), ours;
    std::vector<double> theirTimes, ourTimes;
    const auto rows = [&](std::size_t begin, std::size_t end) {
      for (std::size_t row = begin; row < end; ++row)
        traits.vecDot(static_cast<int>(inputs), &theirs[row], 0, blocks.data() + row * rowBytes, 0, activations.data(), 0, 1);
    };
    for (int i = 0; i < repetitions; ++i) {
      theirTimes.push_back(secondsOf([&] {
        ofActivations.fromFloat(x.data(), activations.data(), static_cast<std::int64_t>(inputs));
        context.backend->parallelFor(outputs, 64, rows);
      }));
      ourTimes.push_back(secondsOf([&] { ours = *layer->forward(x, Activations::Bytes, context); }));
    }
    double apart = 0, size = 0;
    for (std::size_t row = 0; row < outputs; ++row) {
      apart += std::pow(static_cast<double>(ours[row] - theirs[row]), 2);
      size += std::pow(static_cast<double>(theirs[row]), 2);
    }
    const double least = *std::min_element(ourTimes.begin(), ourTimes.end()), middle = median(ourTimes);
    const double theirLeast = *std::min_element(theirTimes.begin(), theirTimes.end()), theirMiddle = median(theirTimes);
    std::printf("%s ggml %7.3f (%7.3f) ms, here %7.3f (%7.3f) ms: %5.2f x (%5.2f x), apart by %.1e of the result\n", type.scheme, theirLeast * 1e3,
                theirMiddle * 1e3, least * 1e3, middle * 1e3, theirLeast / least, theirMiddle / middle, std::sqrt(apart / size));
    close = close && apart <= 1e-4 * size;
  }
  return close ? 0 : 1;
}
