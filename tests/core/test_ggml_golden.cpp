// SPDX-License-Identifier: GPL-3.0-or-later
// The schemes of GGUF's block types against ggml 0.25.3 (default build) and gguf 0.19: bytes of the packed tensor and decoded
// floats, the sign of zero included, with and without importance weights. tests/data/ggml_blocks.json is the golden files of the
// legacy, k-quant, iq4 and ternary types in one, without the types that have no quantizer here and the decode-only cases.
#include "core/quant/blocks.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "core/tensor/activations.h"
#include "kernels/backend.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <algorithm>
#include <bit>

using namespace nibble;
using nibble::test::floatsFromJson;

namespace {

const nlohmann::json& golden() {
  static const auto data = nibble::test::loadJson("ggml_blocks.json");
  return data;
}

std::string idOf(const std::string& type) {
  std::string id = type;
  std::transform(id.begin(), id.end(), id.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return id;
}

Result<Outcome> quantized(const std::string& id, std::uint64_t rows, std::uint64_t columns, std::vector<float> weights,
                          const std::vector<float>& importance, const kernels::Backend& backend) {
  ActivationData activations;
  if (!importance.empty()) {
    LayerInputs inputs;
    inputs.channels = columns;
    inputs.meanSquares = importance;
    if (const auto status = activations.add("w", std::move(inputs)); !status) return fail(status.error());
  }
  Context context;
  context.backend = &backend;
  context.activations = &activations;
  return run(Tensor::fromFloats("w", {rows, columns}, std::move(weights)), *Choice::parse(id), context, {.percentile = false});
}

}  // namespace

class TestGgmlGolden : public QObject {
  Q_OBJECT
 private slots:
  void cases_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < golden()["cases"].size(); ++i) {
      const auto& entry = golden()["cases"][i];
      QTest::newRow((entry["type"].get<std::string>() + " " + entry["name"].get<std::string>()).c_str()) << static_cast<int>(i);
    }
  }
  void cases() {
    QFETCH(int, index);
    const auto& entry = golden()["cases"][static_cast<std::size_t>(index)];
    const auto weights =
        floatsFromJson(entry["input"].is_string() ? golden()["inputs"][entry["input"].get<std::string>()] : entry["input"]);
    const auto importance = entry["imatrix"].is_null() ? std::vector<float>() : floatsFromJson(entry["imatrix"]);
    const auto expected = nibble::test::bytesFromHex(entry["bytes_hex"].get<std::string>());
    for (const kernels::Backend* backend : kernels::allBackends()) {
      if (!backend->unusableReason().empty()) continue;
      const auto outcome = quantized(idOf(entry["type"]), entry["rows"], entry["cols"], weights, importance, *backend);
      QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
      const auto bytes = toBlocks(*outcome->quantized);
      QVERIFY2(bytes.has_value(), bytes ? "" : bytes.error().message.c_str());
      QCOMPARE(bytes->size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) QCOMPARE(static_cast<std::uint8_t>((*bytes)[i]), expected[i]);
      if (entry["dequantized"].is_null()) continue;
      const auto floats = floatsFromJson(entry["dequantized"]), decoded = decodeAll(*outcome->quantized);
      QCOMPARE(decoded.size(), floats.size());
      for (std::size_t i = 0; i < floats.size(); ++i)
        QCOMPARE(std::bit_cast<std::uint32_t>(decoded[i]), std::bit_cast<std::uint32_t>(floats[i]));
    }
  }

  void sizeIsThatOfTheBlocks() {
    const std::vector<float> weights(2 * 512, 0.25f);
    for (const BlockType type : allBlockTypes()) {
      const auto id = idOf(std::string(blockTypeName(type)));
      const Scheme* scheme = findScheme(id);
      if (scheme == nullptr || scheme->info().family != Family::Gguf) continue;
      const auto outcome = quantized(id, 2, 512, weights, {}, kernels::defaultBackend());
      QVERIFY(outcome.has_value());
      QCOMPARE(bitsPerWeight(*outcome->quantized), blockBitsPerWeight(type));
    }
  }

  void refusesColumnsThatBlocksDoNotDivide() {
    const auto outcome = quantized("q4_k", 2, 640, std::vector<float>(1280, 1.0f), {}, kernels::defaultBackend());
    QVERIFY(!outcome.has_value());
    QVERIFY2(outcome.error().message.find("q4_k needs columns in multiples of 256; this matrix has 640") != std::string::npos,
             outcome.error().message.c_str());
  }

  // Where the reference writes an infinite scale in silence, ours names the block.
  void refusesScalesBeyondFloat16() {
    for (const auto& [id, weight] : {std::pair{"q4_0", 1e9f}, {"q8_0", 1e9f}, {"q4_k", 2e8f}, {"q6_k", 1e30f}, {"iq4_xs", 3e8f},
                                     {"tq2_0", 1e5f}, {"q4_k", -3e38f}}) {
      std::vector<float> weights(4 * 512, 0.5f);
      weights[3 * 512 + 300] = weight;
      for (const kernels::Backend* backend : kernels::allBackends()) {
        if (!backend->unusableReason().empty()) continue;
        const auto outcome = quantized(id, 4, 512, weights, {}, *backend);
        QVERIFY(!outcome.has_value());
        QVERIFY2(outcome.error().message.starts_with("w: ") && outcome.error().message.find("block") != std::string::npos,
                 outcome.error().message.c_str());
      }
    }
  }

  void saysWhetherImportanceWasUsed() {
    const std::vector<float> weights(512, 0.5f), importance(512, 2.0f);
    const auto notes = [&](const char* id, const std::vector<float>& given) {
      const auto outcome = quantized(id, 1, 512, weights, given, kernels::defaultBackend());
      std::string all;
      for (const auto& note : outcome->quantized->notes) all += note;
      return all;
    };
    QVERIFY(notes("q4_k", importance).find("weighted by the importance of 512 input channels") != std::string::npos);
    QVERIFY(notes("q4_k", {}).find("no importance weights") != std::string::npos);
    QVERIFY(notes("q8_0", importance).find("ignored") != std::string::npos);
    QVERIFY(notes("q8_0", {}).empty());
  }
};

QTEST_APPLESS_MAIN(TestGgmlGolden)
#include "test_ggml_golden.moc"
