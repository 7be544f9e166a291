// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/safetensors_writer.h"

#include "core/io/atomic_file.h"
#include "core/io/checkpoint.h"
#include "tests/support/files.h"

#include <QTest>

#include <unistd.h>

#include <algorithm>

using namespace nibble;
using namespace nibble::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string messageOf(const Result<std::shared_ptr<const Checkpoint>>& opened) {
  return opened ? "opened" : opened.error().message;
}

}  // namespace

class TestSafetensorsWriter : public QObject {
  Q_OBJECT
 private slots:
  void whatIsWrittenReadsBack() {
    const ScratchFolder folder;
    const auto bytes = [](std::initializer_list<int> list) {
      std::vector<std::byte> result;
      for (const int value : list) result.push_back(static_cast<std::byte>(value));
      return result;
    };
    const std::vector<RawTensor> tensors{{"u", DType::U8, {3}, bytes({1, 2, 3})},
                                         {"重み \"q\"\n", DType::F16, {2, 1}, bytes({0, 60, 0, 64})},
                                         {"f", DType::F32, {}, bytes({0, 0, 128, 63})},
                                         {"none", DType::F64, {0, 2}, {}}};
    Result<AtomicFile> file = AtomicFile::create(folder.file("w.safetensors"));
    QVERIFY(file);
    QVERIFY(writeSafetensors(*file, tensors, {{"format", "pt"}, {"ключ", "знач"}}));
    QVERIFY(file->commit());
    const auto opened = Checkpoint::open(folder.file("w.safetensors"));
    QVERIFY2(opened, messageOf(opened).c_str());
    QCOMPARE((*opened)->entries().front().name, std::string("none"));  // widest items first
    QCOMPARE((*opened)->entries().back().name, std::string("u"));
    for (const RawTensor& tensor : tensors) {
      const Result<Tensor> read = (*opened)->read(tensor.name);
      QVERIFY(read->shape() == tensor.shape && read->type() == tensor.type);
      QVERIFY(std::ranges::equal(read->bytes(), tensor.bytes()));
      const auto width = static_cast<std::uintptr_t>(info(tensor.type).bits) / 8;
      QCOMPARE(reinterpret_cast<std::uintptr_t>(read->bytes().data()) % width, std::uintptr_t{0});
    }
    QVERIFY(((*opened)->metadata() == std::vector<std::pair<std::string, std::string>>{{"format", "pt"}, {"ключ", "знач"}}));
  }

  void whatCannotBeWrittenIsRefused() {
    const ScratchFolder folder;
    const RawTensor one{"a", DType::U8, {1}, {std::byte{1}}};
    const auto refusal = [&](const std::vector<RawTensor>& tensors) {
      Result<AtomicFile> file = AtomicFile::create(folder.file("w.safetensors"));
      const Status status = writeSafetensors(*file, tensors);
      return status ? std::string() : status.error().message;
    };
    QVERIFY(contains(refusal({one, one}), "twice"));
    QVERIFY(contains(refusal({{"a", DType::U8, {2}, {std::byte{1}}}}), "\"a\""));
    QVERIFY(contains(refusal({{"__metadata__", DType::U8, {1}, {std::byte{1}}}}), "format's own"));
    QVERIFY(contains(refusal({{"\xFF", DType::U8, {1}, {std::byte{1}}}}), "UTF-8"));
    QVERIFY(folder.names().empty());
  }

  void aSourceThatShrinksStopsTheCopy() {
    const ScratchFolder folder;
    writeWhole(folder.file("source.safetensors"), safetensorsOf({{"w", std::vector<float>(1 << 16, 1.0f)}}));
    const auto source = *Checkpoint::open(folder.file("source.safetensors"));
    const RawTensor raw = rawTensor(*source->read("w"));
    QCOMPARE(::truncate(folder.file("source.safetensors").c_str(), 4096), 0);
    Result<AtomicFile> file = AtomicFile::create(folder.file("copy.safetensors"));
    QVERIFY(file);
    const Status status = writeSafetensors(*file, {raw});
    QVERIFY(!status);
    QVERIFY2(contains(status.error().message, "shrank"), status.error().message.c_str());
  }
};

QTEST_APPLESS_MAIN(TestSafetensorsWriter)
#include "test_safetensors_writer.moc"
