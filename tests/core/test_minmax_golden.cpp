// SPDX-License-Identifier: GPL-3.0-or-later
// minmax against reference document 000 (data/seed000_qdora.json): codes, words, scales and minima of its example, the packing
// of ten 3-bit codes, the build-up example; then tails and constant groups. And affine against MLX (data/mlx_affine.json): the
// bytes of its file, the floats it decodes.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/choice.h"
#include "core/run/run.h"
#include "tests/support/golden.h"

#include <QTest>
#include <bit>
#include <cmath>
#include <cstring>

using namespace nibble;
using nlohmann::json;

namespace {

Outcome outcomeOf(const Tensor& tensor, const std::string& text, const char* backend = "simd") {
  const auto choice = Choice::parse(text);
  if (!choice) qFatal("%s", choice.error().message.c_str());
  Context context;
  context.backend = kernels::findBackend(backend);
  auto outcome = run(tensor, *choice, context);
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *std::move(outcome);
}

std::vector<std::uint32_t> wordsOf(const Layout& layout, const Codes& codes) {
  const auto bytes = layout.pack(codes);
  std::vector<std::uint32_t> words(bytes.size() / 4);
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

void verifyClose(const std::vector<float>& values, const json& expected, double tolerance) {
  QCOMPARE(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) QVERIFY(std::fabs(values[i] - expected[i].get<double>()) <= tolerance);
}

}  // namespace

class TestMinmaxGolden : public QObject {
  Q_OBJECT

 private slots:
  void documentExample_data() {
    QTest::addColumn<QString>("backend");
    QTest::addRow("host") << "host";
    QTest::addRow("simd") << "simd";
  }
  void documentExample() {
    QFETCH(QString, backend);
    const json file = test::loadJson("seed000_qdora.json");
    std::vector<float> weights;
    for (const json& row : file["weight"])
      for (const float value : test::floatsFromJson(row)) weights.push_back(value);
    const Tensor tensor = Tensor::fromFloats("w", {5, 4}, weights);
    const Outcome outcome = outcomeOf(tensor, "minmax:bits=3,group=5,params=f32", backend.toLatin1());
    const QuantizedTensor& quantized = *outcome.quantized;
    QVERIFY(*quantized.codes.as<std::uint8_t>() == file["codes"].get<std::vector<std::uint8_t>>());
    QVERIFY(wordsOf(*quantized.layout, quantized.codes) == file["packed"].get<std::vector<std::uint32_t>>());
    verifyClose(quantized.scale->values, file["scale"], 1e-6);
    verifyClose(quantized.zero->values, file["zero"], 1e-6);
    QVERIFY((quantized.scale->grouping.naturalShape() == Shape{4, 1}));
    const auto decoded = decodeAll(quantized);
    for (std::size_t i = 0; i < decoded.size(); ++i)
      QVERIFY(decoded[i] ==
              quantized.scale->values[i / 5] * static_cast<float>(quantized.codes.at(i)) + quantized.zero->values[i / 5]);
    // In float16, as the document computes, the codes are the same.
    const Outcome half = outcomeOf(tensor, "minmax:bits=3,group=5", backend.toLatin1());
    QVERIFY(half.quantized->codes == quantized.codes);
    QVERIFY(half.quantized->scale->stored == Stored::F16);
  }

  void words() {
    const json packing = test::loadJson("seed000_qdora.json")["packing"];
    const Codes ten(packing["values"].get<std::vector<std::uint8_t>>());
    QVERIFY(wordsOf(*wordLayout(10, 3), ten) == (std::vector<std::uint32_t>{packing["word"].get<std::uint32_t>()}));
    const Codes three(packing["values_short"].get<std::vector<std::uint8_t>>());
    QVERIFY(wordsOf(*wordLayout(3, 3), three) == (std::vector<std::uint32_t>{packing["word_short"].get<std::uint32_t>()}));
  }

  void buildUpExample() {
    const json example = test::loadJson("seed000_qdora.json")["build_up"];
    std::vector<float> ramp(30);
    for (std::size_t i = 0; i < 30; ++i) ramp[i] = static_cast<float>(i);
    const Outcome outcome = outcomeOf(Tensor::fromFloats("w", {5, 6}, ramp), "minmax:bits=3,group=5");
    const auto codes = example["codes_per_group"].get<std::vector<std::uint8_t>>();
    for (std::size_t i = 0; i < 30; ++i) QCOMPARE(outcome.quantized->codes.at(i), std::int64_t{codes[i % 5]});
    const auto decoded = decodeAll(*outcome.quantized);
    for (std::size_t i = 0; i < 5; ++i) QVERIFY(std::fabs(decoded[i] - example["dequantized_group0"][i].get<float>()) < 0.006f);
    for (const float scale : outcome.quantized->scale->values)
      QVERIFY(std::fabs(scale - example["scale"].get<float>()) < 1e-3f);
  }

