// SPDX-License-Identifier: GPL-3.0-or-later
// uniform against reference document 001 (data/notebook_uniform.json: its printed numbers), then the standard variant's own
// known answers: one-signed data, constant groups, tails, wide codes, stored types.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/choice.h"
#include "core/run/run.h"
#include "tests/support/golden.h"

#include <QTest>
#include <cmath>
#include <random>
#include <set>

using namespace nibble;
using nlohmann::json;

namespace {

Outcome outcomeOf(const Tensor& tensor, const std::string& text, const kernels::Backend* backend = nullptr) {
  const auto choice = Choice::parse(text);
  if (!choice) qFatal("%s", choice.error().message.c_str());
  Context context;
  if (backend != nullptr) context.backend = backend;
  auto outcome = run(tensor, *choice, context);
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *std::move(outcome);
}

std::vector<float> numbersIn(const json& value) {
  std::vector<float> numbers;
  if (value.is_number()) return {value.get<float>()};
  for (const json& item : value)
    for (const float number : numbersIn(item)) numbers.push_back(number);
  return numbers;
}

std::vector<float> normals(std::size_t count, float sigma, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, sigma);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace

class TestUniformGolden : public QObject {
  Q_OBJECT

 private slots:
  void notebook_data() {
    QTest::addColumn<int>("index");
    QTest::addColumn<QString>("backend");
    const json file = test::loadJson("notebook_uniform.json");
    QCOMPARE(file["cases"].size(), std::size_t{12});
    for (int i = 0; i < 12; ++i)
      for (const char* backend : {"host", "simd"})
        QTest::addRow("%s %s", file["cases"][i]["id"].get<std::string>().c_str(), backend) << i << QString(backend);
  }
  void notebook() {
    QFETCH(int, index);
    QFETCH(QString, backend);
    const json one = test::loadJson("notebook_uniform.json")["cases"][index];
    const auto input = test::floatsFromJson(one["input"]), expected = test::floatsFromJson(one["dequantized"]);
    const Tensor tensor = Tensor::fromFloats("w", one["shape"].get<Shape>(), input);
    const std::string text = "uniform:bits=" + std::to_string(one["bits"].get<int>()) +
                             ",granularity=" + one["granularity"].get<std::string>() +
                             ",symmetric=" + (one["symmetric"].get<bool>() ? "true" : "false") +
                             ",kind=" + one["kind"].get<std::string>() + ",variant=notebook";
    const Outcome outcome = outcomeOf(tensor, text, kernels::findBackend(backend.toStdString()));
    const auto decoded = decodeAll(*outcome.quantized);
    const double tolerance = one["tolerance"];
    const std::set<std::size_t> skipped(one["skip_flat_indices"].begin(), one["skip_flat_indices"].end());
    for (std::size_t i = 0; i < decoded.size(); ++i)
      if (skipped.count(i) == 0) QVERIFY2(std::fabs(decoded[i] - expected[i]) <= tolerance, qPrintable(QString::number(i)));
    QVERIFY(std::fabs(outcome.report.l2() - one["l2"].get<double>()) <= tolerance);
    QVERIFY(outcome.quantized->scale->stored == Stored::F32);
    if (one.contains("zero_point")) {
      QVERIFY(outcome.quantized->zero->values == numbersIn(one["zero_point"]));
      QVERIFY(outcome.quantized->zero->stored == Stored::F32);
    }
    if (one.contains("printed") && one["printed"].contains("s")) {
      const auto scales = numbersIn(one["printed"]["s"]);
      QCOMPARE(outcome.quantized->scale->values.size(), scales.size());
      for (std::size_t g = 0; g < scales.size(); ++g)
        QVERIFY(std::fabs(outcome.quantized->scale->values[g] - scales[g]) <= 1e-4f * scales[g] + 5e-5f);
    }
  }

