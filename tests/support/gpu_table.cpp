// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/gpu_table.h"

#include "kernels/cuda/columns.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/half_quadratic.h"
#include "kernels/cuda/integer_product.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/math/minifloat.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <random>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

using Launch = std::function<Outcome(Stream stream, std::size_t turn)>;

constexpr std::size_t group = 128;

#define TABLE_TRY(call) \
  if (Outcome outcome = (call); !outcome.ok()) return outcome

struct Goals {
  double share = 0, ratio = 0;
};

class Table {
 public:
  Table(DeviceRuntime& runtime, const DeviceFacts& facts, const TableSettings& settings, TimingTable* table)
      : m_runtime(runtime), m_facts(facts), m_settings(settings), m_table(*table) {
    std::mt19937 random(11);
    m_random.resize(std::min<std::size_t>(std::size_t{1} << 22, settings.side * settings.side / 4));
    for (std::uint32_t& word : m_random) word = static_cast<std::uint32_t>(random());
  }

  Outcome fill() {
    TABLE_TRY(m_stream.make(m_runtime));
    TABLE_TRY(m_begin.make(m_runtime));
    TABLE_TRY(m_end.make(m_runtime));
    TABLE_TRY(m_pinned.make(m_runtime, pinnedBytes));
    if (!m_runtime.openGemm(&m_gemm).ok()) m_gemm.reset();
    TABLE_TRY(copies());
    for (const std::size_t rows : {1, 4, 16, 64}) TABLE_TRY(libraryProduct(rows));
    const std::pair<unsigned, Goals> widths[] = {{2, {0, 4.5}}, {3, {0, 3.5}}, {4, {0.8, 3.3}},
                                                 {5, {0, 2.6}}, {6, {0, 2.3}}, {8, {0, 1.85}}};
    for (const auto& [bits, goals] : widths)
      TABLE_TRY(products("W" + std::to_string(bits) + " g128", std::vector<ColumnGroup>(m_settings.side / group, {bits, group}),
                         goals));
    TABLE_TRY(products("mixed, 4.0 bits", mixedGroups(), {0.72, 0}));  // within 10 % of W4's
    TABLE_TRY(integers());
    return quantizers();
  }

 private:
  static constexpr std::size_t pinnedBytes = std::size_t{16} << 20;

  // ---- memory and time

  Outcome upload(DeviceBuffer& to, const void* from, std::size_t bytes, std::size_t copies = 1) {
    TABLE_TRY(to.make(m_runtime, std::max<std::size_t>(bytes, 1) * copies));
    for (std::size_t copy = 0; copy < copies; ++copy)
      for (std::size_t at = 0; at < bytes; at += pinnedBytes) {
        const std::size_t count = std::min(pinnedBytes, bytes - at);
        std::memcpy(m_pinned.get(), static_cast<const std::byte*>(from) + at, count);
        TABLE_TRY(
            m_runtime.copyIn(static_cast<std::byte*>(to.get()) + copy * bytes + at, m_pinned.get(), count, m_stream.get()));
        TABLE_TRY(m_runtime.drain(m_stream.get()));
      }
    return {};
  }
  template <class T>
  Outcome upload(DeviceBuffer& to, const std::vector<T>& from, std::size_t copies = 1) {
    return upload(to, from.data(), from.size() * sizeof(T), copies);
  }
  Outcome download(void* to, const void* from, std::size_t bytes) {
    for (std::size_t at = 0; at < bytes; at += pinnedBytes) {
      const std::size_t count = std::min(pinnedBytes, bytes - at);
      TABLE_TRY(m_runtime.copyOut(m_pinned.get(), static_cast<const std::byte*>(from) + at, count, m_stream.get()));
      TABLE_TRY(m_runtime.drain(m_stream.get()));
      std::memcpy(static_cast<std::byte*>(to) + at, m_pinned.get(), count);
    }
    return {};
  }
  [[nodiscard]] std::size_t copiesFor(std::size_t bytes) const {
    return std::max<std::size_t>(1, (m_settings.coldBytes + bytes - 1) / bytes);
  }

