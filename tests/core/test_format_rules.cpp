// SPDX-License-Identifier: GPL-3.0-or-later
// What each format refuses, in words a person understands, and what each runtime asks for beyond the format.
#include "core/formats/format.h"
#include "core/formats/model_rules.h"
#include "core/run/run.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <cmath>

using namespace nibble;

namespace {

std::vector<float> wave(std::uint64_t count) {
  std::vector<float> values(count);
  for (std::uint64_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i) * 0.37f) * 0.2f - 0.01f;
  return values;
}

std::shared_ptr<const QuantizedTensor> quantized(const std::string& choice, const Shape& shape) {
  const Tensor tensor = Tensor::fromFloats("m.weight", shape, wave(elementCount(shape)));
  const auto parsed = Choice::parse(choice);
  const auto outcome = parsed ? run(tensor, *parsed, {}) : Result<Outcome>(fail(parsed.error()));
  if (!outcome) qFatal("%s: %s", choice.c_str(), outcome.error().message.c_str());
  return outcome->quantized;
}

struct Refusal {
  const char *format, *choice;
  Shape shape;
  const char* says;  // nullptr: held
};

const std::vector<Refusal>& refusals() {
  static const std::vector<Refusal> rows = {
      {"hqq", "hqq", {64, 64}, nullptr},
      {"hqq", "hqq:bits=3,group=0", {64, 64}, "without a group size"},
      {"hqq", "hqq:nested=true", {64, 128}, "quantized themselves"},
      {"hqq", "uniform:bits=7,granularity=channel", {64, 64}, "not 7"},
      {"hqq", "uniform:bits=12", {64, 64}, "not 12"},
      {"hqq", "hqq:group=64", {3, 64}, "3 grouped rows do not fill 4bit_u8"},
      {"hqq", "uniform:bits=4,granularity=group,group=48", {64, 64}, "neither runs along the input nor"},
      {"hqq", "minmax", {64, 64}, "adds a minimum after scaling"},
      {"hqq", "nf4", {64, 64}, "not evenly spaced"},
      {"hqq", "hqq", {2, 64, 64}, "are matrices"},
      {"bnb", "nf4", {64, 64}, nullptr},
      {"bnb", "nf4:params=f16", {64, 64}, nullptr},
      {"bnb", "fp4:nested=true", {3, 7, 9}, nullptr},
      {"bnb", "codebook:bits=4,granularity=tensor", {64, 64}, "scales by the block"},
      {"bnb", "codebook:bits=3,granularity=tensor", {64, 64}, "NF4 or FP4 levels"},
      {"bnb", "hqq", {64, 64}, "NF4 or FP4 levels"},
      {"gptq", "uniform:bits=4,granularity=group,group=32", {64, 64}, nullptr},
      {"gptq", "uniform:bits=8,granularity=tensor", {64, 64}, nullptr},
      {"gptq", "uniform:bits=5,granularity=group,group=32", {64, 64}, "not 5"},
      {"gptq_p", "uniform:bits=5,granularity=group,group=32", {64, 64}, nullptr},
      {"gptq_p", "uniform:bits=4,granularity=group,group=32", {64, 64}, "3, 5, 6 or 7 bits, not 4"},
      {"awq", "uniform:bits=4,granularity=group,group=32", {64, 64}, nullptr},
      {"awq", "uniform:bits=4,granularity=channel", {8, 50}, nullptr},
      {"awq", "uniform:bits=3,granularity=group,group=32", {64, 64}, "not 3"},
      {"awq", "uniform:bits=4,granularity=group,group=48", {64, 64}, "the last group is shorter"},
      {"awq", "uniform:bits=4,granularity=group,group=32", {12, 64}, "multiple of 8"},
      {"awq", "uniform:bits=4,granularity=channel,params=f32", {64, 64}, "not exact in float16"},
      {"awq", "hqq", {64, 64}, "zero points are not whole codes"},
      {"awq", "nf4", {64, 64}, "not evenly spaced"},
      {"gptq", "uniform:bits=4,granularity=group,group=48", {64, 64}, "the last group is shorter: 48 does not divide 64"},
      {"gptq", "uniform:bits=4,granularity=column", {64, 64}, "every column has its own scale"},
      {"gptq", "uniform:bits=4,granularity=group,group=32", {48, 64}, "multiples of 32"},
      {"gptq", "uniform:bits=4,granularity=group,group=16", {64, 48}, "multiples of 32"},
      {"gptq", "uniform:bits=4,granularity=channel,params=f32", {64, 64}, "not exact in float16"},
      {"gptq", "hqq", {64, 64}, "zero points are not whole codes"},
      {"gptq", "minmax", {64, 64}, "integer zero point"},
      {"gptq", "nf4", {64, 64}, "not evenly spaced"},
      {"fp8", "fp8", {64, 64}, nullptr},
      {"fp8", "fp8:granularity=block,group=32", {64, 96}, nullptr},
      {"fp8", "fp8:granularity=block,group=32", {50, 70}, nullptr},
      {"fp8", "fp8:granularity=group,group=32", {64, 96}, nullptr},
      {"fp8", "fp8:element=e5m2,granularity=tensor", {64, 64}, nullptr},
      {"fp8", "mxfp8", {64, 64}, nullptr},
      {"fp8", "fp8:granularity=block,group=24", {64, 64}, "not powers of two"},
      {"fp8", "fp8", {2, 64, 64}, "are matrices"},
      {"fp8", "uniform:bits=8", {64, 64}, "not 8-bit floats"},
      {"gpt-oss", "mxfp4", {64, 64}, "read, not written"},
      {"document000", "minmax:bits=3", {64, 64}, nullptr},
      {"document000", "minmax:bits=4", {64, 64}, "4 bits do not fit"},
      {"document000", "minmax:bits=3,group=50", {7, 9}, nullptr},
      {"document000", "uniform:bits=3,granularity=channel", {64, 64}, "adds a minimum after scaling"},
      {"npz", "codebook:bits=3,granularity=channel", {7, 9, 3}, nullptr},
      {"npz", "float:type=f32", {9}, nullptr},
  };
  return rows;
}

