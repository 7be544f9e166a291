// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/emulator/traffic.h"

#include "kernels/cuda/columns.h"
#include "kernels/cuda/decode.h"
#include "kernels/cuda/decode_blocks.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/half_quadratic.h"
#include "kernels/cuda/integer_product.h"
#include "kernels/cuda/measure.h"
#include "kernels/cuda/ranges.h"
#include "kernels/emulator/emulator.h"

#include <algorithm>
#include <random>

namespace nibble::kernels {
namespace {

namespace em = emulated;
using emulator::DeviceArray;

constexpr std::size_t group = 128, groups = 256, count = group * groups;

// What an array is held to, before it is counted. No name: all arrays.
struct Limit {
  const char* memory;
  bool written;
  double needed, most;
};

class TrafficCounter {
 public:
  explicit TrafficCounter(const std::function<bool(const std::string&)>& wanted) : m_wanted(wanted) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal(0.0f, 0.05f);
    for (float& weight : m_weights) weight = normal(random);
  }
  std::vector<TrafficRow> rows() {
    ranges();
    quantize();
    levels();
    measures();
    halfQuadratic();
    decode();
    decodeBlocks();
    products();
    integerProducts();
    return std::move(m_rows);
  }

 private:
  // Counts what `launch` queues.
  template <class Launch>
  void add(const std::string& name, const char* source, double needed, const std::vector<Limit>& limits, const Launch& launch) {
    if (!m_wanted(name)) return;
    TrafficRow row;
    row.name = name;
    row.source = source;
    row.needed = needed;
    emulator::emulatorSettings() = {0, true};
    emulator::emulatorCounters() = {};
    Outcome outcome = launch(m_stream.handle());
    if (outcome.ok()) outcome = m_stream.wait();
    emulator::emulatorSettings() = {};
    emulator::Counters counters = emulator::emulatorCounters();
    if (!outcome.ok()) row.failure = outcome.detail;
    row.moved = static_cast<double>(counters.total().moved());
    row.sectorUse = counters.total().efficiency();
    row.conflictShare = counters.conflictShare();
    row.sharedBytes = counters.largestShared;
    for (const Limit& limit : limits) {
      const std::string memory = limit.memory;
      const auto moved = memory.empty()  ? counters.total().moved()
                         : limit.written ? counters.written[memory].moved()
                                         : counters.read[memory].moved();
      row.limits.push_back({memory, static_cast<double>(moved), limit.needed, limit.most});
    }
    m_rows.push_back(std::move(row));
  }
  GroupView view(const DeviceArray<float>& weights) const { return GroupView::contiguous(weights.data(), groups, group); }

  void ranges() {
    const DeviceArray<float> w("weights", m_weights);
    DeviceArray<float> low("low", groups), high("high", groups);
    add("ranges", "ranges.cu", 4.0 * count + 8.0 * groups, {{"weights", false, 4.0 * count, 1.02}},
        [&](Stream stream) { return em::launchRanges(view(w), low.data(), high.data(), nullptr, stream); });
  }

  void quantize() {
    const DeviceArray<float> w("weights", m_weights);
    DeviceArray<float> scale("scale", groups), zero("zero", groups);
    std::fill_n(scale.data(), groups, 0.02f);
    std::fill_n(zero.data(), groups, -0.1f);
    DeviceArray<std::uint8_t> codes("codes", count);
    DeviceArray<double> parts("parts", em::encodeScratch(view(w))), sums("sums", em::sumFields);
    DeviceArray<std::uint64_t> counts("counts", 512);
    std::fill_n(counts.data(), 512, 0);
    const em::Measure plain{parts.data(), sums.data(), nullptr, 0, 0, 0};
    const em::Measure binned{parts.data(), sums.data(), counts.data(), 512, -0.01f, 0.01f};
    const double needed = 5.0 * count + 8.0 * groups;
    std::vector<Limit> limits{{"weights", false, 4.0 * count, 1.02}, {"codes", true, 1.0 * count, 1.02}};
    add("quantize, error sums", "encode.cu", needed, limits,
        [&](Stream stream) { return em::launchQuantize(view(w), {}, scale.data(), zero.data(), codes.data(), plain, stream); });
    add("encode with given parameters", "encode.cu", needed + 4.0 * groups, limits, [&](Stream stream) {
      return em::launchEncode(view(w), {}, scale.data(), zero.data(), scale.data(), codes.data(), &plain, stream);
    });
    limits.push_back({"", false, needed, 1.2});  // 4 KiB of counts for each 64 groups
    add("quantize, sums and histogram", "encode.cu", needed, limits, [&](Stream stream) {
      return em::launchQuantize(view(w), {}, scale.data(), zero.data(), codes.data(), binned, stream);
    });
  }

