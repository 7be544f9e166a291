// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF's block tensors as packed layers: every type reads to ggml's floats, is written back byte for byte, and the independent
// decoder agrees with the reader, on the golden blocks and on each of them with any single bit flipped.
#include "core/export/convert.h"
#include "core/formats/format.h"
#include "core/io/atomic_file.h"
#include "core/io/gguf.h"
#include "core/quant/blocks.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "core/run/weight_list.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>

using namespace nibble;

namespace {

const Format& gguf() { return *findFormat("gguf"); }

std::vector<std::byte> bytesOf(const nlohmann::json& hex) {
  const auto plain = test::bytesFromHex(hex);
  const auto bytes = std::as_bytes(std::span(plain));
  return {bytes.begin(), bytes.end()};
}

BlockType typeNamed(const std::string& name) {
  for (const BlockType type : allBlockTypes())
    if (blockTypeName(type) == name) return type;
  qFatal("no type %s", name.c_str());
}

struct Golden {
  BlockType type;
  std::uint64_t rows, columns;
  std::vector<std::byte> bytes;
  std::vector<float> floats;
};

Golden goldenCase(int index) {
  static const auto data = test::loadJson("gguf_blocks.json");
  const auto& entry = data["cases"][static_cast<std::size_t>(index)];
  Golden golden{typeNamed(entry["type"]), entry["rows"], entry["columns"], bytesOf(entry["bytes"]), {}};
  const auto floats = bytesOf(entry["floats"]);
  golden.floats.resize(floats.size() / 4);
  std::memcpy(golden.floats.data(), floats.data(), floats.size());
  return golden;
}

void addGoldenCases(bool onePerType) {
  QTest::addColumn<int>("index");
  const auto data = test::loadJson("gguf_blocks.json");
  std::string last;
  for (std::size_t i = 0; i < data["cases"].size(); ++i) {
    if (data["cases"][i].contains("decodeOnly")) continue;  // no encoder writes such blocks
    const std::string type = data["cases"][i]["type"];
    if (onePerType && type == last) continue;
    last = type;
    QTest::newRow((type + " " + std::to_string(i)).c_str()) << static_cast<int>(i);
  }
}

RawTensor blockTensor(const std::string& name, const Golden& golden) {
  RawTensor tensor;
  tensor.name = name;
  tensor.block = golden.type;
  tensor.shape = {golden.rows, golden.bytes.size() / golden.rows};
  tensor.owned = golden.bytes;
  return tensor;
}

void writeFile(const std::filesystem::path& path, const std::vector<RawTensor>& tensors) {
  auto file = AtomicFile::create(path);
  if (!file || !writeGguf(*file, tensors, {}) || !file->commit()) qFatal("cannot write %s", path.c_str());
}

std::shared_ptr<const Checkpoint> open(const std::filesystem::path& path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) qFatal("%s", checkpoint.error().message.c_str());
  return *checkpoint;
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace

class TestGgufFormat : public QObject {
  Q_OBJECT
 private slots:
  void layersOfTheSample();
  void everyTypeReadsAndPacks_data() { addGoldenCases(false); }
  void everyTypeReadsAndPacks();
  void proofAgreesOnEveryFlippedBit_data() { addGoldenCases(true); }
  void proofAgreesOnEveryFlippedBit();
  void scalesThatAreNoNumbers();
  void proofReadsTheHeaderClosely();
  void heldExactly_data();
  void heldExactly();
  void refused_data();
  void refused();
  void convertedToOthers();
};

void TestGgufFormat::layersOfTheSample() {
  const auto golden = test::loadJson("gguf/sample.gguf.json");
  const WeightList weights(open(test::dataPath("gguf/sample.gguf")));
  QCOMPARE(weights.items().size(), golden["tensors"].size());
  int packed = 0;
  for (std::size_t i = 0; i < weights.items().size(); ++i) {
    const WeightItem& item = weights.items()[i];
    const auto& wanted = golden["tensors"][i];
    QCOMPARE(item.name, wanted["name"].get<std::string>());
    QCOMPARE(item.shape, wanted["shape"].get<Shape>());
    QCOMPARE(item.payloadBytes, wanted["bytes"].get<std::uint64_t>());
    if (item.packed) {
      ++packed;
      QCOMPARE(weights.packedLayers()[*item.packed].layer.description, "gguf " + wanted["type"].get<std::string>());
    }
    const auto tensor = weights.read(item.name);
    QVERIFY(tensor);
    QCOMPARE(tensor->shape(), item.shape);
    const auto values = tensor->readAll();
    double sum = 0;
    for (const float value : *values) sum += static_cast<double>(value);
    QVERIFY(std::fabs(sum - wanted["sum_float64"].get<double>()) < 1e-9);
    const auto first = test::floatsFromJson(wanted["first8"]);
    QVERIFY(std::equal(first.begin(), first.end(), values->begin()));
  }
  QCOMPARE(packed, 6);
}

void TestGgufFormat::everyTypeReadsAndPacks() {
  QFETCH(int, index);
  const Golden golden = goldenCase(index);
  const test::ScratchFolder folder;
  const auto path = folder.file("a.gguf");
  writeFile(path, {blockTensor("m.weight", golden)});
  const WeightList weights(open(path));
  QCOMPARE(weights.items().size(), std::size_t{1});
  QCOMPARE(weights.items()[0].bitsPerWeight(), blockBitsPerWeight(golden.type));
  const auto tensor = weights.readPacked(weights.items()[0]);
  QVERIFY2(tensor.has_value(), tensor ? "" : tensor.error().message.c_str());
  QVERIFY(sameBits(decodeAll(*tensor), golden.floats));
  const auto proven = gguf().proofDecode(path, "m.weight");
  QVERIFY2(proven.has_value(), proven ? "" : proven.error().message.c_str());
  QCOMPARE(*proven, golden.floats);
  QVERIFY(!gguf().refusal(*tensor));
  const ExportLayer layer{"m.weight", &*tensor, std::nullopt};
  const auto arrays = gguf().pack(layer);
  QVERIFY(arrays && arrays->size() == 1);
  QCOMPARE((*arrays)[0].owned, golden.bytes);
  QCOMPARE((*arrays)[0].block, std::optional(golden.type));
  QCOMPARE(gguf().payloadBytes(layer, *arrays), std::uint64_t{golden.bytes.size()});
}

void TestGgufFormat::proofAgreesOnEveryFlippedBit() {
  QFETCH(int, index);
  Golden golden = goldenCase(index);
  const kernels::BlockShape block = kernels::blockShape(golden.type);
  golden.rows = 1;
  golden.columns = block.weights;
  golden.bytes.resize(block.bytes);
  const test::ScratchFolder folder;
  const auto path = folder.file("a.gguf");
  writeFile(path, {blockTensor("m", golden)});
  const std::string whole = test::readWhole(path);
  const std::size_t data = whole.rfind(std::string(reinterpret_cast<const char*>(golden.bytes.data()), golden.bytes.size()));
  QVERIFY(data != std::string::npos);
  int changed = 0;
  for (std::size_t bit = 0; bit < block.bytes * 8; ++bit) {
    Golden flipped = golden;
    flipped.bytes[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    // In place: rewriting the whole file for each bit would wait for the disk.
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto put = [&](std::byte byte) {
      stream.seekp(static_cast<std::streamoff>(data + bit / 8));
      stream.put(static_cast<char>(byte));
      stream.flush();
    };
    const auto restore = [&](const auto*) { put(golden.bytes[bit / 8]); };
    const std::unique_ptr<const Golden, decltype(restore)> restored(&golden, restore);
    put(flipped.bytes[bit / 8]);
    const auto read = fromBlocks(golden.type, 1, golden.columns, flipped.bytes);
    const auto proven = gguf().proofDecode(path, "m");
    if (!proven) {
      // What no encoder writes is refused by the proof alone, what decodes to no number by both.
      const bool strange = golden.type == BlockType::TQ1_0 || golden.type == BlockType::TQ2_0 || golden.type == BlockType::NVFP4;
      QVERIFY2(!read || strange, proven.error().message.c_str());
      continue;
    }
    QVERIFY2(read.has_value(), read ? "" : read.error().message.c_str());
    QCOMPARE(*proven, decodeAll(*read));
    changed += !std::equal(proven->begin(), proven->end(), golden.floats.begin());
  }
  QVERIFY(changed > static_cast<int>(block.bytes));
}

void TestGgufFormat::scalesThatAreNoNumbers() {
  const test::ScratchFolder folder;
  Golden golden = goldenCase(0);
  QCOMPARE(golden.type, BlockType::Q4_0);
  golden.bytes[18] = std::byte{0};  // the second block's scale becomes infinite
  golden.bytes[19] = std::byte{0x7C};
  writeFile(folder.file("a.gguf"), {blockTensor("blk.0.attn_q.weight", golden)});
  const WeightList weights(open(folder.file("a.gguf")));
  const auto tensor = weights.read("blk.0.attn_q.weight");
  QVERIFY(!tensor);
  QCOMPARE(tensor.error().message, std::string("blk.0.attn_q.weight: Q4_0: block 1: its scale or minimum is no finite number"));
  QVERIFY(!gguf().proofDecode(folder.file("a.gguf"), "blk.0.attn_q.weight"));
}

void TestGgufFormat::proofReadsTheHeaderClosely() {
  const test::ScratchFolder folder;
  const auto path = folder.file("a.gguf");
  writeFile(path, {blockTensor("a", goldenCase(0)), blockTensor("b", goldenCase(3))});
  QVERIFY(gguf().proofDecode(path, "b"));
  QVERIFY(!gguf().proofDecode(path, "c"));
  const std::string good = test::readWhole(path);
  std::size_t noticed = 0, tried = 0;
  const auto values = gguf().proofDecode(path, "b");
  for (std::size_t at = 0; at < good.size(); at += 3, ++tried) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x11);
    test::writeWhole(path, bad);
    const auto other = gguf().proofDecode(path, "b");
    noticed += !other || *other != *values ? 1 : 0;
  }
  // Unnoticed are changes of the other tensor's own bytes and name, about a quarter of this file.
  QVERIFY2(noticed * 3 > tried, qPrintable(QString("%1 of %2").arg(noticed).arg(tried)));
  for (const std::size_t length : {good.size() - 1, good.size() - 32, std::size_t{30}, std::size_t{3}}) {
    test::writeWhole(path, good.substr(0, length));
    QVERIFY(!gguf().proofDecode(path, "b"));
  }
  test::writeWhole(path, good + std::string(32, '\0'));
  QVERIFY(!gguf().proofDecode(path, "b"));
}

