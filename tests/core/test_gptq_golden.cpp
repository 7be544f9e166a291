// SPDX-License-Identifier: GPL-3.0-or-later
// Error-compensated rounding against a float64 program that AutoGPTQ agrees with (golden file): codes, scales, zero points and
// groups, with blocks, activation order and both fits. Then what must hold of it: the factor of the inverse is one, the result
// depends on neither backend nor threads, Gram matrix and samples say the same, and the weighted error falls.
#include "core/quant/decode.h"
#include "core/quant/gram.h"
#include "core/quant/input_words.h"
#include "core/run/run.h"
#include "core/tensor/activations.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <algorithm>
#include <cmath>

using namespace nibble;
using nlohmann::json;

namespace {

constexpr const char* layer = "layer.weight";

LayerInputs samplesOf(std::vector<float> values, std::uint64_t channels) {
  LayerInputs inputs;
  inputs.channels = channels;
  inputs.tokens = values.size() / channels;
  inputs.samples = std::move(values);
  return inputs;
}

ActivationData known(LayerInputs inputs) {
  ActivationData data;
  if (!data.add(layer, std::move(inputs))) qFatal("impossible inputs");
  return data;
}

Result<Outcome> runOn(const Tensor& weights, const std::string& choice, const ActivationData* data,
                      const kernels::Backend& backend = kernels::defaultBackend()) {
  Context context;
  context.activations = data;
  context.backend = &backend;
  return run(weights, *Choice::parse(choice), context, {.percentile = false});
}

// Sum over rows of e H e^T with H = 2/N X^T X.
double outputLoss(const std::vector<float>& weights, const std::vector<float>& decoded, const std::vector<float>& x, std::size_t columns) {
  const std::size_t tokens = x.size() / columns;
  double loss = 0;
  for (std::size_t row = 0; row < weights.size() / columns; ++row) {
    for (std::size_t t = 0; t < tokens; ++t) {
      double y = 0;
      for (std::size_t c = 0; c < columns; ++c)
        y += (static_cast<double>(weights[row * columns + c]) - decoded[row * columns + c]) * x[t * columns + c];
      loss += y * y;
    }
  }
  return 2 * loss / static_cast<double>(tokens);
}

std::vector<float> randomFloats(std::size_t count, std::uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 8) - (1 << 23)) * 0x1p-23f;
  }
  return values;
}

}  // namespace

