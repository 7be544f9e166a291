// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernels move, counted by the emulator: bytes moved (32-byte sectors of every warp access, no cache assumed) over
// bytes needed, sector efficiency, bank conflicts, shared memory against the bound the source states. Printed as a table; no
// time was measured on a GPU. Bounds: weight bytes of products 1.05 x, round to nearest reads 1.02 x, decoding writes 1.02 x,
// sectors of every kernel 95 % used, conflicts 5 % of passes through shared memory. Products read their activations once for
// each block of weights, from the second cache on a device: without a cache, what they move is above what they need.
#include "kernels/cuda/columns.h"
#include "kernels/cuda/decode.h"
#include "kernels/cuda/decode_blocks.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/half_quadratic.h"
#include "kernels/cuda/measure.h"
#include "kernels/cuda/ranges.h"
#include "tests/support/cuda_cases.h"
#include "tests/support/emulator_bounds.h"

#include <QtTest>
#include <cstdio>

using namespace nibble::kernels;
namespace em = nibble::kernels::emulated;
using nibble::test::Chance;
using nibble::test::Counters;
using nibble::test::DeviceArray;
using nibble::test::EmulatedStream;
using nibble::test::emulatorCounters;
using nibble::test::emulatorSettings;
using nibble::test::kernelBounds;

class TestCudaTraffic : public QObject {
  Q_OBJECT

  static constexpr std::size_t group = 128, groups = 256, count = group * groups;
  EmulatedStream stream;
  Chance chance{7};
  std::vector<float> weights = std::vector<float>(count);

  // Runs what was queued and prints its row.
  Counters measure(const char* name, const char* source, const Outcome& queued, double needed) {
    emulatorSettings().counting = true;
    emulatorCounters() = {};
    const Outcome outcome = queued.ok() ? stream.wait() : queued;
    if (!outcome.ok()) qFatal("%s: %s", name, outcome.detail.c_str());
    emulatorSettings().counting = false;
    const Counters counters = emulatorCounters();
    const auto total = counters.total();
    std::printf("%-34s %10.0f %10llu %8.3f x %9.1f %% %9.1f %%\n", name, needed, static_cast<unsigned long long>(total.moved()),
                static_cast<double>(total.moved()) / needed, 100 * total.efficiency(), 100 * counters.conflictShare());
    std::size_t bound = 0;
    for (const auto& [kernel, stated] : kernelBounds(source)) bound = std::max<std::size_t>(bound, stated.sharedBytes);
    if (counters.largestShared > bound) qFatal("%s takes %zu bytes of shared memory", name, counters.largestShared);
    if (total.efficiency() < 0.95 || counters.conflictShare() > 0.05) m_wasteful += std::string(name) + "; ";
    return counters;
  }
  static double ratio(const nibble::test::Traffic& traffic, double needed) {
    return static_cast<double>(traffic.moved()) / needed;
  }
  std::string m_wasteful;  // rows with less than 95 % of their sectors used or more than 5 % conflicts

 private slots:
  void init() { m_wasteful.clear(); }
  void cleanup() { QCOMPARE(QString::fromStdString(m_wasteful), QString()); }
  void initTestCase() {
    for (float& w : weights) w = 0.05f * chance.normal();
    std::printf("%-34s %10s %10s %10s %11s %11s   (counted by emulation; no timing was measured on a GPU)\n", "kernel",
                "needed", "moved", "ratio", "sectors", "conflicts");
  }

  void ranges() {
    const DeviceArray<float> w("weights", weights);
    DeviceArray<float> low("low", groups), high("high", groups);
    const Outcome queued =
        em::launchRanges(GroupView::contiguous(w.data(), groups, group), low.data(), high.data(), nullptr, stream.handle());
    Counters counters = measure("ranges", "ranges.cu", queued, 4.0 * count + 8.0 * groups);
    QVERIFY(ratio(counters.read["weights"], 4.0 * count) <= 1.02);
  }