// Descriptions that are no block types but say what one holds.
void TestGgufFormat::heldExactly_data() {
  QTest::addColumn<QString>("choice");
  QTest::addColumn<QString>("type");
  QTest::newRow("4 bits, longer groups") << "uniform:bits=4,granularity=group,group=128,symmetric=true,params=f16" << "Q4_0";
  QTest::newRow("5 bits per row") << "uniform:bits=5,granularity=channel,symmetric=true,params=f16" << "Q5_0";
  QTest::newRow("8 bits") << "uniform:bits=8,granularity=group,group=32,symmetric=true,params=f16" << "Q8_0";
  QTest::newRow("8 bits, one scale") << "uniform:bits=8,granularity=tensor,symmetric=true,params=f16" << "Q8_0";
  QTest::newRow("minimum and step, 4 bits") << "minmax:bits=4,group=32,params=f16" << "Q4_1";
  QTest::newRow("minimum and step, 5 bits") << "minmax:bits=5,group=64,params=f16" << "Q5_1";
  QTest::newRow("mxfp4") << "mxfp4" << "MXFP4";
  QTest::newRow("mxfp4 ggml") << "mxfp4:variant=ggml" << "MXFP4";
  QTest::newRow("nvfp4 ggml") << "nvfp4:variant=ggml" << "NVFP4";
  QTest::newRow("nvfp4 without tensor scale") << "nvfp4:global=false" << "NVFP4";
  QTest::newRow("float16") << "float:type=f16" << "F16";
  QTest::newRow("bfloat16") << "float:type=bf16" << "BF16";
  QTest::newRow("float32") << "float:type=f32" << "F32";
}

