// SPDX-License-Identifier: GPL-3.0-or-later
// NF4 and FP4 against bitsandbytes: bytes, absmax, nested absmax and decoded floats of every golden case.
// FP4 bytes follow the rule "sign bit = x < 0" (the file gives both byte strings where they differ).
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/run.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <bit>
#include <set>

using namespace nibble;

class TestBnbGolden : public QObject {
  Q_OBJECT
 private slots:
  void dynamicMap();
  void cases_data();
  void cases();
};

namespace {

const nlohmann::json& golden() {
  static const nlohmann::json file = test::loadJson("bnb.json");
  return file;
}

std::vector<std::uint8_t> nibbles(const std::vector<std::uint8_t>& bytes) {
  std::vector<std::uint8_t> codes;
  for (const std::uint8_t byte : bytes) {
    codes.push_back(byte >> 4);
    codes.push_back(byte & 15);
  }
  return codes;
}

std::vector<float> dataOf(const nlohmann::json& value) { return test::floatsFromJson(value.is_object() ? value.at("data") : value); }

void compareFloats(const std::vector<float>& ours, const std::vector<float>& theirs, const char* what) {
  QCOMPARE(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i)
    QVERIFY2(ours[i] == theirs[i], qPrintable(QString("%1[%2]: %3 instead of %4").arg(what).arg(i).arg(ours[i]).arg(theirs[i])));
}

}  // namespace

void TestBnbGolden::dynamicMap() {
  const auto nf4 = Choice::parse("nf4:nested=true");
  const Tensor tensor = Tensor::fromFloats("w", {1, 64}, std::vector<float>(64, 1.0f));
  const auto outcome = run(tensor, *nf4, {});
  QVERIFY(outcome.has_value());
  compareFloats(outcome->quantized->scale->nested->levels.table, test::floatsFromJson(golden()["dynamic_map"]), "map");
}

void TestBnbGolden::cases_data() {
  QTest::addColumn<int>("index");
  for (std::size_t i = 0; i < golden()["cases"].size(); ++i)
    QTest::newRow(golden()["cases"][i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
}

void TestBnbGolden::cases() {
  QFETCH(int, index);
  const auto& testCase = golden()["cases"][static_cast<std::size_t>(index)];
  const auto& input = testCase["input"].contains("ref") ? golden()["inputs"][testCase["input"]["ref"].get<std::string>()] : testCase["input"];
  const auto& settings = testCase["settings"];
  const auto& expect = testCase["expect"];
  const bool nested = settings["compress_statistics"].get<bool>();
  const Tensor tensor = Tensor::fromFloats("w", input["shape"].get<Shape>(), test::floatsFromJson(input["data"]));
  const auto choice = Choice::parse(settings["quant_type"].get<std::string>() + ":block=" + std::to_string(settings["blocksize"].get<int>()) +
                                    ",nested=" + (nested ? "true" : "false"));
  QVERIFY2(choice.has_value(), choice ? "" : choice.error().message.c_str());
  const auto outcome = run(tensor, *choice, {});
  QVERIFY2(outcome.has_value(), outcome ? "" : outcome.error().message.c_str());
  const QuantizedTensor& quantized = *outcome->quantized;

  const auto packed = quantized.layout->pack(quantized.codes);
  const auto theirs = test::bytesFromHex(expect[expect.contains("packed_hex_sign_rule") ? "packed_hex_sign_rule" : "packed_hex"].get<std::string>());
  QCOMPARE(packed.size(), theirs.size());
  std::vector<std::uint8_t> ours(packed.size());
  std::memcpy(ours.data(), packed.data(), ours.size());
  const auto ambiguous = expect["ambiguous_flat_indices"].get<std::set<std::size_t>>();
  const auto ourCodes = nibbles(ours), theirCodes = nibbles(theirs);
  for (std::size_t i = 0; i < tensor.size(); ++i)
    if (ambiguous.count(i) == 0) QCOMPARE(int{ourCodes[i]}, int{theirCodes[i]});

  if (nested) {
    const QuantizedTensor& inner = *quantized.scale->nested;
    const auto codes = test::bytesFromHex(expect["absmax_u8_hex"].get<std::string>());
    QCOMPARE(inner.codes.size(), codes.size());
    for (std::size_t i = 0; i < codes.size(); ++i) QCOMPARE(inner.codes.at(i), std::int64_t{codes[i]});
    compareFloats(inner.scale->values, dataOf(expect["nested_absmax"]), "nested absmax");
    const float offset = expect["nested_offset"].get<float>();
    QVERIFY(std::abs(inner.zero->values[0] - offset) <= std::abs(offset) * 2e-7f);
    if (inner.zero->values[0] == offset) compareFloats(quantized.scale->values, dataOf(expect["absmax_dequantized"]), "absmax");
  } else {
    compareFloats(quantized.scale->values, dataOf(expect["absmax"]), "absmax");
  }
  if (expect.contains("dequantized") && ambiguous.empty() && (!nested || quantized.scale->nested->zero->values[0] == expect["nested_offset"].get<float>()))
    compareFloats(decodeAll(quantized), dataOf(expect["dequantized"]), "decoded");
}

QTEST_APPLESS_MAIN(TestBnbGolden)
#include "test_bnb_golden.moc"
