// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/bench_rows.h"

#include "core/io/mapped_file.h"
#include "kernels/backend.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>

namespace nibble::benchmarks {
namespace {

using kernels::CodeRule;
using kernels::GroupView;

constexpr std::size_t group = 128, hqqGroup = 64, levels = 16, bins = 512;
constexpr std::size_t stripWeights = 64 * 1024;

// A sum of four uniform numbers out of a counter: near enough to a normal distribution, and computed anywhere independently.
float weightAt(std::uint64_t index) {
  std::uint64_t x = (index + 1) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  float sum = -2;
  for (int i = 0; i < 4; ++i) sum += static_cast<float>((x >> (16 * i)) & 0xFFFF) * 0x1p-16f;
  return sum * 0.0346f;  // standard deviation 0.02
}

// Sixteen groups: ranges, codes and statistics run over them while they lie in the first-level cache.
constexpr std::size_t blockGroups = 16;

struct Block {
  std::span<const float> weights;
  std::uint8_t* codes;
  float scale[blockGroups], low[blockGroups];
  [[nodiscard]] std::size_t groups() const { return weights.size() / group; }
};

GroupView viewOf(const Block& block) {
  return GroupView::contiguous(block.weights.data(), block.groups(), group);
}

// Minimum and step of the groups of a block.
void findParameters(const kernels::Backend& backend, Block& block) {
  backend.ranges(viewOf(block), block.low, block.scale);
  for (std::size_t g = 0; g < block.groups(); ++g)
    block.scale[g] = kernels::minmaxScale({block.low[g], block.scale[g]}, levels - 1);
}

// Runs visit(state, block) over blocks, and merge(state) when a strip of them ends.
template <class State, class Visit, class Merge>
Status overBlocks(const Buffers& buffers, const Context& context, const Visit& visit, const Merge& merge) {
  const auto body = [&](std::size_t begin, std::size_t end) {
    State state;
    end = begin + (end - begin) / group * group;
    for (std::size_t at = begin; at < end; at += blockGroups * group) {
      Block block{buffers.weights().subspan(at, std::min(blockGroups * group, end - at)), buffers.codes().data() + at, {}, {}};
      findParameters(*context.backend, block);
      visit(state, block);
    }
    merge(state);
  };
  context.backend->parallelFor(buffers.weights().size(), stripWeights, body);
  return {};
}

struct Nothing {};

Status quantizeAlone(const Buffers& buffers, const Context& context) {
  const auto encode = [&](Nothing&, const Block& block) {
    context.backend->encodeAffine(viewOf(block), CodeRule::SubtractDivideRound, block.scale, block.low, levels - 1,
                                  block.codes);
  };
  return overBlocks<Nothing>(buffers, context, encode, [](const Nothing&) {});
}

struct Statistics {
  kernels::ErrorSums sums;
  std::vector<std::uint64_t> counts = std::vector<std::uint64_t>(bins, 0);
};

Status quantizeWithStatistics(const Buffers& buffers, const Context& context, bool withHistogram) {
  std::mutex mutex;
  Statistics total;
  const auto visit = [&](Statistics& statistics, const Block& block) {
    const kernels::ErrorBins counted{-0.01f, 0.01f, withHistogram ? std::span(statistics.counts) : std::span<std::uint64_t>()};
    statistics.sums +=
        context.backend->encodeAffineMeasured(viewOf(block), CodeRule::SubtractDivideRound, kernels::AffineValue::ScalePlusBias,
                                              block.scale, block.low, levels - 1, block.scale, block.codes, counted);
  };
  const auto merge = [&](const Statistics& statistics) {
    const std::lock_guard lock(mutex);
    total.sums += statistics.sums;
    for (std::size_t i = 0; i < bins; ++i) total.counts[i] += statistics.counts[i];
  };
  NIBBLE_TRY(overBlocks<Statistics>(buffers, context, visit, merge));
  return total.sums.count == 0 ? fail("nothing was counted") : Status();
}

Status solveHalfQuadratic(const Buffers& buffers, const Context& context) {
  const std::size_t groups = buffers.weights().size() / hqqGroup;
  const kernels::HalfQuadraticSettings settings;
  std::vector<float> low(groups), high(groups), inverse(groups);
  std::vector<double> errors((groups / kernels::halfQuadraticChunk + 1) * static_cast<std::size_t>(settings.iterations));
  std::vector<int> rest(groups);
  const GroupView view = GroupView::contiguous(buffers.weights().data(), groups, hqqGroup);
  context.backend->ranges(view, low.data(), high.data());
  for (std::size_t g = 0; g < groups; ++g) kernels::halfQuadraticStart(low[g], high[g], settings.maxCode, &inverse[g], &low[g]);
  context.backend->halfQuadratic(view, settings, inverse.data(), low.data(), errors.data(), rest.data());
  context.backend->encodeAffine(view, CodeRule::MultiplyAddRound, inverse.data(), low.data(), levels - 1,
                                buffers.codes().data());
  return {};
}

Status dequantize(const Buffers& buffers, const Context& context, const std::vector<float>& scale) {
  const std::size_t groups = buffers.codes().size() / group;
  context.backend->decodeScaleMinusZero(buffers.codes().data(), groups, group, scale.data(), scale.data(),
                                        buffers.decoded().data());
  return {};
}

// Reads every page of memory that was never touched.
Status touch(const kernels::Backend& backend, std::span<const float> values) {
  std::atomic<std::uint64_t> sink{0};
  const auto body = [&](std::size_t begin, std::size_t end) {
    sink.fetch_xor(kernels::simd::readAll(values.data() + begin, end - begin), std::memory_order_relaxed);
  };
  backend.parallelFor(values.size(), 16 * stripWeights, body);
  return {};
}

Status touchHeap(const kernels::Backend& backend, std::size_t count) {
  const std::unique_ptr<float[]> values(new float[count]);
  const auto body = [&](std::size_t begin, std::size_t end) { std::fill(values.get() + begin, values.get() + end, 1.0f); };
  backend.parallelFor(count, 16 * stripWeights, body);
  return touch(backend, {values.get(), count});
}

// A file of weights that goes away with its last user.
class TemporaryFile {
 public:
  static Result<std::shared_ptr<const TemporaryFile>> write(std::span<const float> weights) {
    auto file = std::make_shared<TemporaryFile>();
    std::error_code error;
    const auto folder = std::filesystem::temp_directory_path(error);
    if (error) return fail("no folder for temporary files: " + error.message());
    file->m_path = folder / ("nibblescope-bench-" + std::to_string(reinterpret_cast<std::uintptr_t>(file.get())));
    std::ofstream stream(file->m_path, std::ios::binary);
    stream.write(reinterpret_cast<const char*>(weights.data()), static_cast<std::streamsize>(weights.size_bytes()));
    if (!stream.flush()) return fail(file->m_path.string() + ": cannot write the benchmark's file");
    return std::shared_ptr<const TemporaryFile>(std::move(file));
  }
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(m_path, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return m_path; }