  // Milliseconds of one turn; the first one is not counted.
  Outcome time(const Launch& launch, double* milliseconds) {
    TABLE_TRY(launch(m_stream.get(), 0));
    TABLE_TRY(m_runtime.drain(m_stream.get()));
    if (!m_settings.timed) return {};
    TABLE_TRY(m_runtime.record(m_begin.get(), m_stream.get()));
    for (int i = 1; i <= m_settings.repeats; ++i) TABLE_TRY(launch(m_stream.get(), static_cast<std::size_t>(i)));
    TABLE_TRY(m_runtime.record(m_end.get(), m_stream.get()));
    TABLE_TRY(m_runtime.await(m_end.get()));
    float elapsed = 0;
    TABLE_TRY(m_runtime.milliseconds(m_begin.get(), m_end.get(), &elapsed));
    *milliseconds = static_cast<double>(elapsed) / m_settings.repeats;
    return {};
  }
  Outcome add(TimingRow row, const Launch& launch) {
    TABLE_TRY(time(launch, &row.milliseconds));
    m_table.rows.push_back(std::move(row));
    return {};
  }

  // ---- numbers

  // Random words, repeated: any bits are codes.
  [[nodiscard]] std::uint32_t word(std::size_t i) const { return m_random[i % m_random.size()]; }
  [[nodiscard]] std::vector<std::uint32_t> words(std::size_t count) const {
    std::vector<std::uint32_t> result(count);
    for (std::size_t i = 0; i < count; ++i) result[i] = word(i);
    return result;
  }
  [[nodiscard]] std::vector<float> halves(std::size_t count) const {
    std::vector<float> result(count);
    for (std::size_t i = 0; i < count; ++i)
      result[i] = halfToFloat(floatToHalf(static_cast<float>(static_cast<int>(word(i * 7 + 3) % 4001) - 2000) * 1e-3f));
    return result;
  }

  // ---- rows

  Outcome copies() {
    const std::size_t bytes = std::max<std::size_t>(m_settings.coldBytes, 1 << 12) * 2;
    DeviceBuffer from, to;
    TABLE_TRY(from.make(m_runtime, bytes));
    TABLE_TRY(to.make(m_runtime, bytes));
    double milliseconds = 0;
    TABLE_TRY(time([&](Stream stream, std::size_t) { return m_runtime.copyWithin(to.get(), from.get(), bytes, stream); },
                   &milliseconds));
    if (milliseconds > 0) m_table.copyBytesPerMillisecond = 2.0 * static_cast<double>(bytes) / milliseconds;
    return {};
  }

  Outcome libraryProduct(std::size_t rows) {
    if (m_gemm == nullptr) return {};
    const std::size_t side = m_settings.side, bytes = 2 * side * side, copies = copiesFor(bytes);
    const std::vector<std::uint16_t> one(side * side, 0x2000);
    DeviceBuffer weights, x, y;
    TABLE_TRY(upload(weights, one, copies));
    TABLE_TRY(upload(x, std::vector<std::uint16_t>(rows * side, 0x3000)));
    TABLE_TRY(y.make(m_runtime, rows * side * sizeof(float)));
    return time(
        [&](Stream stream, std::size_t turn) {
          return m_gemm->multiply(static_cast<const std::uint16_t*>(x.get()), rows,
                                  static_cast<const std::uint16_t*>(weights.get()) + turn % copies * side * side, side, side,
                                  false, static_cast<float*>(y.get()), stream);
        },
        &m_library[rows]);
  }

  // 4.0 bits on average: as much of 6 and 5 bits as of 3 and 2.
  [[nodiscard]] std::vector<ColumnGroup> mixedGroups() const {
    const auto rows = static_cast<unsigned>(m_settings.side);
    std::vector<ColumnGroup> groups;
    for (const auto& [bits, eighths] : {std::pair{6u, 1u}, {5u, 1u}, {4u, 4u}, {3u, 1u}, {2u, 1u}})
      for (unsigned left = rows / 8 * eighths; left > 0;) {
        const unsigned size = std::min<unsigned>(left, group);
        groups.push_back({bits, size});
        left -= size;
      }
    return groups;
  }

