// SPDX-License-Identifier: GPL-3.0-or-later
// Packed bytes against the reference implementations': words of GPTQ (auto-gptq), AWQ (autoawq) and compressed-tensors, W_q of hqq, codes and absmax of bitsandbytes,
// the printed words of reference document 000. The tensors are built from the golden codes and numbers, not from our schemes.
#include "core/formats/format.h"
#include "core/quant/layout.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <cstring>

using namespace nibble;

namespace {

using Json = nlohmann::json;

const Json& cases(const char* file) {
  static std::map<std::string, Json> files;
  auto found = files.find(file);
  if (found == files.end()) found = files.emplace(file, test::loadJson(file)).first;
  return found->second["cases"];
}

std::vector<std::uint8_t> bytesOf(const RawTensor& array) {
  std::vector<std::uint8_t> bytes;
  for (const std::byte byte : array.bytes()) bytes.push_back(std::to_integer<std::uint8_t>(byte));
  return bytes;
}

const RawTensor* find(const std::vector<RawTensor>& arrays, const std::string& name) {
  for (const RawTensor& array : arrays)
    if (array.name == name) return &array;
  return nullptr;
}

std::vector<float> halvesFromHex(const std::string& hex) {
  const auto bytes = test::bytesFromHex(hex);
  std::vector<float> values;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
    values.push_back(kernels::halfToFloat(static_cast<std::uint16_t>(bytes[i] | bytes[i + 1] << 8)));
  return values;
}

QuantizedTensor integerTensor(std::uint64_t rows, std::uint64_t columns, std::vector<std::uint8_t> codes, int bits) {
  QuantizedTensor tensor;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  tensor.codes = Codes(std::move(codes));
  tensor.width.uniform = static_cast<std::uint8_t>(bits);
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.layout = denseLayout(rows * columns, bits);
  return tensor;
}

QuantizedTensor gptqTensor(const Json& row) {
  const Json& settings = row["settings"];
  const Json& input = row["input"];
  const auto rows = settings["out_features"].get<std::uint64_t>(), columns = settings["in_features"].get<std::uint64_t>();
  QuantizedTensor tensor = integerTensor(rows, columns, test::bytesFromHex(input["codes_out_in_hex"]), settings["bits"]);
  const auto index = input["g_idx"].get<std::vector<std::uint32_t>>();
  const Grouping grouping = settings["desc_act"].get<bool>()
                                ? Grouping::columnMap(rows, index)
                                : Grouping::blocks(rows, columns, 1, settings["group_size"].get<std::uint64_t>());
  const std::vector<float> byGroup = halvesFromHex(input["scales_f16_g_out_hex"]);
  std::vector<float> scales(byGroup.size());
  const std::uint64_t groups = byGroup.size() / rows;
  for (std::uint64_t n = 0; n < rows; ++n)
    for (std::uint64_t g = 0; g < groups; ++g) scales[n * groups + g] = byGroup[g * rows + n];
  tensor.scale = Plane::numbers(grouping, scales, Stored::F16);
  tensor.zero = Plane::numbers(grouping, test::floatsFromJson(input["zeros_out_g"]["data"]), Stored::U8);
  return tensor;
}

}  // namespace

