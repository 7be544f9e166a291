// SPDX-License-Identifier: GPL-3.0-or-later
// The packed linear layer over what every scheme makes: outputs and gradients against double, equal to the bit on every backend
// and thread count, activations of 16 bits, sizes that do not fit.
#include "core/layers/packed_linear.h"
#include "core/quant/decode.h"
#include "core/run/choice.h"
#include "core/schemes/scheme.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"
#include "kernels/linear.h"
#include "kernels/simd/simd_loops.h"
#include "tests/support/quantized.h"

#include <QtTest>

#include <cmath>
#include <cstring>

using namespace nibble;

namespace {

constexpr std::uint64_t rows = 21, columns = 256, tokens = 5;

std::vector<float> numbers(std::size_t count, std::uint64_t seed) {
  return *syntheticTensor(Distribution::Gauss, {1, count}, seed).readAll();
}

QuantizedTensor quantized(const QString& text, std::uint64_t out = rows, std::uint64_t in = columns) {
  return test::quantized(syntheticTensor(Distribution::HeavyTail, {out, in}, 7), text.toStdString());
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void addAll() {
  QTest::addColumn<QString>("choice");
  for (const Scheme* scheme : allSchemes())
    if (const Choice choice(*scheme); !choice.refusal({rows, columns}))
      QTest::newRow(choice.shortText().c_str()) << QString::fromStdString(choice.text());
  for (const char* text :
       {"uniform:bits=2,granularity=group,group=32,symmetric=false", "uniform:bits=3,granularity=channel",
        "uniform:bits=8,granularity=tensor", "hqq:bits=4,group=64,axis=0", "hqq:bits=3,group=64,axis=1",
        "nf4:block=64,nested=true", "exl2:mix=6b:0.5@64+3b:0.5@32", "mbwq:mix=8b:0.25@32+4b:0.5@32+2b:0.25@32",
        "hadamard:block=64/uniform:bits=4,granularity=group,group=64"})
    QTest::newRow(text) << text;
}

struct Everything {
  std::vector<float> y, dx, dw, db;
};

Everything everything(const PackedLinear& layer, const std::vector<float>& x, const std::vector<float>& dy,
                      const Context& context) {
  const auto y = layer.forward(x, context), dx = layer.inputGradient(dy, context), db = layer.biasGradient(dy);
  Everything all{{}, {}, std::vector<float>(layer.inputs() * layer.outputs()), {}};
  const auto dw = layer.addWeightGradient(x, dy, all.dw, context);
  for (const Error& error :
       {y ? Error{} : y.error(), dx ? Error{} : dx.error(), db ? Error{} : db.error(), dw ? Error{} : dw.error()})
    if (!error.message.empty()) qFatal("%s", error.message.c_str());
  all.y = *y;
  all.dx = *dx;
  all.db = *db;
  return all;
}

}  // namespace

class TestPackedLinear : public QObject {
  Q_OBJECT
 private slots:
  void cleanup() {
    kernels::setThreadCount(0);
    kernels::simd::useTarget(0);
  }

  void againstDouble_data() { addAll(); }
  void againstDouble() {
    QFETCH(QString, choice);
    const QuantizedTensor tensor = quantized(choice);
    const auto w = decodeAll(tensor), bias = numbers(rows, 3), x = numbers(tokens * columns, 4), dy = numbers(tokens * rows, 5);
    const auto layer = PackedLinear::make("layer", tensor, bias);
    QVERIFY(layer.has_value());
    const Everything found = everything(*layer, x, dy, {});
    const auto at = [](const std::vector<float>& v, std::uint64_t i) { return static_cast<double>(v[i]); };
    const auto near = [](float value, double sum, double size) {
      return std::fabs(static_cast<double>(value) - sum) <= 0x1p-24 * 64 * size;
    };
    for (std::uint64_t t = 0; t < tokens; ++t) {
      for (std::uint64_t n = 0; n < rows; ++n) {
        double sum = at(bias, n), size = std::fabs(sum);
        for (std::uint64_t k = 0; k < columns; ++k) {
          sum += at(x, t * columns + k) * at(w, n * columns + k);
          size += std::fabs(at(x, t * columns + k) * at(w, n * columns + k)) + 0.01 * std::fabs(at(x, t * columns + k));
        }
        QVERIFY(near(found.y[t * rows + n], sum, size));
      }
      for (std::uint64_t k = 0; k < columns; ++k) {
        double sum = 0, size = 1;
        for (std::uint64_t n = 0; n < rows; ++n)
          sum += at(dy, t * rows + n) * at(w, n * columns + k),
              size += std::fabs(at(dy, t * rows + n) * at(w, n * columns + k));
        QVERIFY(near(found.dx[t * columns + k], sum, size));
      }
    }
    for (std::uint64_t n = 0; n < rows; ++n) {
      double sums = 0;
      for (std::uint64_t t = 0; t < tokens; ++t) sums += at(dy, t * rows + n);
      QVERIFY(near(found.db[n], sums, 4 * tokens));
      for (std::uint64_t k = 0; k < columns; ++k) {
        double sum = 0, size = 0;
        for (std::uint64_t t = 0; t < tokens; ++t)
          sum += at(dy, t * rows + n) * at(x, t * columns + k),
              size += std::fabs(at(dy, t * rows + n) * at(x, t * columns + k));
        QVERIFY(near(found.dw[n * columns + k], sum, size));
      }
    }
  }