  Outcome products(const std::string& name, const std::vector<ColumnGroup>& groups, const Goals& goals) {
    const std::size_t side = m_settings.side;
    TileList forVectors, forSkinny;
    TABLE_TRY(tileList(groups, vectorRunCount(side / 32, side, m_facts.multiprocessors), &forVectors));
    TABLE_TRY(tileList(groups, skinnyRunCount(side / 32, side, m_facts.multiprocessors), &forSkinny));
    const std::size_t wordCount = forVectors.wordRows * side, copies = copiesFor(4 * wordCount);
    std::vector<std::uint16_t> scales(groups.size() * side), zeros(scales.size());
    for (std::size_t i = 0; i < scales.size(); ++i) {
      const float scale = 0.002f + static_cast<float>(word(i) % 64) * 1e-4f;
      scales[i] = floatToHalf(scale);
      zeros[i] = floatToHalf(scale * static_cast<float>(1u << (groups[i / side].bits - 1)));
    }
    DeviceBuffer codes, scaleMemory, zeroMemory, tiles, vectorRuns, skinnyRuns;
    TABLE_TRY(upload(codes, words(wordCount), copies));
    TABLE_TRY(upload(scaleMemory, scales));
    TABLE_TRY(upload(zeroMemory, zeros));
    TABLE_TRY(upload(tiles, forVectors.tiles));
    TABLE_TRY(upload(vectorRuns, forVectors.runs));
    TABLE_TRY(upload(skinnyRuns, forSkinny.runs));
    const auto packed = [&](std::size_t turn, bool vector) {
      return PackedColumns{static_cast<const std::uint32_t*>(codes.get()) + turn % copies * wordCount,
                           static_cast<const std::uint16_t*>(scaleMemory.get()),
                           static_cast<const std::uint16_t*>(zeroMemory.get()),
                           nullptr,
                           static_cast<const ColumnTile*>(tiles.get()),
                           static_cast<const TileRun*>((vector ? vectorRuns : skinnyRuns).get()),
                           forVectors.tiles.size(),
                           (vector ? forVectors : forSkinny).runs.size(),
                           side};
    };
    const double weightBytes = 4.0 * static_cast<double>(wordCount + scales.size());
    for (const std::size_t rows : {1, 4, 16, 64}) {
      const bool vector = rows <= mostVectorRows;
      const std::vector<float> x = halves(rows * side);
      DeviceBuffer in, out, parts, scratch;
      TABLE_TRY(upload(in, x));
      TABLE_TRY(out.make(m_runtime, x.size() * sizeof(float)));
      const PackedColumns shape = packed(0, vector);
      TABLE_TRY(parts.make(m_runtime, productScratch(shape, rows) * sizeof(float)));
      TABLE_TRY(scratch.make(m_runtime, skinnyHalves(shape, rows) * sizeof(std::uint16_t)));
      auto* const y = static_cast<float*>(out.get());
      const Launch launch = [&](Stream stream, std::size_t turn) {
        const auto* from = static_cast<const float*>(in.get());
        auto* sums = static_cast<float*>(parts.get());
        return vector ? launchVectorProduct(packed(turn, true), from, rows, nullptr, sums, y, stream)
                      : launchSkinnyProduct(packed(turn, false), from, rows, nullptr,
                                            static_cast<std::uint16_t*>(scratch.get()), sums, y, stream);
      };
      TimingRow row{.name = name + ", " + std::to_string(rows) + " rows",
                    .bytes = weightBytes + 8.0 * static_cast<double>(x.size()),
                    .libraryMilliseconds = m_library[rows]};
      if (rows <= 16) {
        row.leastShare = goals.share;
        row.leastRatio = goals.ratio;
      }
      TABLE_TRY(launch(m_stream.get(), 0));
      std::vector<float> found(x.size());
      TABLE_TRY(download(found.data(), y, found.size() * sizeof(float)));
      check(groups, scales, zeros, x, rows, found, &row);
      TABLE_TRY(add(row, launch));
    }
    {
      const std::size_t rows = 16;
      DeviceBuffer in, out, parts, scratch;
      TABLE_TRY(upload(in, halves(rows * side)));
      TABLE_TRY(out.make(m_runtime, rows * side * sizeof(float)));
      const PackedColumns shape = packed(0, false);
      TABLE_TRY(parts.make(m_runtime, backwardScratch(shape, rows) * sizeof(float)));
      TABLE_TRY(scratch.make(m_runtime, backwardHalves(shape, rows) * sizeof(std::uint16_t)));
      TABLE_TRY(add({.name = name + ", backward, 16 rows",
                     .bytes = weightBytes + 8.0 * static_cast<double>(rows * side),
                     .libraryMilliseconds = m_library[rows]},
                    [&](Stream stream, std::size_t turn) {
                      return launchBackwardProduct(packed(turn, false), static_cast<const float*>(in.get()), rows,
                                                   static_cast<std::uint16_t*>(scratch.get()), static_cast<float*>(parts.get()),
                                                   static_cast<float*>(out.get()), stream);
                    }));
    }
    DeviceBuffer decoded;
    TABLE_TRY(decoded.make(m_runtime, 2 * side * side));
    return add({.name = name + ", decode to halves",
                .bytes = weightBytes + 2.0 * static_cast<double>(side * side),
                .leastShare = 0.85},
               [&](Stream stream, std::size_t turn) {
                 return launchDecodeColumns(packed(turn, false), static_cast<std::uint16_t*>(decoded.get()), stream);
               });
  }