class TestFormatGolden : public QObject {
  Q_OBJECT
 private slots:
  void gptqWords_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < cases("gptq_pack.json").size(); ++i)
      QTest::newRow(cases("gptq_pack.json")[i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }

  void gptqWords() {
    QFETCH(int, index);
    const Json& row = cases("gptq_pack.json")[static_cast<std::size_t>(index)];
    const QuantizedTensor tensor = gptqTensor(row);
    for (const char* id : {"gptq", "gptq_v2"}) {
      const Format* format = findFormat(id);
      const bool first = std::strcmp(id, "gptq") == 0;
      const auto arrays = format->pack({"m.weight", &tensor, std::nullopt});
      if (first && format->refusal(tensor)) {  // zero points of 0 exist only in version 2
        QVERIFY(!arrays.has_value());
        QVERIFY(format->refusal(tensor)->find("zero point is 0") != std::string::npos);
        continue;
      }
      QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
      const Json& expect = row["expect"];
      QCOMPARE(bytesOf(*find(*arrays, "m.qweight")), test::bytesFromHex(expect["qweight"]["hex"]));
      QCOMPARE(find(*arrays, "m.qweight")->shape, expect["qweight"]["shape"].get<Shape>());
      QCOMPARE(bytesOf(*find(*arrays, "m.qzeros")), test::bytesFromHex(expect[first ? "qzeros_v1" : "qzeros_v2"]["hex"]));
      QCOMPARE(find(*arrays, "m.qzeros")->shape, expect["qzeros_v2"]["shape"].get<Shape>());
      QCOMPARE(bytesOf(*find(*arrays, "m.scales")), test::bytesFromHex(expect["scales"]["hex"]));
      const auto inputs = row["input"]["g_idx"].get<std::vector<std::int32_t>>();
      QCOMPARE(std::memcmp(find(*arrays, "m.g_idx")->bytes().data(), inputs.data(), inputs.size() * 4), 0);
      QCOMPARE(bytesOf(*find(*arrays, "m.qweight")).size(), format->layout(tensor)->sizeBytes());
      QCOMPARE(format->layout(tensor)->unpack(find(*arrays, "m.qweight")->bytes(), tensor.weightCount()), tensor.codes);
    }
  }

  void awqWords_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < cases("awq_pack.json").size(); ++i)
      QTest::newRow(cases("awq_pack.json")[i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }

  void awqWords() {
    QFETCH(int, index);
    const Json& row = cases("awq_pack.json")[static_cast<std::size_t>(index)];
    const std::string source = row["input"]["same_as"];
    const Json* gptq = nullptr;
    for (const Json& other : cases("gptq_pack.json"))
      if (other["name"] == source) gptq = &other;
    QVERIFY(gptq != nullptr);
    const QuantizedTensor tensor = gptqTensor(*gptq);
    const Format* format = findFormat("awq");
    const auto arrays = format->pack({"m.weight", &tensor, std::nullopt});
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    QCOMPARE(arrays->size(), std::size_t{3});
    for (const char* key : {"qweight", "qzeros", "scales"}) {
      const RawTensor* array = find(*arrays, std::string("m.") + key);
      QVERIFY(array != nullptr);
      QCOMPARE(bytesOf(*array), test::bytesFromHex(row["expect"][key]["hex"]));
      QCOMPARE(array->shape, row["expect"][key]["shape"].get<Shape>());
    }
    QCOMPARE(format->layout(tensor)->unpack(find(*arrays, "m.qweight")->bytes(), tensor.weightCount()), tensor.codes);
    // Every word's codes are those that the layout places in it.
    const auto layout = format->layout(tensor);
    for (std::uint64_t word = 0; word < layout->sizeBytes() / 4; word += 7)
      QCOMPARE(layout->codesIn(word, tensor.weightCount()).size(), std::size_t{8});
  }

  // A zero point of 0 has no place in version 1; version 2 keeps it.
  void gptqZeroPointsOfZero() {
    const Json row = test::loadJson("ct_pack.json")["gptq_underflow"];
    const auto zeros = test::floatsFromJson(row["zeros"]);
    QuantizedTensor tensor = integerTensor(zeros.size(), 32, std::vector<std::uint8_t>(zeros.size() * 32, 3), 4);
    const Grouping grouping = Grouping::blocks(zeros.size(), 32, 1, 32);
    tensor.scale = Plane::numbers(grouping, std::vector<float>(zeros.size(), 0.5f), Stored::F16);
    tensor.zero = Plane::numbers(grouping, zeros, Stored::U8);
    const auto refusal = findFormat("gptq")->refusal(tensor);
    QVERIFY(refusal && refusal->find("zero point is 0") != std::string::npos);
    const auto arrays = findFormat("gptq_v2")->pack({"m.weight", &tensor, std::nullopt});
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    std::vector<std::int32_t> words(zeros.size() / 8);
    const RawTensor* written = find(*arrays, "m.qzeros");
    QCOMPARE(written->bytes().size(), words.size() * 4);
    std::memcpy(words.data(), written->bytes().data(), words.size() * 4);
    QCOMPARE(words, row["qzeros_v2"].get<std::vector<std::int32_t>>());
  }

  void compressedTensorsWords_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < cases("ct_pack.json").size(); ++i)
      QTest::newRow(cases("ct_pack.json")[i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }

  // Words of the codes and, down the rows, of the zero points.
  void compressedTensorsWords() {
    QFETCH(int, index);
    const Json& row = cases("ct_pack.json")[static_cast<std::size_t>(index)];
    const Json& settings = row["settings"];
    const Json& expect = row["expect"];
    const int bits = settings["num_bits"];
    const auto half = static_cast<float>(1 << (bits - 1));
    QuantizedTensor tensor = integerTensor(16, 128, test::bytesFromHex(row["codes_hex"]), bits);
    const std::uint64_t size = settings["strategy"] == "group" ? settings["group_size"].get<std::uint64_t>() : 128;
    const Grouping grouping = Grouping::blocks(16, 128, 1, size);
    tensor.scale = Plane::numbers(grouping, test::floatsFromJson(row["scale"]["data"]), Stored::F32);
    tensor.zero = Plane::implied(grouping, half);
    if (!settings["symmetric"].get<bool>()) {
      std::vector<float> zeros = test::floatsFromJson(row["zeros_signed"]);
      for (float& zero : zeros) zero += half;
      tensor.zero = Plane::numbers(grouping, zeros, Stored::U8);
    }
    const Format* format = findFormat("compressed-tensors");
    const auto arrays = format->pack({"m.weight", &tensor, std::nullopt});
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    if (const RawTensor* bytes = find(*arrays, "m.weight")) {  // 8 bits, one scale a row: written as int8, the codes are the same
      QVERIFY(bits == 8 && size == 128 && settings["symmetric"].get<bool>());
      const auto packed = test::bytesFromHex(expect["weight_packed"]["hex"]);
      QCOMPARE(bytes->bytes().size(), packed.size());
      for (std::size_t i = 0; i < packed.size(); ++i) QCOMPARE(std::to_integer<int>(bytes->bytes()[i]), (packed[i] + 128) % 256);
      return;
    }
    QCOMPARE(arrays->size(), expect.size() + 2);
    for (const auto& [key, wanted] : expect.items()) {
      const RawTensor* array = find(*arrays, "m." + key);
      QVERIFY2(array != nullptr, key.c_str());
      QCOMPARE(bytesOf(*array), test::bytesFromHex(wanted["hex"]));
      QCOMPARE(array->shape, wanted["shape"].get<Shape>());
    }
    QCOMPARE(find(*arrays, "m.weight_scale")->shape, row["scale"]["shape"].get<Shape>());
    QCOMPARE(find(*arrays, "m.weight_shape")->shape, Shape{2});
    QCOMPARE(format->layout(tensor)->unpack(find(*arrays, "m.weight_packed")->bytes(), tensor.weightCount()), tensor.codes);
  }

  void hqqPackedBytes_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < cases("hqq.json").size(); ++i)
      if (const Json& row = cases("hqq.json")[i]; row["expect"].contains("packing") && row["expect"].contains("codes_hex"))
        QTest::newRow(row["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }

  void hqqPackedBytes() {
    QFETCH(int, index);
    const Json& row = cases("hqq.json")[static_cast<std::size_t>(index)];
    const Json& settings = row["settings"];
    const Json& expect = row["expect"];
    const auto shape = row["input"]["shape"].get<Shape>();
    const auto codes = test::bytesFromHex(expect["codes_hex"]);
    const auto scale = test::floatsFromJson(expect["scale"]["data"]);
    const int axis = settings["axis"];
    const double nbits = settings["nbits"];
    QuantizedTensor tensor = integerTensor(shape[0], shape[1], codes, static_cast<int>(std::ceil(nbits)));
    const Grouping grouping = axis == 1 ? Grouping::flat(shape[0], shape[1], codes.size() / scale.size())
                                        : Grouping::modulo(shape[0], shape[1], scale.size());
    tensor.scale = Plane::numbers(grouping, scale, Stored::F32);
    tensor.zero = Plane::numbers(grouping, test::floatsFromJson(expect["zero"]["data"]), Stored::F32);
    if (settings["group_size"].is_null()) tensor.scheme = "hqq:bits=3,group=0";
    const Format* format = findFormat("hqq");
    const auto arrays = format->pack({"m.weight", &tensor, std::nullopt});
    if (expect.contains("library_dequantize_fails")) {
      QVERIFY(!arrays.has_value());
      return;
    }
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    QCOMPARE(bytesOf(*find(*arrays, "m.W_q")), test::bytesFromHex(expect["W_q_hex"]));
    QCOMPARE(find(*arrays, "m.W_q")->shape, expect["W_q_shape"].get<Shape>());
    QCOMPARE(find(*arrays, "m.W_q")->type, expect["W_q_dtype"] == "int32" ? DType::I32 : DType::U8);
    QCOMPARE(bytesOf(*find(*arrays, "m.packing")).size(), expect["packing"].get<std::string>().size());
    QCOMPARE(arrays->size(), std::size_t{19});
    // One number for the tensor is written once for each row; the codes are the same.
    if (settings["channel_wise"].get<bool>()) QCOMPARE(find(*arrays, "m.scale")->shape, expect["scale"]["shape"].get<Shape>());
  }

  void bnbBytes_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < cases("bnb.json").size(); ++i)
      QTest::newRow(cases("bnb.json")[i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }

  void bnbBytes() {
    QFETCH(int, index);
    const Json golden = test::loadJson("bnb.json");
    const Json& row = golden["cases"][static_cast<std::size_t>(index)];
    const Json& expect = row["expect"];
    const auto shape = row["input"]["shape"].get<Shape>();
    const std::uint64_t count = elementCount(shape), block = row["settings"]["blocksize"];
    const bool nf4 = row["settings"]["quant_type"] == "nf4", nested = row["settings"]["compress_statistics"];
    const auto packed = test::bytesFromHex(expect["packed_hex"]);
    QuantizedTensor tensor;
    tensor.rows = shape[0];
    tensor.columns = shape[1];
    tensor.shape = shape;
    std::vector<std::uint8_t> codes;
    for (std::uint64_t i = 0; i < count; ++i) codes.push_back(i % 2 == 0 ? packed[i / 2] >> 4 : packed[i / 2] & 15);
    tensor.codes = Codes(codes);
    tensor.width.uniform = 4;
    tensor.levels = Levels::fixedTable(test::floatsFromJson(golden[nf4 ? "nf4_code" : "fp4_code"]));
    tensor.layout = highNibbleLayout(count);
    const Grouping grouping = Grouping::flat(shape[0], shape[1], block);
    if (nested) {
      auto scales = std::make_shared<QuantizedTensor>();
      scales->rows = 1;
      scales->columns = grouping.groupCount();
      scales->codes = Codes(test::bytesFromHex(expect["absmax_u8_hex"]));
      scales->width.uniform = 8;
      scales->levels = Levels::fixedTable(test::floatsFromJson(golden["dynamic_map"]));
      scales->rule = ValueRule::ScalePlusBias;
      const auto outer =
          test::floatsFromJson(expect["nested_absmax"].is_object() ? expect["nested_absmax"]["data"] : expect["nested_absmax"]);
      scales->scale = Plane::numbers(Grouping::flat(1, scales->columns, 256), outer, Stored::F32);
      scales->zero = Plane::numbers(Grouping::tensor(1, scales->columns), {expect["nested_offset"].get<float>()}, Stored::F32);
      scales->layout = denseLayout(scales->columns, 8);
      tensor.scale = Plane::quantized(grouping, scales);
    } else {
      tensor.scale = Plane::numbers(grouping, test::floatsFromJson(expect["absmax"]["data"]), Stored::F32);
    }
    const auto arrays = findFormat("bnb")->pack({"m.weight", &tensor, std::nullopt});
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    QCOMPARE(bytesOf(*find(*arrays, "m.weight")), packed);
    QCOMPARE(find(*arrays, "m.weight")->shape, expect["packed_shape"].get<Shape>());
    if (nested) {
      QCOMPARE(bytesOf(*find(*arrays, "m.weight.absmax")), test::bytesFromHex(expect["absmax_u8_hex"]));
      QCOMPARE(find(*arrays, "m.weight.nested_quant_map")->shape, Shape{256});
    }
    const RawTensor* state = find(*arrays, std::string("m.weight.quant_state.bitsandbytes__") + (nf4 ? "nf4" : "fp4"));
    QVERIFY(state != nullptr);
    const std::string text(reinterpret_cast<const char*>(state->bytes().data()), state->bytes().size());
    const std::string wanted = "{\"quant_type\": \"" + std::string(nf4 ? "nf4" : "fp4") +
                               "\", \"blocksize\": " + std::to_string(block) + ", \"dtype\": \"float32\", \"shape\": [" +
                               std::to_string(shape[0]) + ", " + std::to_string(shape[1]) + "]";
    QCOMPARE(QByteArray::fromStdString(text.substr(0, wanted.size())), QByteArray::fromStdString(wanted));
    QCOMPARE(text.find("nested_offset") != std::string::npos, nested);
  }

  void document000Words() {
    const Json golden = test::loadJson("seed000_qdora.json");
    const auto codes = golden["codes"].get<std::vector<std::uint8_t>>();
    QuantizedTensor tensor = integerTensor(5, 4, codes, 3);
    tensor.rule = ValueRule::ScalePlusBias;
    const Grouping grouping = Grouping::flat(5, 4, 5);
    tensor.scale = Plane::numbers(grouping, test::floatsFromJson(golden["scale"]), Stored::F32);
    tensor.zero = Plane::numbers(grouping, test::floatsFromJson(golden["zero"]), Stored::F32);
    const auto arrays = findFormat("document000")->pack({"m.weight", &tensor, std::nullopt});
    QVERIFY(arrays.has_value());
    const RawTensor* words = find(*arrays, "m.pqdata");
    QCOMPARE(words->shape, Shape{2});
    std::vector<std::int32_t> values(2);
    std::memcpy(values.data(), words->bytes().data(), 8);
    QCOMPARE(values, golden["packed"].get<std::vector<std::int32_t>>());
    QCOMPARE(find(*arrays, "m.scale")->shape, (Shape{4, 1}));
  }

  // 7 weights in groups of 4: one more code fills the last group, the last weight's again, and counts in pqdata.
  void document000FillsTheLastGroup() {
    QuantizedTensor tensor = integerTensor(1, 7, {1, 2, 3, 4, 5, 6, 7}, 3);
    tensor.rule = ValueRule::ScalePlusBias;
    const Grouping grouping = Grouping::flat(1, 7, 4);
    tensor.scale = Plane::numbers(grouping, {0.5f, 0.25f}, Stored::F32);
    tensor.zero = Plane::numbers(grouping, {-1.0f, -2.0f}, Stored::F32);
    const auto arrays = findFormat("document000")->pack({"m.weight", &tensor, std::nullopt});
    QVERIFY(arrays.has_value());
    std::int32_t word = 0;
    std::memcpy(&word, find(*arrays, "m.pqdata")->bytes().data(), 4);
    QCOMPARE(word, (1 << 27) | (2 << 24) | (3 << 21) | (4 << 18) | (5 << 15) | (6 << 12) | (7 << 9) | (7 << 6));
  }
};

QTEST_APPLESS_MAIN(TestFormatGolden)
#include "test_format_golden.moc"
