// SPDX-License-Identifier: GPL-3.0-or-later
// How the exl2 and mbwq schemes choose: the mix under a budget, which inputs get the wide codes, scales by the published search
// against a literal one, codes with the scale as it decodes, and a size that is the file's.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/quant/square_scales.h"
#include "core/quant/width_groups.h"
#include "core/run/run.h"
#include "core/schemes/mix.h"
#include "core/schemes/square_search.h"
#include "core/tensor/activations.h"
#include "core/tensor/synthetic.h"

#include <QtTest>

#include <cmath>

using namespace nibble;

namespace {

Outcome outcomeOf(const Tensor& tensor, const std::string& choice, const Context& context = {}) {
  const auto parsed = Choice::parse(choice);
  if (!parsed) qFatal("%s", parsed.error().message.c_str());
  auto outcome = run(tensor, *parsed, context);
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *std::move(outcome);
}

std::string refusalOf(const std::string& choice, MatrixSize size) {
  return Choice::parse(choice)->refusal(size).value_or("");
}

// The search as it is written down, in double.
std::uint16_t literalMaximum(const std::vector<float>& weights, std::uint64_t outputs, int bits) {
  std::vector<double> base(outputs, 0);
  for (std::size_t i = 0; i < weights.size(); ++i)
    base[i % outputs] = std::max(base[i % outputs], std::fabs(static_cast<double>(weights[i])));
  double top = 0;
  for (double& b : base) top = std::max(top, b = 2 * (b + 1e-12) / ((1 << bits) - 1));
  double best = 0, least = HUGE_VAL;
  for (int i = 0; i <= 96; ++i) {
    const double p = 0.70 + 0.50 * i / 96;
    double error = 0;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      const double root = std::min(16.0, std::max(1.0, std::nearbyint(16 * std::sqrt(base[k % outputs] / top))));
      const double scale = top * root * root / 256 * p;
      const double level =
          std::min((1 << (bits - 1)) - 1.0, std::max(-(1 << (bits - 1)) * 1.0, std::nearbyint(weights[k] / scale)));
      error += std::pow(std::fabs(level * scale - weights[k]) / top, 3.5);
    }
    if (error < least) {
      least = error;
      best = top * p;
    }
  }
  return kernels::floatToHalf(static_cast<float>(best));
}

}  // namespace

class TestExl2Scheme : public QObject {
  Q_OBJECT
 private slots:
  void mixesAsText() {
    const auto mix = parseMix("4b:0.9@128+3b:0.1@128");
    QVERIFY(mix.has_value());
    QCOMPARE(mixText(*mix), std::string("4b:0.9@128+3b:0.1@128"));
    for (const auto& [text, why] : std::vector<std::pair<const char*, const char*>>{{"4b", "expected"},
                                                                                    {"", "expected"},
                                                                                    {"4b:0.9@128", "add up to 0.9"},
                                                                                    {"7b:1@128", "7 bits"},
                                                                                    {"3b:0.5@64+4b:0.5@64", "descend"},
                                                                                    {"4b:0.5@64+4b:0.5@64", "descend"},
                                                                                    {"4b:1@48", "multiple of 32"},
                                                                                    {"4b:nan@64", "share"},
                                                                                    {"4b:-1@64+3b:2@64", "share"}}) {
      const auto wrong = parseMix(text);
      QVERIFY2(!wrong && wrong.error().message.find(why) != std::string::npos, text);
    }
    QVERIFY(refusalOf("exl2:mix=4b:1@48", {64, 64}).find("multiple of 32") != std::string::npos);
  }

  // exllamav2 rounds the number of groups up, green-bit-llm down; the last width takes what is left.
  void sharesAsGroups() {
    const auto mix = *parseMix("4b:0.3@64+2b:0.7@64");
    const std::vector<WidthGroup> up{{4, 64}, {4, 64}, {2, 64}, {2, 64}}, down{{4, 64}, {2, 64}, {2, 64}, {2, 64}};
    QCOMPARE(groupsOfMix(mix, 256, ShareRounding::Up), up);
    QCOMPARE(groupsOfMix(mix, 256, ShareRounding::Down), down);
    const std::vector<WidthGroup> shorter{{4, 64}, {4, 64}, {2, 64}, {2, 32}};
    QCOMPARE(groupsOfMix(mix, 224, ShareRounding::Up), shorter);
    const auto nine = *parseMix("4b:0.9@32+3b:0.1@32");
    QCOMPARE(groupsOfMix(nine, 320, ShareRounding::Up).at(9).bits, std::uint8_t{3});
    QCOMPARE(groupsOfMix(*parseMix("4b:0.01@64+2b:0.99@64"), 256, ShareRounding::Down).front().bits, std::uint8_t{4});
  }