  void sameEverywhere_data() { addAll(); }
  void sameEverywhere() {
    QFETCH(QString, choice);
    const QuantizedTensor tensor = quantized(choice, 130);
    const auto x = numbers(3 * columns, 4), dy = numbers(3 * 130, 5);
    const auto layer = PackedLinear::make("layer", tensor);
    std::optional<Everything> first;
    for (const char* backend : {"host", "simd"}) {
      for (const int threads : {1, 2, 5}) {
        kernels::setThreadCount(threads);
        Context context;
        context.backend = kernels::findBackend(backend);
        const Everything found = everything(*layer, x, dy, context);
        if (!first) first = found;
        QVERIFY(same(found.y, first->y) && same(found.dx, first->dx) && same(found.dw, first->dw) && same(found.db, first->db));
      }
    }
  }

  // Odd sizes of the raw loops: tails, strides, one row.
  void loopsOfAnySize() {
    const kernels::LinearLoops &host = kernels::hostLinearLoops(), &simd = kernels::simdLinearLoops();
    for (const std::size_t size : {1u, 2u, 7u, 15u, 16u, 17u, 31u, 33u, 64u, 79u, 161u}) {
      for (const std::size_t others : {1u, 3u, 4u, 5u, 9u}) {
        const auto a = numbers(3 * size, size), b = numbers(others * size, size + 1);
        std::vector<float> first(3 * others), second(first);
        host.floatProducts(a.data(), 3, b.data(), others, size, first.data());
        const auto factors = numbers(3 * others + 8, size + 2);
        const std::vector<float> start = numbers(3 * (size + 2), 9);
        std::vector<float> out = start;
        host.addProducts({factors.data(), 1, 3}, 3, {b.data(), size, 1}, others, size, {out.data(), size + 2, 1});
        for (const std::int64_t target : kernels::simd::targets()) {
          kernels::simd::useTarget(target);
          simd.floatProducts(a.data(), 3, b.data(), others, size, second.data());
          QVERIFY(same(first, second));
          std::vector<float> other = start;
          simd.addProducts({factors.data(), 1, 3}, 3, {b.data(), size, 1}, others, size, {other.data(), size + 2, 1});
          QVERIFY(same(out, other));
        }
      }
    }
  }

  void activationsOfSixteenBits() {
    const QuantizedTensor tensor = quantized("uniform:bits=4,granularity=group,group=64,symmetric=false");
    const auto x = numbers(tokens * columns, 4), dy = numbers(tokens * rows, 5);
    for (const FloatType type : {FloatType::F16, FloatType::BF16}) {
      const auto layer = PackedLinear::make("layer", tensor, {}, type), wide = PackedLinear::make("layer", tensor);
      std::vector<float> roundedX = x, roundedDy = dy;
      for (float& value : roundedX) value = kernels::roundTo(type, value);
      for (float& value : roundedDy) value = kernels::roundTo(type, value);
      const Everything found = everything(*layer, x, dy, {}), expected = everything(*wide, roundedX, roundedDy, {});
      for (std::size_t i = 0; i < found.y.size(); ++i) QCOMPARE(found.y[i], kernels::roundTo(type, expected.y[i]));
      for (std::size_t i = 0; i < found.dx.size(); ++i) QCOMPARE(found.dx[i], kernels::roundTo(type, expected.dx[i]));
      QVERIFY(same(found.dw, expected.dw));
    }
  }

  void weightGradientsAccumulate() {
    const auto layer = PackedLinear::make("layer", quantized("uniform:bits=4"));
    const auto x = numbers(2 * columns, 4), dy = numbers(2 * rows, 5);
    std::vector<float> gradient(rows * columns);
    const std::span<const float> xs(x), dys(dy);
    // Token after token is one order: two calls are one call.
    QVERIFY(layer->addWeightGradient(xs.first(columns), dys.first(rows), gradient, {}).has_value());
    QVERIFY(layer->addWeightGradient(xs.subspan(columns), dys.subspan(rows), gradient, {}).has_value());
    std::vector<float> both(rows * columns);
    QVERIFY(layer->addWeightGradient(x, dy, both, {}).has_value());
    QVERIFY(same(gradient, both));
  }

  void refusals() {
    const QuantizedTensor tensor = quantized("uniform:bits=4");
    QVERIFY(!PackedLinear::make("layer", tensor, std::vector<float>(3)));
    QVERIFY(!PackedLinear::make("layer", tensor, {}, FloatType::F8E4M3));
    QVERIFY(!PackedLinear::make("layer", QuantizedTensor()));
    const auto layer = PackedLinear::make("the layer", tensor);
    const auto x = numbers(columns, 1);
    const std::span<const float> all(x);
    for (const auto& result :
         {layer->forward(all.first(columns - 1), {}), layer->forward({}, {}), layer->inputGradient(all, {})})
      QVERIFY(!result && result.error().message.starts_with("the layer: "));
    std::vector<float> gradient(rows * columns);
    const auto dy = numbers(2 * rows, 2);
    QVERIFY(!layer->addWeightGradient(x, dy, gradient, {}));
    gradient.pop_back();
    QVERIFY(!layer->addWeightGradient(x, std::span(dy).first(rows), gradient, {}));
    std::stop_source stop;
    stop.request_stop();
    Context context;
    context.stop = stop.get_token();
    const auto stopped = layer->forward(x, context);
    QVERIFY(!stopped && stopped.error().kind == ErrorKind::Cancelled);
  }
};

QTEST_APPLESS_MAIN(TestPackedLinear)
#include "test_packed_linear.moc"