  // Missing clamps, exactly: codes leave their width where the document's do (spec 1.2).
  void notebookCodesLeaveTheirWidth() {
    const json file = test::loadJson("notebook_uniform.json");
    const auto codesOf = [&](int index) {
      const json& one = file["cases"][index];
      const Tensor tensor = Tensor::fromFloats("w", one["shape"].get<Shape>(), test::floatsFromJson(one["input"]));
      return outcomeOf(tensor, "uniform:granularity=" + one["granularity"].get<std::string>() +
                                   ",symmetric=false,kind=" + one["kind"].get<std::string>() + ",variant=notebook")
          .quantized;
    };
    const auto extremes = [](const Codes& codes) {
      std::pair<std::int64_t, std::int64_t> ends{codes.at(0), codes.at(0)};
      for (std::size_t i = 0; i < codes.size(); ++i)
        ends = {std::min(ends.first, codes.at(i)), std::max(ends.second, codes.at(i))};
      return ends;
    };
    QCOMPARE(extremes(codesOf(9)->codes).second, std::int64_t{481});   // per token
    QCOMPARE(extremes(codesOf(11)->codes).second, std::int64_t{348});  // per channel activation
    QCOMPARE(extremes(codesOf(5)->codes).first, std::int64_t{-347});   // per column weight
    QVERIFY(codesOf(9)->codes.isSigned());
    QCOMPARE(codesOf(1)->codes.isSigned(), false);  // the tensor's codes are clamped
    QCOMPARE(extremes(codesOf(1)->codes).second, std::int64_t{255});
  }

  void derivedL2AtOtherWidths_data() {
    QTest::addColumn<int>("bits");
    QTest::addColumn<double>("tensorSymmetric");
    QTest::addColumn<double>("channelSymmetric");
    QTest::addColumn<double>("channelAffine");
    QTest::addRow("6") << 6 << 0.08228 << 0.14458 << 0.12155;
    QTest::addRow("4") << 4 << 0.34551 << 0.61519 << 0.52041;
    QTest::addRow("3") << 3 << 0.71658 << 1.60308 << 1.23186;
    QTest::addRow("2") << 2 << 2.05595 << 4.09097 << 2.91161;
  }
  void derivedL2AtOtherWidths() {
    QFETCH(int, bits);
    QFETCH(double, tensorSymmetric);
    QFETCH(double, channelSymmetric);
    QFETCH(double, channelAffine);
    const json file = test::loadJson("notebook_uniform.json");
    const auto l2 = [&](int index, const char* rest) {
      const json& one = file["cases"][index];
      const Tensor tensor = Tensor::fromFloats("w", one["shape"].get<Shape>(), test::floatsFromJson(one["input"]));
      return outcomeOf(tensor, "uniform:bits=" + std::to_string(bits) + rest + ",variant=notebook").report.l2();
    };
    QVERIFY(std::fabs(l2(0, ",granularity=tensor") - tensorSymmetric) < 1e-5);
    QVERIFY(std::fabs(l2(2, ",granularity=channel") - channelSymmetric) < 1e-5);
    QVERIFY(std::fabs(l2(2, ",granularity=channel,symmetric=false") - channelAffine) < 1e-5);
  }

  void notebookHasNoGroups() {
    const auto refusal = Choice::parse("uniform:granularity=group,variant=notebook")->refusal({4, 4});
    QVERIFY(refusal.has_value());
    // A difference of 1e-6 on top of 1000: the document's codes would need 36 bits.
    const auto fits = run(Tensor::fromFloats("w", {2, 2}, {1000, 1000, -1000, -1000}),
                             *Choice::parse("uniform:granularity=column,symmetric=false,variant=notebook"), {});
    QVERIFY(fits.has_value());
    const auto tooWide = run(Tensor::fromFloats("w", {1, 2}, {100000, 100000}),
                             *Choice::parse("uniform:bits=16,granularity=column,symmetric=false,variant=notebook"), {});
    QVERIFY(!tooWide);
    QVERIFY2(tooWide.error().message.find("group 0: code") != std::string::npos, tooWide.error().message.c_str());
  }

