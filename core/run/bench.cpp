// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/bench.h"

#include "core/base/text.h"
#include "core/run/bench_rows.h"
#include "kernels/backend.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <new>
#include <regex>

namespace nibble {
namespace {

constexpr std::size_t pieceWeights = 64 * 1024;

double secondsOf(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Keeps a result alive without storing it anywhere that matters.
std::atomic<std::uint64_t> sink{0};

// Plain reads, as a compiler vectorizes them for the baseline.
std::uint64_t xorWords(const float* values, std::size_t count) {
  const auto* words = reinterpret_cast<const std::uint32_t*>(values);
  std::uint32_t result = 0;
  for (std::size_t i = 0; i < count; ++i) result ^= words[i];
  return result;
}

std::uint64_t largestWord(const float* values, std::size_t count) {
  const auto* words = reinterpret_cast<const std::int32_t*>(values);
  std::int32_t result = 0;
  for (std::size_t i = 0; i < count; ++i) result |= words[i];
  return static_cast<std::uint64_t>(result);
}

using ReadLoop = std::uint64_t (*)(const float*, std::size_t);
constexpr ReadLoop plainLoops[] = {kernels::simd::readAll, xorWords, largestWord};

double secondsToRead(const kernels::Backend& backend, std::span<const float> weights, ReadLoop loop) {
  const auto body = [&](std::size_t begin, std::size_t end) {
    sink.fetch_xor(loop(weights.data() + begin, end - begin), std::memory_order_relaxed);
  };
  return secondsOf([&] { backend.parallelFor(weights.size(), 16 * pieceWeights, body); });
}

Result<std::vector<benchmarks::Row>> chosenRows(const std::string& filter, benchmarks::Buffers& buffers,
                                                const Context& context) try {
  const std::regex pattern(filter, std::regex::ECMAScript);
  std::vector<benchmarks::Row> chosen;
  std::vector<std::string> names;
  for (benchmarks::Row& row : benchmarks::allRows(buffers, context)) {
    names.push_back(row.name);
    if (std::regex_search(row.name, pattern)) chosen.push_back(std::move(row));
  }
  if (chosen.empty()) return fail("no benchmark is named like '" + filter + "'; there are: " + text::join(names, ", "));
  return chosen;
} catch (const std::regex_error& error) {
  return fail("--filter '" + filter + "' is not a regular expression: " + error.what());
}

struct Best {
  double read = HUGE_VAL, plain = HUGE_VAL;
  std::vector<double> rows, units;  // units: of rows that bring their own
};

// Cold: what a row reads itself may still lie in the caches from the row before, which the large read clears.
Status measure(const std::function<Status()>& work, const std::string& name, bool cold, std::span<const float> weights,
               const Context& context, double& best) {
  if (cold) (void)secondsToRead(*context.backend, weights, plainLoops[0]);
  Status status;
  const double seconds = secondsOf([&] { status = work(); });
  if (!status) return fail(status.error().within(name));
  best = std::min(best, seconds);
  return {};
}

Status repeatOnce(const std::vector<benchmarks::Row>& rows, std::span<const float> weights, const Context& context,
                  Best& best) {
  for (const ReadLoop loop : plainLoops) {
    const double seconds = secondsToRead(*context.backend, weights, loop);
    best.plain = std::min(best.plain, seconds);
    if (loop == plainLoops[0]) best.read = std::min(best.read, seconds);
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (context.stopRequested()) return cancelled();
    const benchmarks::Row& row = rows[i];
    const bool cold = row.read != nullptr;
    if (cold) NIBBLE_TRY(measure(row.read, row.name, cold, weights, context, best.units[i]));
    NIBBLE_TRY(measure(row.work, row.name, cold, weights, context, best.rows[i]));
    context.addDone(1);
  }
  return {};
}

}  // namespace

Result<BenchReport> bench(const BenchOptions& options, const Context& context) try {
  benchmarks::Buffers buffers(options.weights, *context.backend);
  auto rows = chosenRows(options.filter, buffers, context);
  if (!rows) return fail(rows.error());
  context.addTotal(rows->size() * static_cast<std::uint64_t>(options.repetitions));
  Best best;
  best.rows.assign(rows->size(), HUGE_VAL);
  best.units = best.rows;
  for (int i = 0; i < options.repetitions; ++i) NIBBLE_TRY(repeatOnce(*rows, buffers.weights(), context, best));

  BenchReport report;
  report.backend = context.backend->description();
  const double bytes = static_cast<double>(options.weights) * sizeof(float);
  report.gbPerSecond = bytes / best.read * 1e-9;
  report.bestPlainGbPerSecond = bytes / best.plain * 1e-9;
  for (std::size_t i = 0; i < rows->size(); ++i) {
    const benchmarks::Row& row = (*rows)[i];
    const double share = static_cast<double>(row.weights * sizeof(float)) / bytes;
    const double unit = row.read != nullptr ? best.units[i] : best.read * share;
    report.rows.push_back({row.name, row.weights, best.rows[i], best.rows[i] / unit,
                           static_cast<double>(row.weights) / best.rows[i], row.goal});
  }
  return report;
} catch (const std::bad_alloc&) {
  return fail("not enough memory for a benchmark of " + text::number(options.weights) + " weights");
}

std::vector<std::string> benchRowNames() {
  benchmarks::Buffers none(0, kernels::defaultBackend());
  std::vector<std::string> names;
  for (const benchmarks::Row& row : benchmarks::allRows(none, Context{})) names.push_back(row.name);
  return names;
}

}  // namespace nibble