  void quantize() {
    const DeviceArray<float> w("weights", weights);
    DeviceArray<float> scale("scale", groups), zero("zero", groups);
    DeviceArray<std::uint8_t> codes("codes", count);
    const GroupView view = GroupView::contiguous(w.data(), groups, group);
    DeviceArray<double> parts("parts", em::encodeScratch(view)), sums("sums", em::sumFields);
    DeviceArray<std::uint64_t> counts("counts", 512);
    std::fill_n(counts.data(), 512, 0);
    const em::Measure plain{parts.data(), sums.data(), nullptr, 0, 0, 0};
    Counters counters = measure("quantize, error sums", "encode.cu",
                                em::launchQuantize(view, {}, scale.data(), zero.data(), codes.data(), plain, stream.handle()),
                                5.0 * count + 8.0 * groups);
    QVERIFY(ratio(counters.read["weights"], 4.0 * count) <= 1.02);
    QVERIFY(ratio(counters.written["codes"], 1.0 * count) <= 1.02);
    const em::Measure binned{parts.data(), sums.data(), counts.data(), 512, -0.01f, 0.01f};
    counters = measure("quantize, sums and histogram", "encode.cu",
                       em::launchQuantize(view, {}, scale.data(), zero.data(), codes.data(), binned, stream.handle()),
                       5.0 * count + 8.0 * groups);
    QVERIFY(ratio(counters.read["weights"], 4.0 * count) <= 1.02);
    QVERIFY(ratio(counters.total(), 5.0 * count + 8.0 * groups) <= 1.2);  // 4 KiB of counts for each 64 groups
    counters =
        measure("encode with given parameters", "encode.cu",
                em::launchEncode(view, {}, scale.data(), zero.data(), scale.data(), codes.data(), &plain, stream.handle()),
                5.0 * count + 12.0 * groups);
    QVERIFY(ratio(counters.read["weights"], 4.0 * count) <= 1.02);
    QVERIFY(ratio(counters.written["codes"], 1.0 * count) <= 1.02);
  }

  void counts() {
    const DeviceArray<float> w("weights", weights);
    DeviceArray<std::uint64_t> bins("counts", 512);
    std::fill_n(bins.data(), 512, 0);
    const Counters counters =
        measure("histogram, 512 bins", "measure.cu",
                em::launchHistogram(w.data(), nullptr, count, Binning(-0.05f, 0.05f, 512), 512, bins.data(), stream.handle()),
                4.0 * count + 2 * 8.0 * 512);
    QVERIFY(ratio(counters.total(), 4.0 * count) <= 1.06);
  }

  void levels() {
    const DeviceArray<float> w("weights", weights), multiplier("multiplier", std::vector<float>(groups, 10.0f)),
        thresholds("thresholds", std::vector<float>{-2, -1.5f, -1, -.8f, -.6f, -.4f, -.2f, 0, .2f, .4f, .6f, .8f, 1, 1.5f, 2});
    const DeviceArray<std::uint8_t> ranks("ranks", std::vector<std::uint8_t>(16, 3));
    DeviceArray<std::uint8_t> codes("codes", count);
    Counters counters = measure("levels (16)", "encode.cu",
                                em::launchEncodeThresholds(GroupView::contiguous(w.data(), groups, group), multiplier.data(),
                                                           thresholds.data(), 15, ranks.data(), codes.data(), stream.handle()),
                                5.0 * count + 4.0 * groups);
    QVERIFY(ratio(counters.read["weights"], 4.0 * count) <= 1.02);
  }

  void errorSums() {
    const DeviceArray<float> w("weights", weights), r("reconstructed", weights);
    DeviceArray<double> scratch("parts", em::sumsScratch(count)), sums("sums", em::sumFields);
    const Counters counters =
        measure("error sums", "measure.cu",
                em::launchErrorSums(w.data(), r.data(), count, scratch.data(), sums.data(), stream.handle()), 8.0 * count);
    QVERIFY(ratio(counters.total(), 8.0 * count) <= 1.02);
  }