  // Filling the last group with copies of the last weight changes nothing about the weights that are there.
  void tailEqualsFilledTail() {
    std::vector<float> weights(27);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i));
    std::vector<float> filled = weights;
    filled.resize(32, weights.back());
    const Outcome a = outcomeOf(Tensor::fromFloats("w", {3, 9}, weights), "minmax:group=8");
    const Outcome b = outcomeOf(Tensor::fromFloats("w", {4, 8}, filled), "minmax:group=8");
    QVERIFY(a.quantized->scale->values == b.quantized->scale->values);
    QVERIFY(a.quantized->zero->values == b.quantized->zero->values);
    for (std::size_t i = 0; i < weights.size(); ++i) QCOMPARE(a.quantized->codes.at(i), b.quantized->codes.at(i));
  }

  void constantAndTinyGroups() {
    const Outcome constant =
        outcomeOf(Tensor::fromFloats("w", {2, 4}, {0.5f, 0.5f, 0.5f, 0.5f, 0, 0, -0.0f, 0}), "minmax:group=4");
    QVERIFY((constant.quantized->scale->values == std::vector<float>{1, 1}));
    QVERIFY((decodeAll(*constant.quantized) == std::vector<float>{0.5f, 0.5f, 0.5f, 0.5f, 0, 0, 0, 0}));
    // A range whose step float16 would round to 0 keeps float16's smallest step.
    const Outcome tiny = outcomeOf(Tensor::fromFloats("w", {1, 2}, {0, 1e-8f}), "minmax:group=2");
    QCOMPARE(tiny.quantized->scale->values[0], 0x1p-24f);
    QVERIFY((decodeAll(*tiny.quantized) == std::vector<float>{0, 0}));
    const Outcome one = outcomeOf(Tensor::fromFloats("w", {1, 1}, {0.25f}), "minmax:bits=1,group=1");
    QVERIFY((decodeAll(*one.quantized) == std::vector<float>{0.25f}));
  }

  void parametersThatDoNotFit() {
    const auto refused = run(Tensor::fromFloats("w", {2, 2}, {0, 1, 1e5f, 1e5f}), *Choice::parse("minmax:group=2"), {});
    QVERIFY(!refused);
    QVERIFY2(refused.error().message.find("group 1: minimum 1e+05") != std::string::npos, refused.error().message.c_str());
    const auto huge = run(Tensor::fromFloats("w", {1, 2}, {-3e38f, 3e38f}), *Choice::parse("minmax:group=2,params=f32"), {});
    QVERIFY(!huge);
    QVERIFY2(huge.error().message.find("group 0: scale") != std::string::npos, huge.error().message.c_str());
  }

  void sizes() {
    const Tensor tensor = Tensor::fromFloats("w", {64, 640}, std::vector<float>(64 * 640, 0.5f));
    QCOMPARE(bitsPerWeight(*outcomeOf(tensor, "minmax").quantized), 3.2 + 0.5);
    // Six 5-bit codes a word, the last word filled: ceil(40960 / 6) words.
    QCOMPARE(bitsPerWeight(*outcomeOf(tensor, "minmax:bits=5,group=128,params=f32").quantized), 6827 * 32.0 / 40960 + 0.5);
  }

  void affineAsMlx_data() {
    QTest::addColumn<int>("index");
    const json golden = test::loadJson("mlx_affine.json");
    for (std::size_t i = 0; i < golden["cases"].size(); ++i)
      QTest::newRow(golden["cases"][i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }
  void affineAsMlx() {
    QFETCH(int, index);
    static const json golden = test::loadJson("mlx_affine.json");
    const json &row = golden["cases"][static_cast<std::size_t>(index)], &settings = row["settings"], &expect = row["expect"];
    const Tensor tensor = Tensor::fromFloats("m.weight", {6, 128}, test::floatsFromJson(golden["weights"]));
    const std::string params = settings["params"];
    const int bits = settings["bits"], group = settings["group"];
    const Outcome outcome = outcomeOf(tensor, "affine:bits=" + std::to_string(bits) + ",group=" + std::to_string(group) + ",params=" + params);
    const auto arrays = findFormat("mlx")->pack({"m.weight", outcome.quantized.get(), std::nullopt});
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    QCOMPARE(arrays->size(), std::size_t{3});
    std::size_t i = 0;
    for (const auto& [name, hex, shape] : {std::tuple{"m.weight", "weight_hex", "weight_shape"}, {"m.scales", "scales_hex", "groups_shape"},
                                          {"m.biases", "biases_hex", "groups_shape"}}) {
      const RawTensor& array = (*arrays)[i++];
      QCOMPARE(array.name, std::string(name));
      QCOMPARE(array.shape, expect[shape].get<Shape>());
      const auto wanted = test::bytesFromHex(expect[hex]);
      QCOMPARE(array.bytes().size(), wanted.size());
      QVERIFY2(std::memcmp(array.bytes().data(), wanted.data(), wanted.size()) == 0, name);
    }
    const auto decoded = decodeAll(*outcome.quantized);
    const auto raw = test::bytesFromHex(expect["decoded_hex"]);
    const std::size_t width = params == "f32" ? 4 : 2;
    QCOMPARE(raw.size(), decoded.size() * width);
    for (std::size_t k = 0; k < decoded.size(); ++k) {
      std::uint32_t pattern = 0;
      std::memcpy(&pattern, raw.data() + k * width, width);
      const float theirs = params == "f16"    ? kernels::halfToFloat(static_cast<std::uint16_t>(pattern))
                           : params == "bf16" ? std::bit_cast<float>(pattern << 16)
                                              : std::bit_cast<float>(pattern);
      QCOMPARE(decoded[k], theirs);
    }
    QCOMPARE(bitsPerWeight(*outcome.quantized), bits + (params == "f32" ? 64.0 : 32.0) / group);
  }

  void sameOnEveryBackend() {
    std::vector<float> weights(70001);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i * i));
    const Tensor tensor = Tensor::fromFloats("w", {1, weights.size()}, weights);
    for (const int bits : {1, 3, 8}) {
      const std::string text = "minmax:group=37,bits=" + std::to_string(bits);
      const Outcome host = outcomeOf(tensor, text, "host"), simd = outcomeOf(tensor, text, "simd");
      QVERIFY(host.quantized->codes == simd.quantized->codes);
      QVERIFY(host.quantized->scale->values == simd.quantized->scale->values);
    }
  }
};

QTEST_APPLESS_MAIN(TestMinmaxGolden)
#include "test_minmax_golden.moc"