namespace {

std::vector<float> someWeights(std::size_t count) {
  std::vector<float> values(count);
  std::uint32_t state = 7;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = (static_cast<float>(state >> 8) / 8388608.0f - 0.9f) * (state % 13 == 0 ? 0.2f : 0.03f);
  }
  return values;
}

std::shared_ptr<const QuantizedTensor> quantized(const QString& choice, std::uint64_t rows, std::uint64_t columns) {
  const Tensor tensor = Tensor::fromFloats("m.weight", {rows, columns}, someWeights(rows * columns));
  const auto outcome = run(tensor, *Choice::parse(choice.toStdString()), {});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return outcome->quantized;
}

}  // namespace

void TestGgufFormat::heldExactly() {
  QFETCH(QString, choice);
  QFETCH(QString, type);
  const auto tensor = quantized(choice, 6, 256);
  const auto reason = gguf().refusal(*tensor);
  QVERIFY2(!reason, reason.value_or("").c_str());
  const ExportLayer layer{"m.weight", tensor.get(), std::nullopt};
  const auto arrays = gguf().pack(layer);
  QVERIFY(arrays);
  const test::ScratchFolder folder;
  writeFile(folder.file("a.gguf"), *arrays);
  const auto proven = gguf().proofDecode(folder.file("a.gguf"), "m.weight");
  QVERIFY(proven);
  QCOMPARE(*proven, decodeAll(*tensor));
  const WeightList weights(open(folder.file("a.gguf")));
  const WeightItem& item = weights.items()[0];
  QCOMPARE(QString::fromStdString(item.packed ? std::string(blockTypeName(*weights.checkpoint().entries()[0].block))
                                              : std::string(info(item.type).name)),
           type);
  const auto read = weights.read("m.weight");
  QVERIFY(read);
  QCOMPARE(*read->readAll(), decodeAll(*tensor));
  QVERIFY(gguf().layout(*tensor));
}