  void levels() {
    const DeviceArray<float> w("weights", m_weights), multiplier("multiplier", std::vector<float>(groups, 10.0f)),
        thresholds("thresholds", std::vector<float>{-2, -1.5f, -1, -.8f, -.6f, -.4f, -.2f, 0, .2f, .4f, .6f, .8f, 1, 1.5f, 2});
    const DeviceArray<std::uint8_t> ranks("ranks", std::vector<std::uint8_t>(16, 3));
    DeviceArray<std::uint8_t> codes("codes", count);
    add("levels (16)", "encode.cu", 5.0 * count + 4.0 * groups, {{"weights", false, 4.0 * count, 1.02}}, [&](Stream stream) {
      return em::launchEncodeThresholds(view(w), multiplier.data(), thresholds.data(), 15, ranks.data(), codes.data(), stream);
    });
  }

  void measures() {
    const DeviceArray<float> w("weights", m_weights), r("reconstructed", m_weights);
    DeviceArray<double> scratch("parts", em::sumsScratch(count)), sums("sums", em::sumFields);
    add("error sums", "measure.cu", 8.0 * count, {{"", false, 8.0 * count, 1.02}},
        [&](Stream stream) { return em::launchErrorSums(w.data(), r.data(), count, scratch.data(), sums.data(), stream); });
    DeviceArray<std::uint64_t> bins("counts", 512);
    std::fill_n(bins.data(), 512, 0);
    add("histogram, 512 bins", "measure.cu", 4.0 * count + 8.0 * 512, {{"", false, 4.0 * count, 1.06}}, [&](Stream stream) {
      return em::launchHistogram(w.data(), nullptr, count, Binning(-0.05f, 0.05f, 512), 512, bins.data(), stream);
    });
  }

  void halfQuadratic() {
    const DeviceArray<float> w("weights", m_weights), inverse("inverse", std::vector<float>(groups, 60.0f));
    DeviceArray<float> zero("zero", groups);
    std::fill_n(zero.data(), groups, 7.5f);
    HalfQuadraticSettings settings;
    settings.iterations = 4;
    DeviceArray<double> scratch("scratch", groups * 4), errors("errors", 4);
    DeviceArray<int> rest("rest", groups);
    add("half-quadratic, 4 iterations", "half_quadratic.cu", 4.0 * count + 16.0 * groups + 2 * 8.0 * 4 * groups,
        {{"weights", false, 4.0 * count, 1.02}}, [&](Stream stream) {
          return em::launchHalfQuadratic(view(w), settings, inverse.data(), zero.data(), errors.data(), rest.data(),
                                         scratch.data(), stream);
        });
  }

  void decode() {
    const DeviceArray<std::uint8_t> bytes("packed", std::vector<std::uint8_t>(count, 0x5A));
    const DeviceArray<float> scale("scale", std::vector<float>(count / 64, 0.1f)),
        zero("zero", std::vector<float>(count / 64, 7.0f));
    DeviceArray<float> out("out", count);
    const em::ValueRuleOf rule{em::Spelling::ScaleMinusZero, scale.data(), zero.data(), nullptr, 0};
    for (const int bits : {2, 3, 4, 5, 6, 8}) {
      const std::size_t codeBytes = count / 8 * static_cast<std::size_t>(bits);
      const auto needed = static_cast<double>(codeBytes);
      add("decode, " + std::to_string(bits) + " bits", "decode.cu", 4.0 * count + needed + 8.0 * groups,
          {{"out", true, 4.0 * count, 1.02}, {"packed", false, needed, 1.02}}, [&](Stream stream) {
            return em::launchDecode(em::Packing::Dense, bits, bytes.data(), codeBytes, count, group, rule, out.data(), stream);
          });
    }
    // HQQ: 64 columns, a parameter for each row.
    add("decode, 4 bits interleaved", "decode.cu", 4.5 * count + 8.0 * count / 64, {{"out", true, 4.0 * count, 1.02}},
        [&](Stream stream) {
          return em::launchDecodeInterleaved(4, bytes.data(), count / 64, 64, true, rule, out.data(), stream);
        });
  }

  void decodeBlocks() {
    DeviceArray<float> out("out", count);
    for (const auto& [name, type] : {std::pair{"decode, q4_0", BlockType::Q4_0}, std::pair{"decode, q8_0", BlockType::Q8_0},
                                     std::pair{"decode, q4_k", BlockType::Q4_K}, std::pair{"decode, q6_k", BlockType::Q6_K}}) {
      const std::size_t blocks = count / blockShape(type).weights, size = blocks * blockShape(type).bytes;
      const DeviceArray<std::uint8_t> packed("blocks", std::vector<std::uint8_t>(size, 0x21));
      const auto needed = static_cast<double>(size);
      // Four of the largest blocks are 26.25 sectors.
      add(name, "decode_blocks.cu", 4.0 * count + needed, {{"out", true, 4.0 * count, 1.02}, {"blocks", false, needed, 1.06}},
          [&, type = type](Stream stream) { return em::launchDecodeBlocks(type, packed.data(), blocks, out.data(), stream); });
    }
  }

  void products() {
    for (const unsigned bits : {2u, 3u, 4u, 5u, 6u, 8u})
      productsOf(std::to_string(bits) + " bits", std::vector<em::ColumnGroup>(4, {bits, 128}));
    productsOf("mixed", {{8, 32}, {6, 32}, {5, 64}, {4, 128}, {3, 128}, {2, 128}});
  }

