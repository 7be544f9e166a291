// SPDX-License-Identifier: GPL-3.0-or-later
// Products on packed codes with the scale outside the sum: against double within the stated bound, codes and sums of 8-bit
// inputs to the bit, equal on every backend and thread count, over runs of every length and both widths of fields.
#include "core/layers/factored_linear.h"
#include "core/layers/packed_linear.h"
#include "core/quant/decode.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"
#include "kernels/simd/simd_loops.h"
#include "tests/support/mbwq_layers.h"
#include "tests/support/quantized.h"

#include <QtTest>

#include <cmath>
#include <cstring>

using namespace nibble;
using kernels::PackedRun;

namespace {

std::vector<float> numbers(std::size_t count, std::uint64_t seed) {
  return *syntheticTensor(Distribution::HeavyTail, {1, count}, seed).readAll();
}

QuantizedTensor quantized(const QString& text, std::uint64_t rows, std::uint64_t columns) {
  return test::quantized(syntheticTensor(Distribution::HeavyTail, {rows, columns}, 7), text.toStdString());
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<PackedRun> runsOf(std::uint64_t seed) {
  std::vector<PackedRun> runs;
  std::uint32_t first = 0;
  for (std::uint64_t i = 0; i < 1 + seed % 5; ++i) {
    const auto inputs = static_cast<std::uint32_t>(32 * (1 + (seed * 7 + i * 5) % 9));
    runs.push_back({first, inputs, (seed + i) % 3 == 0 ? 8u : 4u});
    first += inputs;
  }
  return runs;
}

}  // namespace

class TestFactoredLinear : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() {
    kernels::setThreadCount(0);
    kernels::simd::useTarget(0);
  }

