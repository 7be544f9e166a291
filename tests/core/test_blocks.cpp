// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF block types over the model: floats of ggml to the bit, the way back to the same bytes, places of codes, sizes.
#include "core/quant/blocks.h"
#include "core/quant/decode.h"
#include "core/report/microscope.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <bit>
#include <cstring>
#include <random>
#include <set>

using namespace nibble;

class TestBlocks : public QObject {
  Q_OBJECT
 private slots:
  void floatsOfGgml_data();
  void floatsOfGgml();
  void everyTypeIsCovered();
  void anyBytesComeBack_data();
  void anyBytesComeBack();
  void everyByteAsTrits();
  void oddNvfp4Scales();
  void refusals();
  void alteredTensorsAreRefused();
};

namespace {

std::vector<std::byte> bytesOf(const std::string& hex) {
  const auto bytes = test::bytesFromHex(hex);
  std::vector<std::byte> result(bytes.size());
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

BlockType typeNamed(const std::string& name) {
  for (const BlockType type : allBlockTypes())
    if (blockTypeName(type) == name) return type;
  qFatal("no block type %s", name.c_str());
}

std::vector<std::uint32_t> bitsOf(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits(values.size());
  std::memcpy(bits.data(), values.data(), 4 * values.size());
  return bits;
}

QuantizedTensor read(BlockType type, std::uint64_t rows, std::uint64_t columns, const std::vector<std::byte>& bytes) {
  auto tensor = fromBlocks(type, rows, columns, bytes);
  if (!tensor) qFatal("%s", tensor.error().message.c_str());
  return *std::move(tensor);
}

// Random bytes with halves that are finite where the type has any.
std::vector<std::byte> randomBlocks(BlockType type, std::uint64_t blocks) {
  std::mt19937 generator(7);
  const auto size = kernels::blockShape(type).bytes;
  for (int attempt = 0;; ++attempt) {
    std::vector<std::byte> bytes;
    while (bytes.size() < blocks * size) {
      std::vector<std::byte> block(size);
      for (std::byte& byte : block) byte = static_cast<std::byte>(generator());
      if (fromBlocks(type, 1, kernels::blockShape(type).weights, block)) bytes.insert(bytes.end(), block.begin(), block.end());
    }
    return bytes;
  }
}

void addTypes() {
  QTest::addColumn<int>("number");
  for (const BlockType type : allBlockTypes()) QTest::newRow(std::string(blockTypeName(type)).c_str()) << static_cast<int>(type);
}

}  // namespace

void TestBlocks::floatsOfGgml_data() {
  QTest::addColumn<int>("index");
  const auto golden = test::loadJson("gguf_blocks.json");
  for (std::size_t i = 0; i < golden["cases"].size(); ++i) {
    const auto& entry = golden["cases"][i];
    QTest::newRow((entry["type"].get<std::string>() + " " + entry["name"].get<std::string>() + " " + std::to_string(i)).c_str())
        << static_cast<int>(i);
  }
}

void TestBlocks::floatsOfGgml() {
  QFETCH(int, index);
  static const auto golden = test::loadJson("gguf_blocks.json");
  const auto& entry = golden["cases"][static_cast<std::size_t>(index)];
  const BlockType type = typeNamed(entry["type"]);
  const auto bytes = bytesOf(entry["bytes"]), wanted = bytesOf(entry["floats"]);
  const QuantizedTensor tensor = read(type, entry["rows"], entry["columns"], bytes);
  std::vector<std::uint32_t> expected(wanted.size() / 4);
  std::memcpy(expected.data(), wanted.data(), wanted.size());
  const auto decoded = bitsOf(decodeAll(tensor));
  QCOMPARE(decoded.size(), expected.size());
  for (std::size_t i = 0; i < decoded.size(); ++i)
    if (decoded[i] != expected[i])
      QFAIL(qPrintable(QString("weight %1: %2 instead of %3")
                           .arg(i)
                           .arg(static_cast<double>(std::bit_cast<float>(decoded[i])))
                           .arg(static_cast<double>(std::bit_cast<float>(expected[i])))));
  const auto back = toBlocks(tensor);
  QVERIFY(back);
  QCOMPARE(*back, bytes);
}

void TestBlocks::everyTypeIsCovered() {
  const auto golden = test::loadJson("gguf_blocks.json");
  for (const BlockType type : allBlockTypes()) {
    const bool found = std::any_of(golden["cases"].begin(), golden["cases"].end(),
                                   [&](const auto& entry) { return entry["type"].template get<std::string>() == blockTypeName(type); });
    QVERIFY2(found, std::string(blockTypeName(type)).c_str());
    QCOMPARE(*blockTypeFromNumber(static_cast<std::uint32_t>(type)), type);
  }
  QVERIFY(!blockTypeFromNumber(0));
  QVERIFY(!blockTypeFromNumber(9));
  QVERIFY(!blockTypeFromNumber(4));
}

void TestBlocks::anyBytesComeBack_data() { addTypes(); }

// Bytes no encoder wrote: fast and literal decoding agree, the way back is exact, layout and places agree.
void TestBlocks::anyBytesComeBack() {
  QFETCH(int, number);
  const auto type = static_cast<BlockType>(number);
  const kernels::BlockShape shape = kernels::blockShape(type);
  std::vector<std::byte> bytes = randomBlocks(type, 6);
  QuantizedTensor tensor = read(type, 2, 3 * shape.weights, bytes);
  std::vector<float> literal(tensor.weightCount());
  decodeLiterally(tensor, 0, literal);
  QCOMPARE(bitsOf(decodeAll(tensor)), bitsOf(literal));
  std::vector<float> part(shape.weights + 5);
  decode(tensor, 13, part);
  QCOMPARE(bitsOf(part), bitsOf({literal.begin() + 13, literal.begin() + 13 + static_cast<std::ptrdiff_t>(part.size())}));

  if (type == BlockType::TQ1_0) {  // other spellings of the same trits
    bytes = *toBlocks(tensor);
    tensor = read(type, 2, 3 * shape.weights, bytes);
    QCOMPARE(bitsOf(decodeAll(tensor)), bitsOf(literal));
  }
  QCOMPARE(*toBlocks(tensor), bytes);
  QCOMPARE(*blockTypeOf(tensor), type);
  QCOMPARE(storageSize(tensor).total(), std::uint64_t{bytes.size()});
  QCOMPARE(bitsPerWeight(tensor), blockBitsPerWeight(type));
  QCOMPARE(payload(tensor).size(), std::size_t{1});
  QCOMPARE(payload(tensor)[0].bytes, bytes);

  const Layout& layout = *tensor.layout;
  const auto packed = layout.pack(tensor.codes);
  QCOMPARE(packed.size(), bytes.size());
  QVERIFY(layout.unpack(packed, tensor.codes.size()) == tensor.codes);
  QVERIFY(layout.unpack(bytes, tensor.codes.size()) == tensor.codes);
  for (std::uint64_t word = 0; word < bytes.size(); ++word)
    QCOMPARE(layout.codesIn(word, tensor.codes.size()), layout.Layout::codesIn(word, tensor.codes.size()));
  if (type == BlockType::TQ1_0) return;
  QCOMPARE(layout.Layout::pack(tensor.codes), packed);
  QVERIFY(layout.Layout::unpack(bytes, tensor.codes.size()) == tensor.codes);
  for (std::uint64_t word = 0; word < bytes.size(); ++word)
    QCOMPARE(wordAt(layout, tensor.codes, word), std::to_integer<std::uint64_t>(packed[word]));
  // The bit strip shows what is really in the file, scales included.
  const PackedView view(std::make_shared<const QuantizedTensor>(tensor));
  const auto places = view.places(tensor.codes.size() - 1);
  QVERIFY(places && !places->empty());
  for (const BitPlace& place : *places) QCOMPARE(place.value, std::to_integer<std::uint64_t>(bytes[place.word]));
}

// Every byte value decodes to five digits; of 256 only 243 are an encoder's.
void TestBlocks::everyByteAsTrits() {
  const std::size_t size = kernels::blockShape(BlockType::TQ1_0).bytes;
  std::set<std::vector<float>> seen;
  for (unsigned value = 0; value < 256; ++value) {
    std::vector<std::byte> block(size);
    block[0] = static_cast<std::byte>(value);
    block[53] = std::byte{0x3C};  // d = 1
    const auto all = decodeAll(read(BlockType::TQ1_0, 1, 256, block));
    const std::vector<float> digits{all[0], all[32], all[64], all[96], all[128]};
    unsigned rest = value;
    for (const float digit : digits) {
      QCOMPARE(digit, static_cast<float>(rest * 3 / 256) - 1.0f);
      rest = rest * 3 % 256;
    }
    seen.insert(digits);
  }
  QCOMPARE(seen.size(), std::size_t{243});
}

// ggml ignores the sign bit and takes 0x7F as 0: the floats and the bytes stay.
void TestBlocks::oddNvfp4Scales() {
  std::vector<std::byte> block(36, std::byte{0x22});  // codes 2: 1.0
  block[0] = std::byte{0x7F}, block[1] = std::byte{0xB8}, block[2] = std::byte{0xFF}, block[3] = std::byte{0x38};
  const QuantizedTensor tensor = read(BlockType::NVFP4, 1, 64, block);
  const auto values = decodeAll(tensor);
  QCOMPARE(values[0], 0.0f);
  QCOMPARE(values[16], 1.0f);
  QCOMPARE(values[32], 480.0f);
  QCOMPARE(values[48], 1.0f);
  QCOMPARE(*toBlocks(tensor), block);
  QCOMPARE(storageSize(tensor).total(), std::uint64_t{36});
}

void TestBlocks::refusals() {
  const auto message = [](BlockType type, std::uint64_t rows, std::uint64_t columns, std::vector<std::byte> bytes) {
    const auto tensor = fromBlocks(type, rows, columns, bytes);
    return tensor ? QString() : QString::fromStdString(tensor.error().message);
  };
  QVERIFY(message(BlockType::Q4_0, 1, 48, std::vector<std::byte>(27)).contains("multiple of 32"));
  QVERIFY(message(BlockType::Q4_0, 2, 32, std::vector<std::byte>(18)).contains("18 bytes do not hold 2 x 32"));
  QVERIFY(message(BlockType::Q4_0, 0, 32, {}).contains("Q4_0"));
  QVERIFY(message(BlockType::Q4_0, std::uint64_t{1} << 60, std::uint64_t{1} << 60, std::vector<std::byte>(18)).contains("do not hold"));
  std::vector<std::byte> infinite(36);
  infinite[18] = std::byte{0x00}, infinite[19] = std::byte{0x7C};
  QCOMPARE(message(BlockType::Q4_0, 2, 32, infinite), QString("Q4_0: block 1: its scale or minimum is no finite number"));
  std::vector<std::byte> minimum(144);
  minimum[2] = std::byte{0x01}, minimum[3] = std::byte{0xFE};
  QVERIFY(message(BlockType::Q4_K, 1, 256, minimum).contains("no finite number"));
  std::vector<std::byte> exponent(17, std::byte{0x77});
  exponent[0] = std::byte{255};
  QVERIFY(message(BlockType::MXFP4, 1, 32, exponent).contains("NaN"));
  exponent[0] = std::byte{253};
  QVERIFY(message(BlockType::MXFP4, 1, 32, exponent).contains("infinity"));
  exponent[0] = std::byte{252};
  QVERIFY(message(BlockType::MXFP4, 1, 32, exponent).isEmpty());
}

void TestBlocks::alteredTensorsAreRefused() {
  const auto bytes = randomBlocks(BlockType::Q4_K, 1);
  const QuantizedTensor tensor = read(BlockType::Q4_K, 1, 256, bytes);
  QuantizedTensor wide = tensor;
  std::vector<std::uint8_t> codes = *tensor.codes.as<std::uint8_t>();
  codes[3] = 16;
  wide.codes = Codes(codes);
  QVERIFY(!toBlocks(wide));
  QuantizedTensor finer = tensor;
  finer.scale = Plane::numbers(tensor.scale->grouping, tensor.scale->values, Stored::F32);
  QVERIFY(!toBlocks(finer));
  QuantizedTensor elsewhere = tensor;
  elsewhere.layout = denseLayout(256, 4);
  QVERIFY(!toBlocks(elsewhere));
  QVERIFY(!blockTypeOf(elsewhere));
  const auto small = randomBlocks(BlockType::Q4_0, 1);
  QuantizedTensor unrounded = read(BlockType::Q4_0, 1, 32, small);
  unrounded.scale->values[0] = 0.1f;
  QVERIFY(!toBlocks(unrounded));
  const auto signs = randomBlocks(BlockType::IQ2_XXS, 1);
  QuantizedTensor odd = read(BlockType::IQ2_XXS, 1, 256, signs);
  odd.signs[5] ^= 1;
  QVERIFY(!toBlocks(odd));
}

QTEST_GUILESS_MAIN(TestBlocks)
#include "test_blocks.moc"