  void productsOf(const std::string& name, const std::vector<em::ColumnGroup>& layer) {
    constexpr std::size_t outputs = 256, inputs = 512;
    em::TileList list;
    if (!em::tileList(layer, 4, &list).ok()) return;
    const DeviceArray<std::uint32_t> words("words", std::vector<std::uint32_t>(list.wordRows * outputs, 0x12345678u));
    const std::size_t parameters = layer.size() * outputs;
    const DeviceArray<std::uint16_t> scales("scales", std::vector<std::uint16_t>(parameters, 0x2000)),
        zeros("zeros", std::vector<std::uint16_t>(parameters, 0x3000));
    const DeviceArray<em::ColumnTile> tiles("tiles", list.tiles);
    const DeviceArray<em::TileRun> runs("runs", list.runs);
    std::vector<std::uint32_t> channels(inputs);
    for (std::uint32_t k = 0; k < inputs; ++k) channels[k] = k * 77 % inputs;
    const DeviceArray<std::uint32_t> order("order", channels);
    em::PackedColumns packed{words.data(), scales.data(),     zeros.data(),     nullptr, tiles.data(),
                             runs.data(),  list.tiles.size(), list.runs.size(), outputs};
    const double wordBytes = 4.0 * static_cast<double>(words.size());
    const double weightBytes = wordBytes + 4.0 * static_cast<double>(parameters);
    const auto neededFor = [&](std::size_t rows) { return weightBytes + 4.0 * static_cast<double>(rows * (inputs + outputs)); };
    const std::vector<Limit> limits{{"words", false, wordBytes, 1.05}};
    for (const std::size_t rows : {1, 4, 16}) {
      const DeviceArray<float> x("x", std::vector<float>(rows * inputs, 0.5f));
      DeviceArray<float> y("y", rows * outputs), scratch("parts", em::productScratch(packed, rows));
      DeviceArray<std::uint16_t> halves("halves", em::skinnyHalves(packed, rows));
      add("product, " + name + ", " + std::to_string(rows) + " rows", rows <= 4 ? "vector_product.cu" : "skinny_product.cu",
          neededFor(rows), limits, [&](Stream stream) {
            return rows <= 4 ? em::launchVectorProduct(packed, x.data(), rows, nullptr, scratch.data(), y.data(), stream)
                             : em::launchSkinnyProduct(packed, x.data(), rows, nullptr, halves.data(), scratch.data(), y.data(),
                                                       stream);
          });
    }
    const DeviceArray<float> dy("dy", std::vector<float>(16 * outputs, 0.5f));
    DeviceArray<float> dx("dx", 16 * inputs), scratch("parts", em::backwardScratch(packed, 16));
    DeviceArray<std::uint16_t> halves("halves", em::backwardHalves(packed, 16));
    add("backward, " + name + ", 16 rows", "backward_product.cu", neededFor(16), limits, [&](Stream stream) {
      return em::launchBackwardProduct(packed, dy.data(), 16, halves.data(), scratch.data(), dx.data(), stream);
    });
    DeviceArray<std::uint16_t> decoded("decoded", inputs * outputs);
    packed.order = order.data();
    add("decode to halves, " + name, "columns.cu", weightBytes + 2.0 * inputs * outputs + 4.0 * inputs,
        {{"decoded", true, 2.0 * inputs * outputs, 1.02}},
        [&](Stream stream) { return em::launchDecodeColumns(packed, decoded.data(), stream); });
  }

  void integerProducts() {
    constexpr std::size_t tokens = 64, outputs = 256, inputs = 512;
    const DeviceArray<std::int8_t> x("x", std::vector<std::int8_t>(tokens * inputs, 3)),
        w("weights", std::vector<std::int8_t>(outputs * inputs, -5));
    DeviceArray<std::int32_t> y("y", tokens * outputs);
    const double weightBytes = outputs * inputs, outBytes = 4.0 * tokens * outputs;
    add("product of 8-bit integers, 64 rows", "integer_product.cu", weightBytes + tokens * inputs + outBytes,
        {{"weights", false, weightBytes, 1.05}, {"y", true, outBytes, 1.02}}, [&](Stream stream) {
          return em::launchIntegerProducts(x.data(), tokens, w.data(), outputs, inputs, y.data(), outputs, stream);
        });
  }

  const std::function<bool(const std::string&)>& m_wanted;
  emulator::EmulatedStream m_stream;
  std::vector<float> m_weights = std::vector<float>(count);
  std::vector<TrafficRow> m_rows;
};

}  // namespace

bool TrafficRow::holds() const {
  return failure.empty() && sectorUse >= leastSectorUse && conflictShare <= mostConflicts &&
         std::all_of(limits.begin(), limits.end(), [](const TrafficLimit& limit) { return limit.holds(); });
}

std::vector<TrafficRow> countTraffic(const std::function<bool(const std::string&)>& wanted) {
  return TrafficCounter(wanted).rows();
}

std::vector<std::string> trafficRowNames() {
  std::vector<std::string> names;
  countTraffic([&names](const std::string& name) {
    names.push_back(name);
    return false;
  });
  return names;
}

}  // namespace nibble::kernels