  // Some columns, all rows, against sums in double of the same halves.
  void check(const std::vector<ColumnGroup>& groups, const std::vector<std::uint16_t>& scales,
             const std::vector<std::uint16_t>& zeros, const std::vector<float>& x, std::size_t rows,
             const std::vector<float>& found, TimingRow* row) const {
    const std::size_t side = m_settings.side, step = std::max<std::size_t>(1, side / 64) | 1;
    std::vector<double> weights(side);
    for (std::size_t n = 0; n < side; n += step) {
      std::size_t k = 0, firstRow = 0;
      for (std::size_t g = 0; g < groups.size(); ++g) {
        const auto [bits, inputs] = groups[g];
        const double scale = static_cast<double>(halfToFloat(scales[g * side + n])),
                     zero = static_cast<double>(halfToFloat(zeros[g * side + n]));
        for (unsigned j = 0; j < inputs; ++j, ++k) {
          const std::size_t bit = std::size_t{j} * bits, at = firstRow + bit / 32;
          std::uint64_t pair = word(at * side + n);
          if (bit % 32 + bits > 32) pair |= std::uint64_t{word((at + 1) * side + n)} << 32;
          const auto code = static_cast<double>(pair >> (bit % 32) & ((1u << bits) - 1));
          weights[k] =
              static_cast<double>(halfToFloat(floatToHalf(static_cast<float>(code * scale - zero))));  // exact in float
        }
        firstRow += inputs / 32 * bits;
      }
      for (std::size_t m = 0; m < rows; ++m) {
        double sum = 0, magnitude = 0;
        for (std::size_t i = 0; i < side; ++i) {
          const double product = static_cast<double>(x[m * side + i]) * weights[i];
          sum += product;
          magnitude += std::fabs(product);
        }
        const double bound = std::ldexp(static_cast<double>(side) / 2 + 8, -23) * magnitude + 1e-30;
        row->worst = std::max(row->worst, std::fabs(static_cast<double>(found[m * side + n]) - sum) / bound);
        ++row->checked;
      }
    }
  }

  Outcome integers() {
    const std::size_t side = m_settings.side, rows = 64, copies = copiesFor(side * side);
    const std::vector<std::uint32_t> weights = words(side * side / 4), x = words(rows * side / 4);
    DeviceBuffer b, a, out;
    TABLE_TRY(upload(b, weights, copies));
    TABLE_TRY(upload(a, x));
    TABLE_TRY(out.make(m_runtime, rows * side * sizeof(std::int32_t)));
    const Launch launch = [&](Stream stream, std::size_t turn) {
      return launchIntegerProducts(static_cast<const std::int8_t*>(a.get()), rows,
                                   static_cast<const std::int8_t*>(b.get()) + turn % copies * side * side, side, side,
                                   static_cast<std::int32_t*>(out.get()), side, stream);
    };
    TimingRow row{.name = "8-bit integers, 64 rows",
                  .bytes = static_cast<double>(side * side + rows * side + 4 * rows * side),
                  .libraryMilliseconds = m_library[rows]};
    TABLE_TRY(launch(m_stream.get(), 0));
    std::vector<std::int32_t> found(rows * side);
    TABLE_TRY(download(found.data(), out.get(), found.size() * sizeof(std::int32_t)));
    const auto* const left = reinterpret_cast<const std::int8_t*>(x.data());
    const auto* const right = reinterpret_cast<const std::int8_t*>(weights.data());
    for (std::size_t n = 0; n < side; n += std::max<std::size_t>(1, side / 64) | 1)
      for (std::size_t m = 0; m < rows; ++m, ++row.checked) {
        std::int32_t sum = 0;
        for (std::size_t k = 0; k < side; ++k) sum += left[m * side + k] * right[n * side + k];
        if (found[m * side + n] != sum) row.worst = HUGE_VAL;
      }
    return add(row, launch);
  }