// Positive weights alone: affine codes start at 0, so zero points are 0.
std::shared_ptr<const QuantizedTensor> positiveOnly() {
  std::vector<float> values = wave(64 * 64);
  for (float& value : values) value = std::fabs(value) + 0.01f;
  return run(Tensor::fromFloats("m.weight", {64, 64}, values),
             *Choice::parse("uniform:bits=4,granularity=group,group=32,symmetric=false"), {})
      ->quantized;
}

}  // namespace

class TestFormatRules : public QObject {
  Q_OBJECT
 private slots:
  void refusal_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < refusals().size(); ++i)
      QTest::addRow("%s %s %s", refusals()[i].format, refusals()[i].choice, toText(refusals()[i].shape).c_str())
          << static_cast<int>(i);
  }

  void refusal() {
    QFETCH(int, index);
    const Refusal& row = refusals()[static_cast<std::size_t>(index)];
    const Format* format = findFormat(row.format);
    const auto tensor = quantized(row.choice, row.shape);
    const auto reason = format->refusal(*tensor);
    const auto arrays = format->pack({"m.weight", tensor.get(), std::nullopt});
    QCOMPARE(arrays.has_value(), !reason.has_value());
    QCOMPARE(format->layout(*tensor) != nullptr, !reason.has_value());
    if (row.says == nullptr) QVERIFY2(!reason, reason ? reason->c_str() : "");
    if (row.says != nullptr)
      QVERIFY2(reason && reason->find(row.says) != std::string::npos, reason ? reason->c_str() : "not refused");
    // The first rule of the format says the same.
    const std::vector<ExportLayer> layers = {{"m.weight", tensor.get(), std::nullopt}};
    const auto rules = format->preflight({}, layers);
    QVERIFY(!rules.empty() && rules.front().asked);
    QCOMPARE(rules.front().ok, !reason.has_value());
  }

  void zeroPointsOfZeroNeedVersionTwo() {
    const auto tensor = positiveOnly();
    const auto reason = findFormat("gptq")->refusal(*tensor);
    QVERIFY(reason && reason->find("gptq_v2 can") != std::string::npos);
    QVERIFY(!findFormat("gptq_v2")->refusal(*tensor));
  }

  void runtimesAskForMore_data() {
    QTest::addColumn<QString>("format");
    QTest::addColumn<QString>("runtime");
    QTest::addColumn<QString>("choice");
    QTest::addColumn<QString>("broken");  // rule that fails; empty: none
    QTest::newRow("vLLM wants 4 bits") << "hqq"
                                       << "vllm"
                                       << "hqq:bits=8"
                                       << "Exactly 4 bits, group 64";
    QTest::newRow("vLLM wants axis 1") << "hqq"
                                       << "vllm"
                                       << "hqq:axis=0"
                                       << "Groups run along rows (axis 1)";
    QTest::newRow("vLLM has 4 bits group 64") << "hqq"
                                              << "vllm"
                                              << "hqq"
                                              << "";
    QTest::newRow("hqq wants multiples of 8") << "hqq"
                                              << "hqq"
                                              << "hqq:bits=8,group=4"
                                              << "Group is a multiple of 8";
    QTest::newRow("hqq takes axis 0") << "hqq"
                                      << "hqq"
                                      << "hqq:axis=0"
                                      << "";
    QTest::newRow("vLLM wants kernel groups") << "gptq"
                                              << "vllm"
                                              << "uniform:bits=4,granularity=group,group=16"
                                              << "Group is -1, 32, 64 or 128";
    QTest::newRow("exllamav2 wants 4 bits") << "gptq"
                                            << "exllamav2"
                                            << "uniform:bits=8,granularity=group,group=32"
                                            << "Exactly 4 bits";
    QTest::newRow("transformers takes 8 bits") << "gptq"
                                               << "transformers"
                                               << "uniform:bits=8,granularity=group,group=32"
                                               << "";
    QTest::newRow("vLLM takes awq") << "awq"
                                    << "vllm"
                                    << "uniform:bits=4,granularity=group,group=32,symmetric=false"
                                    << "";
    QTest::newRow("transformers takes planes") << "gptq_p"
                                               << "transformers"
                                               << "uniform:bits=6,granularity=group,group=32"
                                               << "";
    QTest::newRow("bitsandbytes takes nf4") << "bnb"
                                            << "bitsandbytes"
                                            << "nf4"
                                            << "";
  }

  void runtimesAskForMore() {
    QFETCH(QString, format);
    QFETCH(QString, runtime);
    QFETCH(QString, choice);
    QFETCH(QString, broken);
    const auto tensor = quantized(choice.toStdString(), {128, 128});
    const std::vector<ExportLayer> layers = {{"m.weight", tensor.get(), std::nullopt}};
    QString failing;
    for (const RuleResult& rule : findFormat(format.toStdString())->preflight(runtime.toStdString(), layers)) {
      QVERIFY(!rule.source.empty() && !rule.detail.empty());
      if (rule.asked && !rule.ok) failing += QString::fromStdString(rule.rule);
    }
    QCOMPARE(failing, broken);
    // Without a runtime only the format's own rules are asked, and they hold.
    for (const RuleResult& rule : findFormat(format.toStdString())->preflight({}, layers)) QVERIFY(!rule.asked || rule.ok);
  }

  void layersMustAgree() {
    const auto four = quantized("hqq", {128, 128}), eight = quantized("hqq:bits=8", {128, 128});
    const std::vector<ExportLayer> kin = {{"model.layers.0.q_proj.weight", four.get(), std::nullopt},
                                          {"model.layers.1.q_proj.weight", eight.get(), std::nullopt}};
    const Format* hqq = findFormat("hqq");
    QVERIFY(!hqq->configure("", kin, {}).has_value());
    const std::vector<ExportLayer> others = {{"model.layers.0.q_proj.weight", four.get(), std::nullopt},
                                             {"model.layers.0.k_proj.weight", eight.get(), std::nullopt}};
    const auto config = hqq->configure("{\"b\": 1, \"a\": 2}", others, {"lm_head.weight"});
    QVERIFY(config.has_value());
    QVERIFY(config->find("\"b\"") < config->find("\"a\""));
    QVERIFY(!hqq->configure("[1]", others, {}).has_value());
    QVERIFY(!hqq->configure("{broken", others, {}).has_value());
  }

  // Rules about the model as a whole, whatever the format.
  void modelRulesSeeFusedTiedAndSplitLayers() {
    const auto four = quantized("uniform:bits=4,granularity=group,group=32", {64, 128});
    const auto eight = quantized("uniform:bits=8,granularity=group,group=32", {64, 128});
    const auto wide = quantized("uniform:bits=4,granularity=group,group=64", {64, 128});
    const auto failing = [](std::string_view runtime, const std::vector<ExportLayer>& layers, const ModelFacts& facts) {
      std::string rules;
      for (const RuleResult& rule : modelRules(runtime, layers, facts)) {
        if (rule.source.empty() || rule.detail.empty()) return std::string("says nothing");
        if (rule.asked && !rule.ok) rules += rule.rule + ": " + rule.detail;
      }
      return rules;
    };
    const ExportLayer q{"l.0.q_proj.weight", four.get(), std::nullopt}, k{"l.0.k_proj.weight", eight.get(), std::nullopt},
        other{"l.1.k_proj.weight", eight.get(), std::nullopt}, down{"l.0.down_proj.weight", wide.get(), std::nullopt},
        head{"lm_head.weight", four.get(), std::nullopt}, gate{"l.0.gate_proj.weight", four.get(), std::nullopt},
        up{"l.0.up_proj.weight", wide.get(), std::nullopt};
    QVERIFY(failing("vllm", {q, k}, {}).find("l.0.q_proj.weight has 4 bits, group 32, l.0.k_proj.weight 8 bits") != std::string::npos);
    QVERIFY(failing("vllm", {gate, up}, {}).find("group 64") != std::string::npos);
    QCOMPARE(failing("transformers", {q, k}, {}), std::string());
    QCOMPARE(failing("vllm", {q, other}, {}), std::string());
    QVERIFY(failing("vllm", {q}, {"", {"l.0.v_proj.weight"}, 1}).find("l.0.v_proj.weight is not") != std::string::npos);
    const std::string tied = R"({"tie_word_embeddings": true})";
    for (const char* runtime : {"vllm", "transformers"}) {
      QVERIFY(failing(runtime, {head}, {tied, {}, 1}).find("Tied embeddings") == 0);
      QCOMPARE(failing(runtime, {head}, {R"({"tie_word_embeddings": false})", {}, 1}), std::string());
      QCOMPARE(failing(runtime, {q}, {tied, {}, 1}), std::string());
    }
    QCOMPARE(failing("vllm", {down, q}, {"", {}, 2}), std::string());  // 64 inputs each, group 64
    QVERIFY(failing("vllm", {down}, {"", {}, 4}).find("32 inputs each, which groups of 64 do not divide") != std::string::npos);
    QVERIFY(failing("vllm", {q}, {"", {}, 16}).find("64 outputs are not whole words") != std::string::npos);
    QCOMPARE(failing("transformers", {down}, {"", {}, 4}), std::string());
    // Advice is never asked, and tells of Marlin and later splits.
    std::string advice;
    for (const RuleResult& rule : modelAdvice({down, {"embed_tokens.weight", four.get(), std::nullopt}}, {})) {
      QVERIFY(!rule.asked);
      if (!rule.ok) advice += rule.rule + "; ";
    }
    QVERIFY(advice.find("Embedding tables") != std::string::npos && advice.find("split over") != std::string::npos);
    QVERIFY(advice.find("Marlin") == std::string::npos);
    const auto narrow = quantized("uniform:bits=4,granularity=group,group=32", {64, 96});
    const auto marlin = modelAdvice({{"w.weight", narrow.get(), std::nullopt}}, {}).back();
    QVERIFY(!marlin.ok && marlin.detail.find("multiple of 128") != std::string::npos);
  }

  void everyFormatSaysWhatItIs() {
    for (const Format* format : allFormats()) {
      const FormatInfo& about = format->info();
      QVERIFY(!about.summary.empty() && !about.reference.empty());
      QVERIFY(about.extension == ".safetensors" || about.extension == ".npz" || about.extension == ".gguf");
      QCOMPARE(findFormat(about.id), format);
    }
    QVERIFY(findFormat("nonsense") == nullptr);
  }
};

QTEST_APPLESS_MAIN(TestFormatRules)
#include "test_format_rules.moc"