  void standardHoldsZeroExactly() {
    // One-signed rows, a constant one, zeros, denormals: the range is widened to hold 0, and 0 decodes to 0.
    const std::vector<float> weights{0.5f, 0.9f, 0.7f, 0.0f,  -3, -1, -2, -2.5f, 0.25f,  0.25f,   0.25f, 0.25f,
                                     0,    0,    0,    -0.0f, 1,  -1, 0,  0.5f,  1e-41f, -1e-41f, 0,     1e-41f};
    const Tensor tensor = Tensor::fromFloats("w", {6, 4}, weights);
    for (const char* granularity : {"channel", "tensor", "column", "group", "token"}) {
      for (const char* symmetric : {"true", "false"}) {
        for (const char* params : {"f32", "f16", "bf16"}) {
          for (const int bits : {2, 4, 8, 12, 16}) {
            const std::string text = "uniform:bits=" + std::to_string(bits) + ",group=3,granularity=" + granularity +
                                     ",symmetric=" + symmetric + ",params=" + params;
            const Outcome outcome = outcomeOf(tensor, text);
            const auto decoded = decodeAll(*outcome.quantized);
            const Plane& scale = *outcome.quantized->scale;
            for (std::size_t i = 0; i < weights.size(); ++i) {
              if (weights[i] == 0.0f) QVERIFY2(decoded[i] == 0.0f, text.c_str());
              const float step = scale.values[scale.grouping.groupOf(i)];
              QVERIFY(step > 0.0f);
              // Half a step, and a whole one at a clamped end or where rounding the parameters moved the range.
              QVERIFY2(std::fabs(weights[i] - decoded[i]) <= step * 1.001f + std::fabs(weights[i]) * 0.01f, text.c_str());
            }
            for (std::size_t i = 0; i < weights.size(); ++i) {
              const std::int64_t code = outcome.quantized->codes.at(i);
              QVERIFY(code >= 0 && code < (std::int64_t{1} << bits));
            }
          }
        }
      }
    }
  }

  void knownAnswers() {
    // absmax 127/64: scale 1/64 exactly, codes offset by 128.
    const Outcome symmetric = outcomeOf(Tensor::fromFloats("w", {1, 4}, {1.984375f, -1.984375f, 0.0f, 0.0078125f}), "uniform");
    QCOMPARE(symmetric.quantized->scale->values[0], 1.0f / 64);
    QVERIFY(*symmetric.quantized->codes.as<std::uint8_t>() ==
            (std::vector<std::uint8_t>{255, 1, 128, 128}));  // 0.5 rounds to even
    QVERIFY(symmetric.quantized->zero->stored == Stored::Implied);
    const Outcome affine = outcomeOf(Tensor::fromFloats("w", {1, 4}, {-5, 10, 0, 3}), "uniform:bits=4,symmetric=false");
    QCOMPARE(affine.quantized->scale->values[0], 1.0f);
    QCOMPARE(affine.quantized->zero->values[0], 5.0f);
    QVERIFY(*affine.quantized->codes.as<std::uint8_t>() == (std::vector<std::uint8_t>{0, 15, 5, 8}));
    // A zero tensor: the smallest scale that float16 holds, codes in the middle.
    const Outcome zero = outcomeOf(Tensor::fromFloats("w", {1, 2}, {0, 0}), "uniform:bits=16");
    QCOMPARE(zero.quantized->scale->values[0], 0x1p-24f);
    QCOMPARE(zero.quantized->codes.at(0), std::int64_t{32768});
  }

  void lastGroupOfARowIsShorter() {
    const Tensor tensor = Tensor::fromFloats("w", {3, 70}, normals(210, 0.05f, 1));
    const Outcome outcome = outcomeOf(tensor, "uniform:bits=4,granularity=group,group=32,symmetric=false,params=f32");
    QVERIFY((outcome.quantized->scale->grouping.naturalShape() == Shape{3, 3}));
    const auto weights = *tensor.readAll();
    for (std::size_t g = 0; g < 9; ++g) {
      float low = 0, high = 0;
      for (const std::uint64_t i : outcome.quantized->scale->grouping.members(g)) {
        low = std::min(low, weights[i]);
        high = std::max(high, weights[i]);
      }
      QCOMPARE(outcome.quantized->scale->values[g], (high - low) / 15);
    }
    QVERIFY(
        (outcomeOf(tensor, "uniform:granularity=group,group=128").quantized->scale->grouping.naturalShape() == Shape{3, 1}));
  }

  void zerosAreStoredExactly() {
    const Tensor tensor = Tensor::fromFloats("w", {1, 64}, normals(64, 0.05f, 2));
    const auto storedZero = [&](const char* text) { return outcomeOf(tensor, text).quantized->zero->stored; };
    QVERIFY(storedZero("uniform:bits=8,symmetric=false") == Stored::F16);
    QVERIFY(storedZero("uniform:bits=11,symmetric=false") == Stored::F16);
    QVERIFY(storedZero("uniform:bits=12,symmetric=false") == Stored::I32);
    QVERIFY(storedZero("uniform:bits=8,symmetric=false,params=bf16") == Stored::BF16);
    QVERIFY(storedZero("uniform:bits=9,symmetric=false,params=bf16") == Stored::I32);
    QVERIFY(storedZero("uniform:bits=16,symmetric=false,params=f32") == Stored::F32);
  }