  void budgetIsKept_data() {
    QTest::addColumn<double>("bpw");
    for (const double bpw : {2.3, 2.5, 3.0, 3.25, 4.0, 4.25, 5.0, 6.5, 8.2}) QTest::addRow("%g", bpw) << bpw;
  }

  void budgetIsKept() {
    QFETCH(double, bpw);
    const Tensor tensor = syntheticTensor(Distribution::Gauss, {512, 512}, 3);
    const Outcome outcome = outcomeOf(tensor, "exl2:bpw=" + QString::number(bpw).toStdString());
    const double bits = bitsPerWeight(*outcome.quantized);
    QVERIFY2(bits <= bpw && bits > bpw - 0.35, QByteArray::number(bits).constData());
    // What is said is what a file holds.
    const Format& format = *findFormat("exl2");
    const ExportLayer layer{"m.weight", outcome.quantized.get(), std::nullopt};
    const auto arrays = format.pack(layer);
    QVERIFY(arrays.has_value());
    QCOMPARE(format.payloadBytes(layer, *arrays), storageSize(*outcome.quantized).total());
    QCOMPARE(format.layout(*outcome.quantized)->sizeBytes(), outcome.quantized->layout->sizeBytes());
  }

  void sizesAreTheFiles() {
    for (const char* choice : {"mbwq", "mbwq:bits=2,group=64", "mbwq:group=160", "mbwq:mix=8b:0.25@64+3b:0.75@32",
                               "exl2:mix=8b:0.25@64+3b:0.75@32"}) {
      for (const Shape& shape : {Shape{64, 256}, Shape{40, 256}}) {
        const Outcome outcome = outcomeOf(syntheticTensor(Distribution::Gauss, shape, 3), choice);
        const Format& format = *findFormat(std::string(choice).substr(0, 4));
        const ExportLayer layer{"m.weight", outcome.quantized.get(), std::nullopt};
        const auto arrays = format.pack(layer);
        QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
        QCOMPARE(format.payloadBytes(layer, *arrays), storageSize(*outcome.quantized).total());
      }
    }
  }

  void budgetThatCannotBeMetSaysWhatCould() {
    const std::string reason = refusalOf("exl2:bpw=2", {64, 256});
    QVERIFY2(reason.find("smallest mix takes 2.574 bits") != std::string::npos, reason.c_str());
    QVERIFY(refusalOf("exl2", {64, 100}).find("multiple of 32") != std::string::npos);
    QVERIFY(refusalOf("mbwq", {64, 65536}).find("more than 65535") != std::string::npos);
    QVERIFY(refusalOf("mbwq:group=40", {64, 128}).find("multiple of 32") != std::string::npos);
  }

  void searchIsTheWrittenOne_data() {
    QTest::addColumn<int>("bits");
    for (const int bits : {2, 3, 4, 5, 6, 8}) QTest::addRow("%d", bits) << bits;
  }

  void searchIsTheWrittenOne() {
    QFETCH(int, bits);
    const auto weights = *syntheticTensor(Distribution::Gauss, {64, 48}, 9).readAll();
    const auto found = searchSquareScales(weights, 48, bits);
    QVERIFY(found.has_value());
    QCOMPARE(int{found->maximum}, int{literalMaximum(weights, 48, bits)});
    for (std::size_t n = 0; n < 48; ++n)
      QCOMPARE(found->scale[n], squareScale(squareScaleUnit(found->maximum), found->codes[n]));
  }