  // The raw loops on random blocks: host and SIMD to the bit, and what they should be from codes, scales and offsets.
  void loopsOnRandomBlocks() {
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const auto runs = runsOf(seed);
      std::size_t bytes = 0;
      for (const PackedRun& run : runs) bytes += kernels::packedBytes(run);
      const std::size_t inputs = runs.back().first + runs.back().inputs;
      std::vector<std::uint8_t> codes(4 * inputs);
      std::uint64_t state = seed;
      for (const PackedRun& run : runs)
        for (std::size_t n = 0; n < 4; ++n)
          for (std::size_t k = run.first; k < run.first + run.inputs; ++k)
            codes[n * inputs + k] =
                static_cast<std::uint8_t>((state = state * 6364136223846793005u + 1442695040888963407u) >> (64 - run.bits));
      const auto scales = numbers(4 * runs.size(), seed + 1), offsets = numbers(4 * runs.size(), seed + 2),
                 x = numbers(inputs, seed + 3);
      std::vector<std::byte> block(bytes);
      kernels::packBlock(runs, codes.data(), inputs, scales.data(), offsets.data(), block.data());
      std::vector<std::int16_t> xCodes(inputs);
      std::vector<std::int8_t> xPairs(inputs);
      std::vector<float> xScales(runs.size()), xSums(runs.size()), arranged(inputs), sums(runs.size());
      kernels::quantizeInputs(runs, x.data(), xCodes.data(), xPairs.data(), xScales.data(), xSums.data());
      kernels::arrangeInputs(runs, x.data(), arranged.data(), sums.data());
      std::vector<float> host(4), simd(4), hostFloat(4), simdFloat(4);
      kernels::hostPackedLoops().byteProducts(runs, block.data(), {xCodes.data(), xPairs.data(), xScales.data(), xSums.data()},
                                              host.data());
      kernels::hostPackedLoops().floatProducts(runs, block.data(), {arranged.data(), sums.data()}, hostFloat.data());
      for (const std::int64_t target : kernels::simd::targets()) {
        kernels::simd::useTarget(target);
        kernels::simdPackedLoops().byteProducts(runs, block.data(),
                                                {xCodes.data(), xPairs.data(), xScales.data(), xSums.data()}, simd.data());
        kernels::simdPackedLoops().floatProducts(runs, block.data(), {arranged.data(), sums.data()}, simdFloat.data());
        QVERIFY2(same(host, simd) && same(hostFloat, simdFloat), qPrintable(QString("%1, target %2").arg(seed).arg(target)));
      }
      for (std::size_t n = 0; n < 4; ++n) {
        float expected = 0;  // the formula of the bytes, to the bit
        double exact = 0, size = 0;
        for (std::size_t r = 0; r < runs.size(); ++r) {
          std::int64_t integer = 0;
          float largest = 0;
          for (std::size_t k = runs[r].first; k < runs[r].first + runs[r].inputs; ++k) {
            integer += static_cast<std::int64_t>(codes[n * inputs + k]) * xCodes[k];
            largest = std::max(largest, std::fabs(x[k]));
            const double weight = static_cast<double>(scales[n * runs.size() + r]) * codes[n * inputs + k] +
                                  static_cast<double>(offsets[n * runs.size() + r]);
            exact += weight * static_cast<double>(x[k]);
            size += (std::fabs(weight) + std::fabs(static_cast<double>(offsets[n * runs.size() + r]))) *
                    std::fabs(static_cast<double>(x[k]));
            QVERIFY(std::abs(xCodes[k]) <= 127 &&
                    std::fabs(static_cast<double>(xCodes[k]) * static_cast<double>(xScales[r]) - static_cast<double>(x[k])) <=
                        0.5001 * static_cast<double>(xScales[r]));
          }
          QCOMPARE(xScales[r], largest / 127);
          expected += static_cast<float>(integer) * (scales[n * runs.size() + r] * xScales[r]);
          expected += offsets[n * runs.size() + r] * xSums[r];
        }
        QCOMPARE(host[n], expected);
        QVERIFY(std::fabs(static_cast<double>(hostFloat[n]) - exact) <= 0x1p-24 * 100 * size + 1e-12);
      }
    }
  }

  // The largest products of 4 bits, which are added in 16 bits for a while.
  void theLargestNibbles() {
    for (const std::uint32_t inputs : {32u, 96u, 128u, 160u, 512u, 1024u}) {
      const std::vector<PackedRun> runs{{0, inputs, 4}};
      const std::vector<std::uint8_t> codes(4 * inputs, 15);
      const std::vector<float> scales(4, 1.0f), offsets(4, 0.0f);
      std::vector<std::byte> block(kernels::packedBytes(runs[0]));
      kernels::packBlock(runs, codes.data(), inputs, scales.data(), offsets.data(), block.data());
      const std::vector<std::int16_t> x(inputs, -127);
      const std::vector<std::int8_t> pairs(inputs, -127);
      const float one = 1, none = 0;
      for (const kernels::PackedLoops* loops : {&kernels::hostPackedLoops(), &kernels::simdPackedLoops()}) {
        float out[4];
        loops->byteProducts(runs, block.data(), {x.data(), pairs.data(), &one, &none}, out);
        for (const float value : out) QCOMPARE(value, -15.0f * 127.0f * static_cast<float>(inputs));
      }
    }
  }

  void inputsOfNothing() {
    const std::vector<PackedRun> runs{{0, 32, 4}};
    for (const float value : {0.0f, -0.0f, 1e-44f, -1e-38f, 3e38f}) {
      std::vector<float> x(32, value), scales(1), sums(1);
      std::vector<std::int16_t> codes(32, 99);
      std::vector<std::int8_t> pairs(32, 99);
      kernels::quantizeInputs(runs, x.data(), codes.data(), pairs.data(), scales.data(), sums.data());
      for (std::size_t k = 0; k < 32; ++k) {
        QCOMPARE(int{codes[k]}, int{pairs[k]});
        QVERIFY(std::fabs(static_cast<float>(codes[k]) * scales[0] - value) <= std::max(1e-36f, 1e-6f * std::fabs(value)));
      }
    }
  }

  // Sums near the limit of 32 bits.
  void theLongestRun() {
    const std::vector<PackedRun> runs{{0, kernels::mostPackedInputs, 8}};
    const std::vector<std::uint8_t> codes(4 * kernels::mostPackedInputs, 255);
    const std::vector<float> scales(4, 1.0f), offsets(4, 0.0f);
    std::vector<std::byte> block(kernels::packedBytes(runs[0]));
    kernels::packBlock(runs, codes.data(), kernels::mostPackedInputs, scales.data(), offsets.data(), block.data());
    const std::vector<std::int16_t> x(kernels::mostPackedInputs, -127);
    const std::vector<std::int8_t> pairs(kernels::mostPackedInputs, -127);
    const float one = 1, none = 0;
    for (const kernels::PackedLoops* loops : {&kernels::hostPackedLoops(), &kernels::simdPackedLoops()}) {
      float out[4];
      loops->byteProducts(runs, block.data(), {x.data(), pairs.data(), &one, &none}, out);
      for (const float value : out) QCOMPARE(value, -255.0f * 127.0f * 65536.0f);
    }
  }

  void againstDouble_data() {
    QTest::addColumn<QString>("choice");
    for (const char* text :
         {"uniform:bits=4,granularity=group,group=128,symmetric=false",
          "uniform:bits=4,granularity=group,group=32,symmetric=true", "uniform:bits=8,granularity=channel",
          "uniform:bits=5,granularity=group,group=96,symmetric=false", "uniform:bits=3,granularity=tensor",
          "hqq:bits=4,group=64,axis=1", "exl2:mix=8b:0.2@32+6b:0.2@32+5b:0.2@32+4b:0.2@96+3b:0.1@32+2b:0.1@32",
          "mbwq:mix=8b:0.25@32+4b:0.5@64+2b:0.25@32"})
      QTest::newRow(text) << text;
  }
  void againstDouble() {
    QFETCH(QString, choice);
    constexpr std::uint64_t rows = 27, columns = 384, tokens = 3;
    const QuantizedTensor tensor = quantized(choice, rows, columns);
    const auto w = decodeAll(tensor), x = numbers(tokens * columns, 4), bias = numbers(rows, 5);
    const auto layer = FactoredLinear::make("layer", tensor, bias, {});
    QVERIFY2(layer.has_value(), layer ? "" : layer.error().message.c_str());
    for (const Activations activations : {Activations::Floats, Activations::Bytes}) {
      std::vector<float> first;
      for (const char* backend : {"host", "simd"}) {
        for (const int threads : {1, 4}) {
          kernels::setThreadCount(threads);
          Context context;
          context.backend = kernels::findBackend(backend);
          const auto y = layer->forward(x, activations, context);
          QVERIFY2(y.has_value(), y ? "" : y.error().message.c_str());
          if (first.empty()) first = *y;
          QVERIFY(same(first, *y));
        }
      }
      for (std::uint64_t t = 0; t < tokens; ++t) {
        for (std::uint64_t n = 0; n < rows; ++n) {
          double sum = static_cast<double>(bias[n]), size = std::fabs(sum), largest = 0, weights = 0;
          for (std::uint64_t k = 0; k < columns; ++k) {
            const double product = static_cast<double>(x[t * columns + k]) * static_cast<double>(w[n * columns + k]);
            sum += product;
            size += std::fabs(product);
            largest = std::max(largest, std::fabs(static_cast<double>(x[t * columns + k])));
            weights += std::fabs(static_cast<double>(w[n * columns + k]));
          }
          const double halves = tensor.arithmetic.result == FloatType::F16 ? 0x1p-10 : 0x1p-18;
          double bound = halves * (size + largest * weights * 0.1) + 1e-6;
          if (activations == Activations::Bytes) bound += 0.5 / 127 * largest * weights * 1.01;
          QVERIFY(std::fabs(static_cast<double>(first[t * rows + n]) - sum) <= bound);
        }
      }
    }
  }

  void whatDoesNotFactor() {
    const auto reason = [](const QuantizedTensor& tensor) {
      const auto layer = FactoredLinear::make("the layer", tensor, {}, {});
      if (layer || !layer.error().message.starts_with("the layer: ")) qFatal("not refused by name");
      return layer.error().message;
    };
    reason(quantized("nf4", 8, 128));
    reason(quantized("uniform:bits=4,granularity=group,group=8", 8, 128));
    reason(quantized("uniform:bits=4", 8, 100));
    reason(quantized("hqq:bits=4,group=64,axis=0", 8, 128));
    const auto layer = FactoredLinear::make("the layer", quantized("uniform:bits=4", 8, 128), {}, {});
    QVERIFY(layer.has_value());
    QVERIFY(!layer->forward(numbers(127, 1), Activations::Bytes, {}));
    auto x = numbers(128, 1);
    x[3] = NAN;
    QVERIFY(!layer->forward(x, Activations::Floats, {}));
    QVERIFY(!FactoredLinear::make("the layer", quantized("uniform:bits=4", 8, 128), numbers(3, 1), {}));
  }
};

QTEST_APPLESS_MAIN(TestFactoredLinear)
#include "test_factored_linear.moc"
