// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF files as checkpoints: what the real writers wrote, split models, and what we write ourselves.
#include "core/io/atomic_file.h"
#include "core/io/gguf.h"
#include "core/io/safetensors_writer.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <filesystem>
#include <fstream>

using namespace nibble;

class TestGgufContainer : public QObject {
  Q_OBJECT
 private slots:
  void sample();
  void splitModel();
  void missingPart();
  void writtenComesBack();
  void writerRefuses();
};

namespace {

std::shared_ptr<const Checkpoint> open(const std::filesystem::path& path) {
  auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) qFatal("%s", checkpoint.error().message.c_str());
  return *checkpoint;
}

std::string valueOf(const Checkpoint& checkpoint, const std::string& key) {
  for (const auto& [name, value] : checkpoint.metadata())
    if (name == key) return value;
  return "absent";
}

Status write(const std::filesystem::path& path, const std::vector<RawTensor>& tensors, const std::vector<GgufValue>& values) {
  auto file = AtomicFile::create(path);
  if (!file) return fail(file.error());
  NIBBLE_TRY(writeGguf(*file, tensors, values));
  NIBBLE_TRY(file->sync());
  return file->commit();
}

}  // namespace

void TestGgufContainer::sample() {
  const auto golden = test::loadJson("gguf/sample.gguf.json");
  const auto checkpoint = open(test::dataPath("gguf/sample.gguf"));
  QCOMPARE(std::string(checkpoint->format()), std::string("gguf"));
  QCOMPARE(checkpoint->entries().size(), golden["tensors"].size());
  std::ifstream stream(test::dataPath("gguf/sample.gguf"), std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  for (std::size_t i = 0; i < checkpoint->entries().size(); ++i) {
    const auto& wanted = golden["tensors"][i];
    const TensorEntry& entry = checkpoint->entries()[i];
    QCOMPARE(entry.name, wanted["name"].get<std::string>());
    QCOMPARE(*ggufTypeOf(entry.type, entry.block), wanted["ggml_type"].get<std::uint32_t>());
    QCOMPARE(entry.sizeBytes, wanted["bytes"].get<std::uint64_t>());
    Shape shape = entry.shape;
    if (entry.block) shape.back() = shape.back() / kernels::blockShape(*entry.block).bytes * kernels::blockShape(*entry.block).weights;
    QCOMPARE(shape, wanted["shape"].get<Shape>());
    const auto tensor = checkpoint->read(i);
    QVERIFY(tensor);
    const std::string_view bytes(reinterpret_cast<const char*>(tensor->bytes().data()), tensor->bytes().size());
    QVERIFY(bytes == std::string_view(file).substr(wanted["offset_in_file"].get<std::size_t>(), entry.sizeBytes));
  }
  QCOMPARE(checkpoint->metadata().size(), golden["metadata"].size());
  QCOMPARE(valueOf(*checkpoint, "general.name"), std::string("Nibblescope sample"));
  QCOMPARE(valueOf(*checkpoint, "test.u64"), std::string("18446744073709551615"));
  QCOMPARE(valueOf(*checkpoint, "test.i64"), std::string("-9223372036854775808"));
  QCOMPARE(valueOf(*checkpoint, "test.i8"), std::string("-128"));
  QCOMPARE(valueOf(*checkpoint, "test.f32"), std::string("0.1"));
  QCOMPARE(valueOf(*checkpoint, "test.bool_false"), std::string("false"));
  QCOMPARE(valueOf(*checkpoint, "test.array_i32"), std::string("[-2147483648, -1, 0, 2147483647]"));
  QCOMPARE(valueOf(*checkpoint, "test.string"), golden["metadata"]["test.string"]["value"].get<std::string>());
}

void TestGgufContainer::splitModel() {
  for (const char* name : {"tiny-00001-of-00002.gguf", "tiny-00002-of-00002.gguf", ""}) {
    const auto checkpoint = open(test::dataPath(std::string("gguf/split/") + name));
    QCOMPARE(checkpoint->files().size(), std::size_t{2});
    QCOMPARE(checkpoint->entries().size(), std::size_t{5});
    QCOMPARE(valueOf(*checkpoint, "split.no"), std::string("0"));
    for (std::size_t i = 0; i < 5; ++i) QVERIFY(checkpoint->read(i));
  }
}

void TestGgufContainer::missingPart() {
  QTemporaryDir folder;
  const std::filesystem::path alone = std::filesystem::path(folder.path().toStdString()) / "tiny-00002-of-00002.gguf";
  std::filesystem::copy_file(test::dataPath("gguf/split/tiny-00002-of-00002.gguf"), alone);
  const auto opened = Checkpoint::open(alone);
  QVERIFY(!opened);
  QVERIFY(QString::fromStdString(opened.error().message).contains("tiny-00001-of-00002.gguf: this part is missing"));
}

void TestGgufContainer::writtenComesBack() {
  QTemporaryDir folder;
  const std::filesystem::path path = std::filesystem::path(folder.path().toStdString()) / "own.gguf";
  std::vector<RawTensor> tensors(3);
  tensors[0].name = "a", tensors[0].type = DType::F32, tensors[0].shape = {3}, tensors[0].owned.resize(12, std::byte{1});
  tensors[1].name = "b", tensors[1].type = DType::U8, tensors[1].shape = {2, 36}, tensors[1].owned.resize(72, std::byte{2});
  tensors[1].block = kernels::BlockType::Q4_0;
  tensors[2].name = "empty", tensors[2].type = DType::F16, tensors[2].shape = {0, 4};
  const std::vector<std::string> words{"one", "zwei"};
  const std::vector<GgufValue> values{GgufValue::number("general.alignment", 64), GgufValue::text("t", "text"),
                                      GgufValue::texts("words", words), GgufValue::real("r", 0.5f), GgufValue::flag("f", true)};
  const auto written = write(path, tensors, values);
  QVERIFY2(written.has_value(), written ? "" : written.error().message.c_str());
  const auto checkpoint = open(path);
  QCOMPARE(checkpoint->entries().size(), std::size_t{3});
  QCOMPARE(checkpoint->entries()[1].shape, (Shape{2, 36}));
  QCOMPARE(*checkpoint->entries()[1].block, kernels::BlockType::Q4_0);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto tensor = checkpoint->read(i);
    QVERIFY(tensor && std::equal(tensor->bytes().begin(), tensor->bytes().end(), tensors[i].owned.begin(), tensors[i].owned.end()));
  }
  QCOMPARE(valueOf(*checkpoint, "words"), std::string("[\"one\", \"zwei\"]"));
  QCOMPARE(valueOf(*checkpoint, "f"), std::string("true"));
  QCOMPARE(std::filesystem::file_size(path) % 64, std::uintmax_t{0});
}

void TestGgufContainer::writerRefuses() {
  QTemporaryDir folder;
  const std::filesystem::path path = std::filesystem::path(folder.path().toStdString()) / "own.gguf";
  RawTensor tensor;
  tensor.name = std::string(64, 'n'), tensor.type = DType::F32, tensor.shape = {1}, tensor.owned.resize(4);
  QVERIFY(!write(path, {tensor}, {}));
  tensor.name = "n";
  QVERIFY(!write(path, {tensor, tensor}, {}));
  QVERIFY(!write(path, {tensor}, {GgufValue::number("general.alignment", 48)}));
  QVERIFY(!write(path, {tensor}, {GgufValue::flag("k", true), GgufValue::flag("k", true)}));
  tensor.type = DType::F8E4M3;
  QVERIFY(!write(path, {tensor}, {}));
  QVERIFY(!std::filesystem::exists(path));
}

QTEST_GUILESS_MAIN(TestGgufContainer)
#include "test_gguf_container.moc"