  void halfQuadratic() {
    const DeviceArray<float> w("weights", weights), inverse("inverse", std::vector<float>(groups, 60.0f));
    DeviceArray<float> zero("zero", groups);
    std::fill_n(zero.data(), groups, 7.5f);
    HalfQuadraticSettings settings;
    settings.iterations = 4;
    DeviceArray<double> scratch("scratch", groups * 4), errors("errors", 4);
    DeviceArray<int> rest("rest", groups);
    Counters counters =
        measure("half-quadratic, 4 iterations", "half_quadratic.cu",
                em::launchHalfQuadratic(GroupView::contiguous(w.data(), groups, group), settings, inverse.data(), zero.data(),
                                        errors.data(), rest.data(), scratch.data(), stream.handle()),
                4.0 * count + 16.0 * groups + 2 * 8.0 * 4 * groups);
    QVERIFY(ratio(counters.read["weights"], 4.0 * count) <= 1.02);
  }

  void decode() {
    const std::vector<std::uint8_t> packed(count, 0x5A);
    const DeviceArray<std::uint8_t> bytes("packed", packed);
    const DeviceArray<float> scale("scale", std::vector<float>(groups, 0.1f)), zero("zero", std::vector<float>(groups, 7.0f));
    DeviceArray<float> out("out", count);
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      const double codeBytes = count * static_cast<double>(bits) / 8;
      Counters counters = measure(
          ("decode, " + std::to_string(bits) + " bits").c_str(), "decode.cu",
          em::launchDecode(em::Packing::Dense, bits, bytes.data(), static_cast<std::size_t>(codeBytes), count, group,
                           {em::Spelling::ScaleMinusZero, scale.data(), zero.data(), nullptr, 0}, out.data(), stream.handle()),
          4.0 * count + codeBytes + 8.0 * groups);
      QVERIFY(ratio(counters.written["out"], 4.0 * count) <= 1.02);
      QVERIFY(ratio(counters.read["packed"], codeBytes) <= 1.02);
    }
    // HQQ: 64 columns, a parameter for each row.
    const DeviceArray<float> rowScale("scale", std::vector<float>(count / 64, 0.1f)),
        rowZero("zero", std::vector<float>(count / 64, 7.0f));
    Counters counters =
        measure("decode, 4 bits interleaved", "decode.cu",
                em::launchDecodeInterleaved(4, bytes.data(), count / 64, 64, true,
                                            {em::Spelling::ScaleMinusZero, rowScale.data(), rowZero.data(), nullptr, 0},
                                            out.data(), stream.handle()),
                4.5 * count + 8.0 * count / 64);
    QVERIFY(ratio(counters.written["out"], 4.0 * count) <= 1.02);
    for (const auto& [name, type] : {std::pair{"decode, q4_0", BlockType::Q4_0}, std::pair{"decode, q8_0", BlockType::Q8_0},
                                     std::pair{"decode, q4_k", BlockType::Q4_K}, std::pair{"decode, q6_k", BlockType::Q6_K}}) {
      const std::size_t blocks = count / blockShape(type).weights, needed = blocks * blockShape(type).bytes;
      const DeviceArray<std::uint8_t> packedBlocks("blocks", std::vector<std::uint8_t>(needed, 0x21));
      counters = measure(name, "decode_blocks.cu",
                         em::launchDecodeBlocks(type, packedBlocks.data(), blocks, out.data(), stream.handle()),
                         4.0 * count + static_cast<double>(needed));
      QVERIFY(ratio(counters.written["out"], 4.0 * count) <= 1.02);
      QVERIFY(ratio(counters.read["blocks"], static_cast<double>(needed)) <= 1.06);  // strips of 26.25 sectors, at worst
    }
  }

  void products() {
    const std::size_t outputs = 256, tiles = 16;
    const std::vector<std::pair<const char*, std::vector<em::ColumnGroup>>> layers{
        {"2 bits", std::vector<em::ColumnGroup>(4, {2, 128})},
        {"3 bits", std::vector<em::ColumnGroup>(4, {3, 128})},
        {"4 bits", std::vector<em::ColumnGroup>(4, {4, 128})},
        {"5 bits", std::vector<em::ColumnGroup>(4, {5, 128})},
        {"6 bits", std::vector<em::ColumnGroup>(4, {6, 128})},
        {"8 bits", std::vector<em::ColumnGroup>(4, {8, 128})},
        {"mixed", {{8, 32}, {6, 32}, {5, 64}, {4, 128}, {3, 128}, {2, 128}}}};
    for (const auto& [name, layer] : layers) {
      em::TileList list;
      QVERIFY(em::tileList(layer, 4, &list).ok());
      QCOMPARE(list.tiles.size(), tiles);
      const DeviceArray<std::uint32_t> words("words", std::vector<std::uint32_t>(list.wordRows * outputs, 0x12345678u));
      const std::size_t parameters = layer.size() * outputs;
      const DeviceArray<std::uint16_t> scales("scales", std::vector<std::uint16_t>(parameters, 0x2000)),
          zeros("zeros", std::vector<std::uint16_t>(parameters, 0x3000));
      const DeviceArray<em::ColumnTile> tileArray("tiles", list.tiles);
      const DeviceArray<em::TileRun> runs("runs", list.runs);
      const em::PackedColumns packed{words.data(), scales.data(), zeros.data(),     nullptr, tileArray.data(),
                                     runs.data(),  tiles,         list.runs.size(), outputs};
      const double wordBytes = 4.0 * static_cast<double>(words.size());
      const double needed = wordBytes + 4.0 * static_cast<double>(parameters);
      const auto holds = [&](Counters counters, const char* parts) {
        QVERIFY(ratio(counters.read["words"], wordBytes) <= 1.05);
        QVERIFY(counters.written[parts].efficiency() >= 0.95);
      };
      for (const std::size_t rows : {1, 4, 16}) {
        const DeviceArray<float> x("x", std::vector<float>(rows * 512, 0.5f));
        DeviceArray<float> y("y", rows * outputs), scratch("parts", em::productScratch(packed, rows));
        DeviceArray<std::uint16_t> halves("halves", em::skinnyHalves(packed, rows));
        const Outcome queued =
            rows <= 4 ? em::launchVectorProduct(packed, x.data(), rows, nullptr, scratch.data(), y.data(), stream.handle())
                      : em::launchSkinnyProduct(packed, x.data(), rows, nullptr, halves.data(), scratch.data(), y.data(),
                                                stream.handle());
        holds(measure((std::string("product, ") + name + ", " + std::to_string(rows) + " rows").c_str(),
                      rows <= 4 ? "vector_product.cu" : "skinny_product.cu", queued,
                      needed + 4.0 * static_cast<double>(rows * (512 + outputs))),
              "parts");
      }
      std::vector<std::uint32_t> channels(512);
      for (std::uint32_t k = 0; k < 512; ++k) channels[k] = k * 77 % 512;
      const DeviceArray<std::uint32_t> order("order", channels);
      em::PackedColumns ordered = packed;
      ordered.order = order.data();
      DeviceArray<std::uint16_t> decoded("decoded", 512 * outputs);
      Counters counters =
          measure((std::string("decode to halves, ") + name).c_str(), "columns.cu",
                  em::launchDecodeColumns(ordered, decoded.data(), stream.handle()), needed + 2.0 * 512 * outputs + 4.0 * 512);
      QVERIFY(ratio(counters.written["decoded"], 2.0 * 512 * outputs) <= 1.02);
      const DeviceArray<float> dy("dy", std::vector<float>(16 * outputs, 0.5f));
      DeviceArray<float> dx("dx", 16 * 512), scratch("parts", em::backwardScratch(packed, 16));
      DeviceArray<std::uint16_t> halves("halves", em::backwardHalves(packed, 16));
      holds(measure((std::string("backward, ") + name + ", 16 rows").c_str(), "backward_product.cu",
                    em::launchBackwardProduct(packed, dy.data(), 16, halves.data(), scratch.data(), dx.data(), stream.handle()),
                    needed + 4.0 * 16 * (512 + outputs)),
            "parts");
    }
  }
};

QTEST_APPLESS_MAIN(TestCudaTraffic)
#include "test_cuda_traffic.moc"