  // Codes are the nearest under the decoded scale, not under the ideal one.
  void codesFollowTheDecodedScale() {
    const Tensor tensor = syntheticTensor(Distribution::Gauss, {32, 64}, 4);
    const Outcome outcome = outcomeOf(tensor, "exl2:mix=5b:0.5@32+3b:0.5@32");
    const QuantizedTensor& quantized = *outcome.quantized;
    const auto weights = *tensor.readAll();
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float scale = quantized.scale->values[quantized.scale->grouping.groupOf(i)];
      QCOMPARE(quantized.codes.at(i), std::int64_t{squareCode(weights[i], scale, i % 64 < 32 ? 5 : 3)});
    }
  }

  void groupsOfZeros() {
    std::vector<float> values(32 * 64, 0.0f);
    for (std::size_t n = 0; n < 32; ++n) values[n * 64 + 40] = 0.25f;
    const Outcome outcome = outcomeOf(Tensor::fromFloats("w", {32, 64}, values), "exl2:mix=4b:1@32");
    const auto decoded = decodeAll(*outcome.quantized);
    for (std::size_t i = 0; i < decoded.size(); ++i)
      if (values[i] == 0) QCOMPARE(decoded[i], 0.0f);
    const Outcome scaled = outcomeOf(Tensor::fromFloats("w", {32, 64}, values), "mbwq:group=64");
    for (std::size_t i = 0; i < decoded.size(); ++i) QCOMPARE(decodeAll(*scaled.quantized)[i], values[i]);
  }

  // What comes in most gets the widest codes, in both schemes; without a word about the inputs the order is the model's.
  void importantInputsFirst() {
    const Tensor tensor = syntheticTensor(Distribution::Gauss, {32, 128}, 4);
    ActivationData data;
    LayerInputs inputs;
    inputs.channels = 128;
    for (int k = 0; k < 128; ++k) inputs.meanSquares.push_back(static_cast<float>(k % 4 == 1 ? 100 + k : 1));
    QVERIFY(data.add(tensor.name(), inputs).has_value());
    Context context;
    context.activations = &data;
    for (const std::string scheme : {"exl2", "mbwq"}) {
      const std::string choice = scheme + ":mix=8b:0.25@32+2b:0.75@32";
      const Outcome plain = outcomeOf(tensor, choice), known = outcomeOf(tensor, choice, context);
      QVERIFY(plain.quantized->notes.size() == known.quantized->notes.size() + 1);
      for (std::uint32_t k = 0; k < 128; ++k) QCOMPARE(plain.quantized->order[k], k);
      QCOMPARE(known.quantized->order[0], 125u);
      for (std::size_t k = 0; k < 32; ++k) QCOMPARE(known.quantized->order[k] % 4, 1u);
      // Weighted by the inputs the error is far smaller.
      const auto weighted = [&](const Outcome& outcome) {
        const auto weights = *tensor.readAll(), decoded = decodeAll(*outcome.quantized);
        double sum = 0;
        for (std::size_t i = 0; i < weights.size(); ++i)
          sum += std::pow(static_cast<double>(weights[i]) - decoded[i], 2) * inputs.meanSquares[i % 128];
        return sum;
      };
      QVERIFY(weighted(known) < 0.1 * weighted(plain));
    }
  }

  // With samples of the inputs what one weight loses is made up for by others: the outputs are nearer, though the weights are not.
  void samplesCompensate() {
    constexpr std::uint64_t rows = 32, columns = 96, tokens = 256;
    const Tensor tensor = syntheticTensor(Distribution::Gauss, {rows, columns}, 9);
    const std::vector<float> sources = *syntheticTensor(Distribution::Gauss, {tokens, columns}, 5).readAll();
    LayerInputs inputs, squares;
    inputs.channels = squares.channels = columns;
    inputs.tokens = tokens;
    for (std::uint64_t t = 0; t < tokens; ++t)  // each input is much like its neighbour
      for (std::uint64_t k = 0; k < columns; ++k)
        inputs.samples.push_back(sources[t * columns + k] + 0.9f * sources[t * columns + (k + 1) % columns]);
    squares.meanSquares.assign(columns, 0);
    for (std::size_t i = 0; i < inputs.samples.size(); ++i)
      squares.meanSquares[i % columns] += inputs.samples[i] * inputs.samples[i] / static_cast<float>(tokens);
    const auto lossOf = [&](const LayerInputs& known) {
      ActivationData data;
      if (!data.add(tensor.name(), known)) qFatal("activations");
      Context context;
      context.activations = &data;
      const Outcome outcome = outcomeOf(tensor, "exl2:mix=4b:0.34@32+2b:0.66@32", context);
      const auto weights = *tensor.readAll(), decoded = decodeAll(*outcome.quantized);
      double loss = 0;
      for (std::uint64_t t = 0; t < tokens; ++t) {
        for (std::uint64_t n = 0; n < rows; ++n) {
          double sum = 0;
          for (std::uint64_t k = 0; k < columns; ++k)
            sum += (static_cast<double>(weights[n * columns + k]) - decoded[n * columns + k]) * inputs.samples[t * columns + k];
          loss += sum * sum;
        }
      }
      return std::pair(loss, *outcome.quantized);
    };
    const auto [plain, plainly] = lossOf(squares);
    const auto [compensated, tensorOfIt] = lossOf(inputs);
    QVERIFY2(compensated < 0.9 * plain, qPrintable(QString("%1 and %2").arg(compensated).arg(plain)));
    QCOMPARE(tensorOfIt.order, plainly.order);  // the same inputs get the wide codes
    QVERIFY(!findFormat("exl2")->refusal(tensorOfIt));
    QVERIFY(lossOf(inputs).second.codes == tensorOfIt.codes);
  }

  void whatDoesNotFitHalfIsRefused() {
    const Tensor tensor = Tensor::fromFloats("w", {32, 32}, std::vector<float>(1024, 1e6f));
    for (const char* choice : {"exl2:mix=4b:1@32", "mbwq"}) {
      const auto outcome = run(tensor, *Choice::parse(choice), {});
      QVERIFY(!outcome);
      QVERIFY2(outcome.error().message.starts_with("w: ") && outcome.error().message.find("float16") != std::string::npos,
               outcome.error().message.c_str());
    }
  }
};

QTEST_APPLESS_MAIN(TestExl2Scheme)
#include "test_exl2_scheme.moc"