 private:
  std::filesystem::path m_path;
};

Status touchMap(const kernels::Backend& backend, const std::filesystem::path& path) {
  const auto map = MappedFile::open(path);
  if (!map) return fail(map.error());
  const auto bytes = (*map)->bytes();
  NIBBLE_TRY(touch(backend, {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)}));
  return (*map)->intact();
}

void addTouchRows(std::vector<Row>& rows, Buffers& buffers, const Context& context) {
  const std::size_t count = buffers.weights().size() / 2;
  rows.push_back({"heap, first touch", count, 0, [&context, count] { return touchHeap(*context.backend, count); }});
  auto file = std::make_shared<std::shared_ptr<const TemporaryFile>>();
  rows.push_back({"mapped file, first touch", count, 0, [&buffers, &context, count, file]() -> Status {
                    if (*file == nullptr) {  // written once; not timed, because the best of several repetitions counts
                      auto written = TemporaryFile::write(buffers.weights().first(count));
                      if (!written) return fail(written.error());
                      *file = *std::move(written);
                    }
                    return touchMap(*context.backend, (*file)->path());
                  }});
}

}  // namespace

Buffers::Buffers(std::size_t weights, const kernels::Backend& backend)
    : m_weights(std::make_shared<HugeArray<float>>(weights)), m_codes(weights), m_decoded(weights) {
  const auto body = [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) m_weights->values()[i] = weightAt(i);
    std::fill(m_codes.values().begin() + static_cast<std::ptrdiff_t>(begin),
              m_codes.values().begin() + static_cast<std::ptrdiff_t>(end), std::uint8_t{7});
    std::fill(m_decoded.values().begin() + static_cast<std::ptrdiff_t>(begin),
              m_decoded.values().begin() + static_cast<std::ptrdiff_t>(end), 0.0f);
  };
  backend.parallelFor(weights, 16 * stripWeights, body);
}

std::vector<Row> allRows(Buffers& buffers, const Context& context) {
  const std::uint64_t count = buffers.weights().size();
  const std::vector<float> scale(count / group, 0.01f);
  std::vector<Row> rows{
      {"g128 asymmetric 4 bit: ranges, codes", count, 0, [&] { return quantizeAlone(buffers, context); }},
      {"g128 asymmetric 4 bit: ranges, codes, error sums", count, 3,
       [&] { return quantizeWithStatistics(buffers, context, false); }},
      {"g128 asymmetric 4 bit: ranges, codes, error sums, 512-bin histogram", count, 8,
       [&] { return quantizeWithStatistics(buffers, context, true); }},
      {"hqq g64 4 bit, 20 iterations", count, 0, [&] { return solveHalfQuadratic(buffers, context); }},
      {"dequantize 4 bit to float32", count, 0, [&, scale] { return dequantize(buffers, context, scale); }},
  };
  addSchemeRows(rows, buffers, context);
  addTouchRows(rows, buffers, context);
  addTrainRows(rows, buffers, context);
  addLinearRows(rows, buffers, context);
  return rows;
}

}  // namespace nibble::benchmarks
