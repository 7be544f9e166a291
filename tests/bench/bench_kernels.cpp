// SPDX-License-Identifier: GPL-3.0-or-later
// Single kernels on arrays in the first, second and third cache and in memory, host and simd: elements per second.
#include "kernels/backend.h"
#include "kernels/math/half_quadratic.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

using namespace nibble::kernels;

namespace {

struct Data {
  static constexpr std::size_t group = 128;
  std::vector<float> weights, decoded, low, high, scale;
  std::vector<std::uint8_t> codes;
  explicit Data(std::size_t count)
      : weights(count), decoded(count), low(count / group), high(count / group), scale(count / group, 150.0f), codes(count, 7) {
    for (std::size_t i = 0; i < count; ++i) weights[i] = std::sin(static_cast<float>(i * 7919 % 100003)) * 0.05f;
    decoded = weights;
    for (float& value : decoded) value *= 1.01f;
  }
  [[nodiscard]] GroupView view() const { return GroupView::contiguous(weights.data(), weights.size() / group, group); }
};

using Work = void (*)(const Backend&, Data&);

void ranges(const Backend& backend, Data& data) {
  backend.ranges(data.view(), data.low.data(), data.high.data());
}
void encode(const Backend& backend, Data& data) {
  backend.encodeAffine(data.view(), CodeRule::MultiplyAddRound, data.scale.data(), data.low.data(), 15, data.codes.data());
}
void encodeByDivision(const Backend& backend, Data& data) {
  backend.encodeAffine(data.view(), CodeRule::SubtractDivideRound, data.scale.data(), data.low.data(), 15, data.codes.data());
}
void decode(const Backend& backend, Data& data) {
  backend.decodeScaleMinusZero(data.codes.data(), data.low.size(), Data::group, data.scale.data(), data.low.data(),
                               data.decoded.data());
}
void sums(const Backend& backend, Data& data) {
  benchmark::DoNotOptimize(backend.errorSums(data.weights.data(), data.decoded.data(), data.weights.size()));
}
void histogram(const Backend& backend, Data& data) {
  std::vector<std::uint64_t> counts(512);
  backend.errorHistogram(data.weights.data(), data.decoded.data(), data.weights.size(), -0.001f, 0.001f, counts);
  benchmark::DoNotOptimize(counts.data());
}
void halfQuadratic(const Backend& backend, Data& data) {
  std::vector<double> errors((data.low.size() / halfQuadraticChunk + 1) * 20);
  std::vector<int> rest(data.low.size());
  std::vector<float> zero(data.low.size(), 7.5f);
  backend.halfQuadratic(data.view(), {}, data.scale.data(), zero.data(), errors.data(), rest.data());
  benchmark::DoNotOptimize(zero.data());
}

// Ranges, codes and error sums, sixteen groups at a time.
void quantizeMeasured(const Backend& backend, Data& data) {
  ErrorSums sums;
  for (std::size_t g = 0; g < data.low.size(); g += 16) {
    const float* weights = data.weights.data() + g * Data::group;
    std::uint8_t* codes = data.codes.data() + g * Data::group;
    const GroupView view = GroupView::contiguous(weights, std::min<std::size_t>(16, data.low.size() - g), Data::group);
    backend.ranges(view, &data.low[g], &data.high[g]);
    for (std::size_t i = g; i < g + view.groups; ++i) data.scale[i] = (data.high[i] - data.low[i]) / 15;
    sums += backend.encodeAffineMeasured(view, CodeRule::SubtractDivideRound, AffineValue::ScalePlusBias, &data.scale[g],
                                         &data.low[g], 15, &data.scale[g], codes, {});
  }
  benchmark::DoNotOptimize(sums);
}
void read(const Backend& backend, Data& data) {
  benchmark::DoNotOptimize(backend.firstNonFinite(data.weights.data(), data.weights.size()));
}

void run(benchmark::State& state, const Backend* backend, Work work) {
  Data data(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) work(*backend, data);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

}  // namespace

int main(int argc, char** argv) {
  setThreadCount(1);
  const std::pair<const char*, Work> kernels[] = {{"ranges", ranges},
                                                  {"encode", encode},
                                                  {"encodeByDivision", encodeByDivision},
                                                  {"decode", decode},
                                                  {"errorSums", sums},
                                                  {"errorHistogram", histogram},
                                                  {"halfQuadratic", halfQuadratic},
                                                  {"quantizeMeasured", quantizeMeasured},
                                                  {"read", read}};
  for (const auto& [name, work] : kernels)
    for (const Backend* backend : allBackends())
      if (backend->unusableReason().empty())
        benchmark::RegisterBenchmark((std::string(name) + "/" + std::string(backend->name())).c_str(), run, backend, work)
            ->Arg(1 << 12)
            ->Arg(1 << 15)
            ->Arg(1 << 20)
            ->Arg(1 << 24);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