class TestGptqGolden : public QObject {
  Q_OBJECT
 private slots:
  void golden_data() {
    QTest::addColumn<int>("index");
    const json file = test::loadJson("gptq_algo.json");
    for (std::size_t i = 0; i < file["cases"].size(); ++i)
      if (file["cases"][i]["expect"].contains("codes_hex"))
        QTest::newRow(file["cases"][i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }
  void golden() {
    QFETCH(int, index);
    const json file = test::loadJson("gptq_algo.json");
    const json& entry = file["cases"][static_cast<std::size_t>(index)];
    const json &settings = entry["settings"], &expect = entry["expect"];
    const Tensor weights = Tensor::fromFloats(layer, {32, 64}, test::floatsFromJson(file["inputs"]["weight"]["data"]));
    const std::vector<float> x = test::floatsFromJson(file["inputs"]["x"]["data"]);
    const ActivationData data = known(samplesOf(x, 64));
    const auto flag = [](const json& value) { return std::string(value.get<bool>() ? "true" : "false"); };
    const std::string choice = "gptq:bits=" + std::to_string(settings["bits"].get<int>()) +
                               ",group=" + std::to_string(settings["group_size"].get<int>()) + ",symmetric=" + flag(settings["sym"]) +
                               ",order=" + flag(settings["desc_act"]) + ",block=" + std::to_string(settings["block"].get<int>()) +
                               ",fit=stale,params=f32";
    const auto outcome = runOn(weights, choice, &data);
    QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
    const QuantizedTensor& quantized = *outcome->quantized;
    QVERIFY(quantized.notes.empty());
    const std::vector<std::uint8_t> codes = test::bytesFromHex(expect["codes_hex"]);
    QCOMPARE(quantized.codes.size(), codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) QCOMPARE(quantized.codes.at(i), static_cast<std::int64_t>(codes[i]));
    const auto &scales = expect["scales_out_g"]["data"], &zeros = expect["zeros_out_g"]["data"];
    QCOMPARE(quantized.scale->values.size(), scales.size());
    for (std::size_t g = 0; g < scales.size(); ++g) {
      QVERIFY(std::fabs(quantized.scale->values[g] / scales[g].get<double>() - 1) < 1e-6);
      QCOMPARE(quantized.zero->values[g], zeros[g].get<float>());
    }
    for (std::uint64_t column = 0; column < 64; ++column)
      QCOMPARE(quantized.scale->grouping.groupOf(column), expect["g_idx"][column].get<std::uint64_t>());
    const double loss = outputLoss(*weights.readAll(), decodeAll(quantized), x, 64);
    QVERIFY(std::fabs(loss / expect["gptq_error"].get<double>() - 1) < 1e-4);
    QVERIFY(loss < expect["rtn_error"].get<double>());
    // Where a group fills its block there is nothing stale.
    if (settings["block"] == settings["group_size"]) {
      std::string fresh = choice;
      fresh.replace(fresh.find("stale"), 5, "fresh");
      QVERIFY(runOn(weights, fresh, &data)->quantized->codes == quantized.codes);
    }
  }

  void freshDoesNotMindTheBlock() {
    const Tensor weights = syntheticTensor(Distribution::Gauss, {70, 200}, 3);
    const Tensor named = Tensor::fromFloats(layer, {70, 200}, *weights.readAll());
    const ActivationData data = known(samplesOf(randomFloats(300 * 200, 5), 200));
    for (const char* order : {"false", "true"}) {
      const std::string start = std::string("gptq:group=48,order=") + order + ",block=";
      const auto first = runOn(named, start + "128", &data), second = runOn(named, start + "7", &data),
                 third = runOn(named, start + "16384", &data);
      QVERIFY(first && second && third);
      QVERIFY(first->quantized->codes == second->quantized->codes);
      QVERIFY(first->quantized->codes == third->quantized->codes);
    }
    const auto stale = runOn(named, "gptq:group=48,block=200,fit=stale", &data);
    QVERIFY(stale->quantized->codes != runOn(named, "gptq:group=48,block=200", &data)->quantized->codes);
  }

  void factorOfTheInverse_data() {
    QTest::addColumn<int>("n");
    for (const int n : {1, 2, 127, 128, 129, 300}) QTest::newRow(qPrintable(QString::number(n))) << n;
  }
  void factorOfTheInverse() {
    QFETCH(int, n);
    const auto size = static_cast<std::size_t>(n);
    LayerInputs inputs = samplesOf(randomFloats((size + 10) * size, 9), size);
    const auto gram = gramMatrix(inputs, {});
    QVERIFY(gram.has_value());
    for (const std::size_t i : {std::size_t{0}, size / 2, size - 1}) {  // against plain sums
      double sum = 0;
      for (std::size_t t = 0; t < size + 10; ++t) sum += static_cast<double>(inputs.samples[t * size + i]) * inputs.samples[t * size];
      QVERIFY(std::fabs((*gram)[i * size] - sum) < 1e-10 * static_cast<double>(size + 10));
      QCOMPARE((*gram)[i * size], (*gram)[i]);
    }
    std::vector<double> damped = *gram;
    for (std::size_t i = 0; i < size; ++i) damped[i * size + i] += 1;
    std::vector<double> v = damped;
    QVERIFY(factorOfInverse(v, size, {}));
    // V H V^T = 1 says that H^-1 = V^T V.
    std::vector<double> vh(size * size);
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t k = i; k < size; ++k)
        for (std::size_t j = 0; j < size; ++j) vh[i * size + j] += v[i * size + k] * damped[k * size + j];
    for (std::size_t i = 0; i < size; ++i) {
      for (std::size_t j = 0; j < i; ++j) QCOMPARE(v[i * size + j], 0.0);
      QVERIFY(v[i * size + i] > 0);
      for (std::size_t j = 0; j < size; ++j) {
        double sum = 0;
        for (std::size_t k = j; k < size; ++k) sum += vh[i * size + k] * v[j * size + k];
        QVERIFY(std::fabs(sum - (i == j ? 1.0 : 0.0)) < 1e-9);
      }
    }
  }

  void whatIsNotPositiveDefiniteIsRefused() {
    std::vector<double> h{1, 2, 2, 1};
    const auto status = factorOfInverse(h, 2, {});
    QVERIFY(!status && status.error().message.find("positive definite") != std::string::npos);
    LayerInputs inputs;
    inputs.channels = 2;
    inputs.gram = {1, 2, 2, 1};
    const ActivationData data = known(std::move(inputs));
    const auto outcome = runOn(Tensor::fromFloats(layer, {1, 2}, {1, 2}), "gptq", &data);
    QVERIFY(!outcome && outcome.error().message.starts_with("layer.weight: "));
  }

  void sameOnEveryBackendAndThreadCount() {
    const Tensor weights = Tensor::fromFloats(layer, {150, 260}, *syntheticTensor(Distribution::HeavyTail, {150, 260}, 2).readAll());
    const ActivationData data = known(samplesOf(randomFloats(500 * 260, 4), 260));
    std::optional<Outcome> first;
    for (const kernels::Backend* backend : kernels::allBackends()) {
      if (!backend->unusableReason().empty()) continue;
      for (const int threads : {1, 2, 3}) {
        kernels::setThreadCount(threads);
        auto outcome = runOn(weights, "gptq:order=true,symmetric=false", &data, *backend);
        QVERIFY(outcome.has_value());
        if (!first) first = *std::move(outcome);
        else {
          QVERIFY(outcome->quantized->codes == first->quantized->codes);
          QVERIFY(outcome->quantized->scale->values == first->quantized->scale->values);
          QVERIFY(std::fabs(outcome->report.weightedMse / first->report.weightedMse - 1) < 1e-12);
        }
      }
    }
    kernels::setThreadCount(0);
  }

  void aGramMatrixSaysTheSame() {
    const Tensor weights = Tensor::fromFloats(layer, {40, 96}, *syntheticTensor(Distribution::Gauss, {40, 96}, 8).readAll());
    const LayerInputs samples = samplesOf(randomFloats(200 * 96, 6), 96);
    LayerInputs gram;
    gram.channels = 96;
    gram.gram = *gramMatrix(samples, {});
    const ActivationData fromSamples = known(samples), fromGram = known(gram);
    QVERIFY(runOn(weights, "gptq", &fromSamples)->quantized->codes == runOn(weights, "gptq", &fromGram)->quantized->codes);
  }

  void withoutDataItRoundsPlainlyAndSaysSo() {
    const Tensor weights = Tensor::fromFloats(layer, {1, 4}, {-8, 7, 3.4f, 0});
    const auto outcome = runOn(weights, "gptq:bits=4,group=4", nullptr);
    QVERIFY(outcome.has_value());
    QCOMPARE(outcome->quantized->notes.size(), std::size_t{1});
    QVERIFY(outcome->quantized->notes[0].find("no activations") != std::string::npos);
    // s = 16/15 in float16 (1.0664), codes rne(w / s) + 8
    const std::vector<std::int64_t> expected{0, 15, 11, 8};
    for (std::size_t i = 0; i < 4; ++i) QCOMPARE(outcome->quantized->codes.at(i), expected[i]);
    LayerInputs squares;
    squares.channels = 4;
    squares.meanSquares = {1, 2, 3, 4};
    const ActivationData data = known(std::move(squares));
    const auto weighed = runOn(weights, "gptq:bits=4,group=4", &data);
    QVERIFY(weighed->quantized->notes[0].find("only E[x^2]") != std::string::npos);
    QVERIFY(weighed->report.weightedMse > 0);
  }

  void positiveGroupsKeepTheirRange() {
    const auto outcome = runOn(Tensor::fromFloats(layer, {1, 4}, {1, 2, 3, 15}), "gptq:params=f32", nullptr);
    QCOMPARE(outcome->quantized->scale->values[0], 2.0f);
    QVERIFY(std::fabs(decodeAll(*outcome->quantized)[3] - 15) <= 1);
  }

  void deadInputsBecomeZero() {
    std::vector<float> x = randomFloats(50 * 8, 7);
    for (std::size_t t = 0; t < 50; ++t) x[t * 8 + 3] = 0;
    const ActivationData data = known(samplesOf(x, 8));
    const auto outcome = runOn(Tensor::fromFloats(layer, {2, 8}, randomFloats(16, 1)), "gptq", &data);
    const std::vector<float> decoded = decodeAll(*outcome->quantized);
    QCOMPARE(decoded[3], 0.0f);
    QCOMPARE(decoded[11], 0.0f);
    QVERIFY(outcome->quantized->notes[0].find("1 inputs are never active") != std::string::npos);
  }

  void aStopEndsIt() {
    const Tensor weights = Tensor::fromFloats(layer, {64, 64}, randomFloats(64 * 64, 1));
    const ActivationData data = known(samplesOf(randomFloats(64 * 64, 2), 64));
    std::stop_source stop;
    stop.request_stop();
    Context context;
    context.activations = &data;
    context.stop = stop.get_token();
    const auto quantized = findScheme("gptq")->quantize(weights, Choice::parse("gptq")->values(), context);
    QVERIFY(!quantized && quantized.error().kind == ErrorKind::Cancelled);
  }

  void wordsRunAlongTheInput() {
    // The golden word of AutoGPTQ: inputs 1..8 in four bits.
    std::vector<std::uint8_t> codes{1, 2, 3, 4, 5, 6, 7, 8};
    const auto words = inputWordLayout(1, 8, 4);
    QCOMPARE(wordAt(*words, Codes(codes), 0), std::uint64_t{0x87654321});
    std::vector<std::uint8_t> three(32);
    for (std::size_t i = 0; i < 32; ++i) three[i] = static_cast<std::uint8_t>((5 * i + 3) % 8);
    const auto bits = inputWordLayout(1, 32, 3);
    QCOMPARE(wordAt(*bits, Codes(three), 0), std::uint64_t{0x43C67543});
    QCOMPARE(wordAt(*bits, Codes(three), 1), std::uint64_t{0x7543C675});
    QCOMPARE(wordAt(*bits, Codes(three), 2), std::uint64_t{0xC67543C6});
    for (const int width : {2, 3, 5, 8}) {  // ragged: there and back, and the size is the bytes
      std::vector<std::uint8_t> many(5 * 13);
      for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::uint8_t>(i * 37 % (1u << width));
      const auto layout = inputWordLayout(5, 13, width);
      const auto bytes = layout->pack(Codes(many));
      QCOMPARE(bytes.size(), layout->sizeBytes());
      QVERIFY(layout->unpack(bytes, many.size()) == Codes(many));
      for (std::uint64_t word = 0; word < bytes.size() / 4; ++word) {
        std::uint32_t stored = 0;
        std::memcpy(&stored, bytes.data() + 4 * word, 4);
        QCOMPARE(wordAt(*layout, Codes(many), word), std::uint64_t{stored});
      }
    }
  }
};

QTEST_APPLESS_MAIN(TestGptqGolden)
#include "test_gptq_golden.moc"