void TestGgufFormat::refused_data() {
  QTest::addColumn<QString>("choice");
  QTest::addColumn<quint64>("columns");
  QTest::addColumn<QString>("reason");
  QTest::newRow("no such codes") << "nf4:block=64" << quint64{64} << "none of ggml's types";
  QTest::newRow("3 bits") << "uniform:bits=3,granularity=group,group=32,symmetric=true" << quint64{64} << "none of ggml's types";
  QTest::newRow("short groups") << "uniform:bits=4,granularity=group,group=16,symmetric=true,params=f16" << quint64{64} << "groups of 32 weights";
  QTest::newRow("scales of float32") << "uniform:bits=4,granularity=group,group=32,symmetric=true,params=f32" << quint64{64} << "is no number that Q4_0 stores";
  QTest::newRow("odd columns") << "uniform:bits=4,granularity=channel,symmetric=true,params=f16" << quint64{40} << "do not divide 40 columns";
  QTest::newRow("rotated") << "hadamard:block=64/uniform:bits=4,granularity=channel,symmetric=true,params=f16" << quint64{64} << "rotated";
  QTest::newRow("tensor scale") << "nvfp4" << quint64{64} << "is no number that";
}

void TestGgufFormat::refused() {
  QFETCH(QString, choice);
  QFETCH(quint64, columns);
  QFETCH(QString, reason);
  const auto said = gguf().refusal(*quantized(choice, 4, columns));
  QVERIFY(said);
  QVERIFY2(QString::fromStdString(*said).contains(reason), said->c_str());
}

// What the types' parameters come to, plain numbers hold as well.
void TestGgufFormat::convertedToOthers() {
  const auto differenceIn = [](const char* format, const char* choice) {
    const auto converted = convertFor(*findFormat(format), quantized(choice, 64, 256), {});
    if (!converted) qFatal("%s", converted.error().message.c_str());
    return converted->maxDifference;
  };
  QCOMPARE(differenceIn("npz", "q4_k"), 0.0);
  QCOMPARE(differenceIn("npz", "q6_k"), 0.0);
  QCOMPARE(differenceIn("npz", "iq4_xs"), 0.0);
  QCOMPARE(differenceIn("mlx", "q4_1"), 0.0);
  QCOMPARE(differenceIn("compressed-tensors", "q4_0"), 0.0);
  QCOMPARE(differenceIn("mlx", "q4_k"), 0.0);  // with scales and offsets in float32
}

QTEST_GUILESS_MAIN(TestGgufFormat)
#include "test_gguf_format.moc"