  // 4096 x 11008 at full size.
  Outcome quantizers() {
    const std::size_t rows = std::max<std::size_t>(1, m_settings.side / 4),
                      columns = std::max<std::size_t>(1, 11008 * m_settings.side / 16384 / group) * group;
    const std::size_t count = rows * columns, copies = copiesFor(4 * count);
    std::vector<float> weights = halves(count);
    DeviceBuffer w, codes, scale, zero, parts, sums;
    TABLE_TRY(upload(w, weights, copies));
    TABLE_TRY(codes.make(m_runtime, count));
    const GroupView shape = GroupView::contiguous(nullptr, count / group, group);
    TABLE_TRY(scale.make(m_runtime, shape.groups * sizeof(float)));
    TABLE_TRY(zero.make(m_runtime, shape.groups * sizeof(float)));
    TABLE_TRY(parts.make(m_runtime, encodeScratch(shape) * sizeof(double)));
    TABLE_TRY(sums.make(m_runtime, sumFields * sizeof(double)));
    const auto view = [&](std::size_t turn, std::size_t size) {
      return GroupView::contiguous(static_cast<const float*>(w.get()) + turn % copies * count, count / size, size);
    };
    const Measure measure{static_cast<double*>(parts.get()), static_cast<double*>(sums.get()), nullptr, 0, 0, 0};
    TABLE_TRY(add({.name = "round to nearest g128, error sums",
                   .bytes = 5.0 * static_cast<double>(count) + 8.0 * static_cast<double>(shape.groups),
                   .leastShare = 0.8},
                  [&](Stream stream, std::size_t turn) {
                    return launchQuantize(view(turn, group), {}, static_cast<float*>(scale.get()),
                                          static_cast<float*>(zero.get()), static_cast<std::uint8_t*>(codes.get()), measure,
                                          stream);
                  }));
    HalfQuadraticSettings hqq;
    hqq.iterations = m_settings.timed ? 20 : 2;
    const std::size_t few = 64, groups = count / few;
    DeviceBuffer inverse, zeros, errors, rest, scratch;
    TABLE_TRY(upload(inverse, std::vector<float>(groups, 4.0f)));
    TABLE_TRY(upload(zeros, std::vector<float>(groups, 7.5f)));
    TABLE_TRY(
        errors.make(m_runtime, (groups / halfQuadraticChunk + 1) * static_cast<std::size_t>(hqq.iterations) * sizeof(double)));
    TABLE_TRY(rest.make(m_runtime, groups * sizeof(int)));
    TABLE_TRY(scratch.make(m_runtime, halfQuadraticScratch(view(0, few), hqq.iterations) * sizeof(double)));
    return add({.name = "half-quadratic g64, 20 iterations", .bytes = 4.0 * static_cast<double>(count)},
               [&](Stream stream, std::size_t turn) {
                 return launchHalfQuadratic(view(turn, few), hqq, static_cast<const float*>(inverse.get()),
                                            static_cast<float*>(zeros.get()), static_cast<double*>(errors.get()),
                                            static_cast<int*>(rest.get()), static_cast<double*>(scratch.get()), stream);
               });
  }

  DeviceRuntime& m_runtime;
  DeviceFacts m_facts;
  TableSettings m_settings;
  TimingTable& m_table;
  OwnedStream m_stream;
  OwnedEvent m_begin, m_end;
  PinnedBuffer m_pinned;
  std::unique_ptr<DeviceGemm> m_gemm;
  std::vector<std::uint32_t> m_random;
  std::map<std::size_t, double> m_library;  // milliseconds by rows
};

}  // namespace

Outcome timingTable(DeviceRuntime& runtime, const DeviceFacts& facts, const TableSettings& settings, TimingTable* table) {
  return Table(runtime, facts, settings, table).fill();
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
