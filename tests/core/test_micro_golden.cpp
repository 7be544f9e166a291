// SPDX-License-Identifier: GPL-3.0-or-later
// Microscaling and FP8 schemes against torchao, torch and ggml: scale bytes and codes to the bit.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/run.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <algorithm>
#include <cmath>

using namespace nibble;

namespace {

std::shared_ptr<const QuantizedTensor> quantized(const std::string& choice, Shape shape, std::vector<float> values) {
  const auto outcome = run(Tensor::fromFloats("w", std::move(shape), std::move(values)), *Choice::parse(choice), {});
  if (!outcome) qFatal("%s: %s", choice.c_str(), outcome.error().message.c_str());
  return outcome->quantized;
}

std::vector<std::uint8_t> part(const QuantizedTensor& tensor, const std::string& name) {
  for (const PayloadPart& piece : payload(tensor)) {
    if (piece.name != name) continue;
    std::vector<std::uint8_t> bytes(piece.bytes.size());
    std::transform(piece.bytes.begin(), piece.bytes.end(), bytes.begin(), [](std::byte b) { return std::to_integer<std::uint8_t>(b); });
    return bytes;
  }
  return {};
}

// The choice of a golden case.
std::string choiceOf(const nlohmann::json& row) {
  const auto& settings = row["settings"];
  const std::string format = settings["format"];
  if (row["op"] == "nvfp4") return std::string("nvfp4:global=") + (settings["global_scale"].get<bool>() ? "true" : "false");
  if (row["op"] == "fp8_weight")
    return "fp8:element=" + format.substr(0, 4) + ",granularity=" + settings["granularity"].get<std::string>();
  std::string rule = settings["scale_rule"];
  std::transform(rule.begin(), rule.end(), rule.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return format.substr(0, 5) + ":element=" + format.substr(6) + ",rule=" + rule;
}

}  // namespace

class TestMicroGolden : public QObject {
  Q_OBJECT
 private slots:
  void references_data();
  void references();
  void ggml_data();
  void ggml();
  void integers();
  void lsq();
};

void TestMicroGolden::references_data() {
  QTest::addColumn<int>("index");
  const nlohmann::json golden = test::loadJson("mx_nvfp4_fp8.json");
  for (std::size_t i = 0; i < golden["cases"].size(); ++i)
    if (golden["cases"][i]["op"] != "decode" && golden["cases"][i]["op"] != "encode")
      QTest::newRow(golden["cases"][i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
}

void TestMicroGolden::references() {
  QFETCH(int, index);
  static const nlohmann::json golden = test::loadJson("mx_nvfp4_fp8.json");
  const auto& row = golden["cases"][static_cast<std::size_t>(index)];
  const auto& input = golden["inputs"][row["input"]["ref"].get<std::string>()];
  const auto& expect = row["expect"];
  const std::vector<float> values = test::floatsFromJson(input["data"]);
  const auto tensor = quantized(choiceOf(row), input["shape"].get<Shape>(), values);
  if (expect.contains("packed_hex")) QCOMPARE(part(*tensor, "codes"), test::bytesFromHex(expect["packed_hex"]));
  if (expect.contains("codes_hex")) QCOMPARE(part(*tensor, "codes"), test::bytesFromHex(expect["codes_hex"]));
  if (expect.contains("elements_hex")) {
    const std::vector<std::uint8_t> elements = test::bytesFromHex(expect["elements_hex"]);
    QCOMPARE(tensor->width.uniform == 4 ? part(*tensor, "codes") : *tensor->codes.as<std::uint8_t>(), elements);
  }
  if (expect.contains("scale_e8m0_hex")) QCOMPARE(part(*tensor, "scale"), test::bytesFromHex(expect["scale_e8m0_hex"]));
  if (expect.contains("scale_e4m3_hex"))
    QCOMPARE(part(*tensor, expect.contains("global_scale") ? "scale.codes" : "scale"), test::bytesFromHex(expect["scale_e4m3_hex"]));
  if (expect.contains("global_scale")) QCOMPARE(tensor->scale->nested->scale->values[0], expect["global_scale"].get<float>());
  if (expect.contains("scale")) QCOMPARE(tensor->scale->values, test::floatsFromJson(expect["scale"]["data"]));
  const std::vector<float> decoded = decodeAll(*tensor);
  if (expect.contains("dequantized")) {
    const std::vector<float> theirs = test::floatsFromJson(expect["dequantized"]["data"]);
    for (std::size_t i = 0; i < theirs.size(); ++i) QCOMPARE(decoded[i], theirs[i]);
  }
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += std::pow(static_cast<double>(decoded[i]) - values[i], 2);
  const double mse = expect["mse"].get<double>();
  QVERIFY(std::fabs(sum / static_cast<double>(values.size()) - mse) <= 1e-6 * mse);
}

void TestMicroGolden::ggml_data() {
  QTest::addColumn<int>("index");
  const nlohmann::json golden = test::loadJson("ggml_fp4.json");
  for (std::size_t i = 0; i < golden["cases"].size(); ++i)
    QTest::addRow("%s %s", golden["cases"][i]["type"].get<std::string>().c_str(),
                  golden["cases"][i]["name"].get<std::string>().c_str())
        << static_cast<int>(i);
}

// ggml's blocks: scale bytes, then codes; we hold them apart.
void TestMicroGolden::ggml() {
  QFETCH(int, index);
  static const nlohmann::json golden = test::loadJson("ggml_fp4.json");
  const auto& row = golden["cases"][static_cast<std::size_t>(index)];
  const bool mx = row["type"] == "MXFP4";
  const Shape shape{row["rows"].get<std::uint64_t>(), row["cols"].get<std::uint64_t>()};
  const auto tensor = quantized(mx ? "mxfp4:variant=ggml" : "nvfp4:variant=ggml", shape, test::floatsFromJson(row["input"]));
  const std::vector<std::uint8_t> bytes = test::bytesFromHex(row["bytes_hex"]);
  const std::size_t scaleBytes = mx ? 1 : 4, size = row["block_bytes"].get<std::size_t>();
  std::vector<std::uint8_t> scales, codes;
  for (std::size_t block = 0; block < bytes.size(); block += size) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(block);
    scales.insert(scales.end(), begin, begin + static_cast<std::ptrdiff_t>(scaleBytes));
    codes.insert(codes.end(), begin + static_cast<std::ptrdiff_t>(scaleBytes), begin + static_cast<std::ptrdiff_t>(size));
  }
  QCOMPARE(part(*tensor, "codes"), codes);
  const std::vector<float> decoded = decodeAll(*tensor), theirs = test::floatsFromJson(row["dequantized"]);
  for (std::size_t i = 0; i < theirs.size(); ++i) QCOMPARE(decoded[i], theirs[i]);
  // ggml's level table is doubled and its scale halved: the stored byte is the same.
  if (!mx) QCOMPARE(part(*tensor, "scale"), scales);
}

void TestMicroGolden::integers() {
  std::vector<float> values(32, 0.0f);
  values[0] = 1.0f;
  values[1] = -1.999f;          // saturates at -127/64
  values[2] = 1.0f / 128.0f;    // half a step: to even
  values[3] = 3.0f / 128.0f;
  const auto tensor = quantized("mxint8", {1, 32}, values);
  const std::vector<std::uint8_t> codes{64, 129, 0, 2};
  QVERIFY(std::equal(codes.begin(), codes.end(), tensor->codes.as<std::uint8_t>()->begin()));
  QCOMPARE(decodeAll(*tensor)[1], -127.0f / 64.0f);
}

void TestMicroGolden::lsq() {
  const nlohmann::json golden = test::loadJson("lsq.json");
  for (const auto& row : golden) {
    const std::string bits = std::to_string(row["settings"]["bits"].get<int>());
    const auto tensor = quantized("lsq:params=f32,bits=" + bits, row["input"]["weight"]["shape"].get<Shape>(),
                                  test::floatsFromJson(row["input"]["weight"]["data"]));
    const float theirs = row["expect"]["scale_init_float32"].get<float>();
    QVERIFY(std::fabs(tensor->scale->values[0] - theirs) <= 2e-7f * theirs);
    const std::int64_t middle = std::int64_t{1} << (row["settings"]["bits"].get<int>() - 1);
    const auto& codes = row["expect"]["codes"].is_object() ? row["expect"]["codes"]["data"] : row["expect"]["codes"];
    QCOMPARE(codes.size(), tensor->codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) QCOMPARE(tensor->codes.at(i) - middle, codes[i].get<std::int64_t>());
  }
}

QTEST_APPLESS_MAIN(TestMicroGolden)
#include "test_micro_golden.moc"