  void sizes() {
    const Tensor tensor = Tensor::fromFloats("w", {64, 256}, normals(64 * 256, 0.05f, 3));
    QCOMPARE(bitsPerWeight(*outcomeOf(tensor, "uniform:bits=4,granularity=group,group=128,symmetric=false").quantized), 4.25);
    QCOMPARE(bitsPerWeight(*outcomeOf(tensor, "uniform:bits=4,granularity=group,group=128").quantized), 4.125);
    QCOMPARE(bitsPerWeight(*outcomeOf(tensor, "uniform:bits=8").quantized), 8 + 16.0 / 256);
    QCOMPARE(bitsPerWeight(*outcomeOf(tensor, "uniform:bits=3,granularity=tensor").quantized), 3 + 16.0 / (64 * 256));
  }

  void parametersThatDoNotFit() {
    const Tensor tensor = Tensor::fromFloats("w", {2, 2}, {1, 2, 1e8f, 2e8f});
    const auto refused = run(tensor, *Choice::parse("uniform:bits=4"), {});
    QVERIFY(!refused);
    QVERIFY2(refused.error().message.find("group 1: scale") != std::string::npos, refused.error().message.c_str());
    QVERIFY(run(tensor, *Choice::parse("uniform:bits=4,params=f32"), {}).has_value());
    const auto huge =
        run(Tensor::fromFloats("w", {1, 2}, {3e38f, -3e38f}), *Choice::parse("uniform:symmetric=false,params=f32"), {});
    QVERIFY(!huge);
    QVERIFY2(huge.error().message.find("group 0: scale") != std::string::npos, huge.error().message.c_str());
  }

  void sameOnEveryBackendAndThreadCount() {
    const Tensor tensor = Tensor::fromFloats("w", {300, 700}, normals(300 * 700, 0.05f, 4));
    for (const char* text :
         {"uniform:granularity=tensor,symmetric=false", "uniform:granularity=column", "uniform:bits=3",
          "uniform:granularity=group,group=48,symmetric=false,bits=4", "uniform:bits=12,granularity=column,symmetric=false"}) {
      const Outcome expected = outcomeOf(tensor, text, kernels::findBackend("host"));
      for (const int threads : {1, 4}) {
        kernels::setThreadCount(threads);
        const Outcome outcome = outcomeOf(tensor, text, kernels::findBackend("simd"));
        QVERIFY(outcome.quantized->codes == expected.quantized->codes);
        QVERIFY(outcome.quantized->scale->values == expected.quantized->scale->values);
        QVERIFY(outcome.quantized->zero->values == expected.quantized->zero->values);
      }
    }
    kernels::setThreadCount(0);
  }

  void stopsWhenAsked() {
    std::stop_source source;
    source.request_stop();
    Context context;
    context.stop = source.get_token();
    const Tensor tensor = Tensor::fromFloats("w", {8, 8}, normals(64, 1, 5));
    for (const char* text : {"uniform", "uniform:granularity=column", "minmax", "hqq", "hqq:axis=0,group=8"}) {
      const Choice choice = *Choice::parse(text);
      const auto stopped = choice.scheme().quantize(tensor, choice.values(), context);
      QVERIFY(!stopped);
      QVERIFY(stopped.error().kind == ErrorKind::Cancelled);
    }
  }

  void reportsProgressInWeights() {
    Progress progress;
    Context context;
    context.progress = &progress;
    const Tensor tensor = Tensor::fromFloats("w", {300, 300}, normals(90000, 1, 6));
    const Choice choice = *Choice::parse("uniform");
    QVERIFY(choice.scheme().quantize(tensor, choice.values(), context).has_value());
    QCOMPARE(progress.total.load(), std::uint64_t{90000});
    QCOMPARE(progress.done.load(), std::uint64_t{90000});
  }
};

QTEST_APPLESS_MAIN(TestUniformGolden)
#include "test_uniform_golden.moc"
