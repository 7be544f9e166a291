// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/checkpoint.h"

#include "tests/support/files.h"

#include <QTest>
#include <nlohmann/json.hpp>

#include <unistd.h>

#include <chrono>

using namespace nibble;
using namespace nibble::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string messageOf(const Result<std::shared_ptr<const Checkpoint>>& opened) {
  return opened ? "opened" : opened.error().message;
}

double millisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

class TestCheckpoint : public QObject {
  Q_OBJECT
 private slots:
  void otherPathsAreRefusedPlainly() {
    const ScratchFolder folder;
    QVERIFY(contains(messageOf(Checkpoint::open(folder.file("none"))), "no such file or directory"));
    writeWhole(folder.file("pytorch_model.bin"), "\x80\x02");
    QVERIFY(contains(messageOf(Checkpoint::open(folder.file("pytorch_model.bin"))), "pickled"));
    writeWhole(folder.file("weights.dat"), safetensorsOf({{"a", {1}}}));
    QVERIFY(Checkpoint::open(folder.file("weights.dat")));  // known by its first bytes
    writeWhole(folder.file("notes"), "hello");
    QVERIFY(contains(messageOf(Checkpoint::open(folder.file("notes"))), "no container"));
  }

  void hundredGigabytesListInMilliseconds() {
    const ScratchFolder folder;
    const auto path = folder.file("large.safetensors");
    constexpr std::uint64_t side = 50'000, tensors = 10;  // 10 GB each
    std::string json = "{";
    for (std::uint64_t i = 0; i < tensors; ++i)
      json += (i > 0 ? "," : "") + nlohmann::json("layer." + std::to_string(i)).dump() +
              R"(:{"dtype":"F32","shape":[50000,50000],"data_offsets":[)" + std::to_string(i * side * side * 4) + "," +
              std::to_string((i + 1) * side * side * 4) + "]}";
    const std::string head = safetensorsHead(json + "}");
    writeWhole(path, head);
    if (::truncate(path.c_str(), static_cast<off_t>(head.size() + tensors * side * side * 4)) != 0)
      QSKIP("the file system holds no sparse file of 100 GB");
    const std::uint64_t before = memoryKiB("RssAnon");
    const auto start = std::chrono::steady_clock::now();
    const auto opened = Checkpoint::open(path);
    const double milliseconds = millisecondsSince(start);
    QVERIFY2(opened, messageOf(opened).c_str());
    QVERIFY((*opened)->mappedBytes() >= std::uint64_t{100'000'000'000});
    std::vector<float> strip(65536);
    for (std::size_t i = 0; i < tensors; ++i) {
      const Result<Tensor> tensor = (*opened)->read(i);
      for (std::uint64_t at = 0; at < side * side; at += side * side / 20) QVERIFY(tensor->read(at, strip));
    }
    QVERIFY2(milliseconds < 50 || instrumented, qPrintable(QString::number(milliseconds)));
    QVERIFY(memoryKiB("RssAnon") < before + 20 * 1024 || instrumented);
  }

  void hundredThousandTensors() {
    const ScratchFolder folder;
    constexpr std::size_t count = 100'000;
    std::vector<std::pair<std::string, std::vector<float>>> tensors;
    for (std::size_t i = 0; i < count; ++i)
      tensors.push_back({"model.layers." + std::to_string(i) + ".weight", {static_cast<float>(i)}});
    writeWhole(folder.file("many.safetensors"), safetensorsOf(tensors));
    const auto start = std::chrono::steady_clock::now();
    const auto opened = Checkpoint::open(folder.file("many.safetensors"));
    const double milliseconds = millisecondsSince(start);
    QVERIFY(opened);
    QCOMPARE((*opened)->entries().size(), count);
    for (const std::size_t i : {std::size_t{0}, std::size_t{777}, count - 1})
      QCOMPARE((*opened)->read(tensors[i].first)->readAll()->front(), static_cast<float>(i));
    QVERIFY2(milliseconds < 500 || instrumented, qPrintable(QString::number(milliseconds)));
    const auto wrong = (*opened)->read("model.layers.99998.wieght");
    QVERIFY2(contains(wrong.error().message, "did you mean \"model.layers.99998.weight\""), wrong.error().message.c_str());
    QVERIFY(contains((*opened)->read("model.layers.99998").error().message, "\"model.layers.99998.weight\""));
  }

  void worthQuantizingAsTheContractSays() {
    const auto worth = [](DType type, Shape shape) { return worthQuantizing({"w", type, std::move(shape), 0, 0}); };
    QVERIFY(worth(DType::F16, {64, 64}));
    QVERIFY(worth(DType::BF16, {32, 128}));
    QVERIFY(worth(DType::F32, {8, 8, 64}));  // 64 x 64
    QVERIFY(!worth(DType::F32, {32, 127}));
    QVERIFY(!worth(DType::F32, {31, 1000}));
    QVERIFY(!worth(DType::F32, {1000, 31}));
    QVERIFY(!worth(DType::F32, {4096}));
    QVERIFY(!worth(DType::F32, {}));
    QVERIFY(!worth(DType::F32, {512, 512, 3}));
    QVERIFY(!worth(DType::I32, {64, 64}));
    QVERIFY(!worth(DType::F8E8M0, {64, 64}));
  }

  void expertStacksAreOneMatrixEach() {
    const ScratchFolder folder;
    std::vector<float> values(3 * 64 * 64);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    std::string data(reinterpret_cast<const char*>(values.data()), values.size() * 4);
    writeWhole(folder.file("moe.safetensors"),
               safetensorsHead(R"({"experts":{"dtype":"F32","shape":[3,64,64],"data_offsets":[0,49152]},)"
                               R"("plain[1]":{"dtype":"F32","shape":[64,64],"data_offsets":[49152,65536]}})") +
                   data + std::string(16384, '\0'));
    const auto opened = *Checkpoint::open(folder.file("moe.safetensors"));
    std::vector<std::string> names;
    for (const TensorEntry& entry : quantizableTensors(*opened)) {
      names.push_back(entry.name);
      QVERIFY((entry.shape == Shape{64, 64}));
      QCOMPARE(entry.sizeBytes, std::uint64_t{16384});
      QVERIFY(opened->read(entry.name));
    }
    QVERIFY((names == std::vector<std::string>{"experts[0]", "experts[1]", "experts[2]", "plain[1]"}));
    const Result<Tensor> second = opened->read("experts[1]");
    QCOMPARE(second->name(), std::string("experts[1]"));
    QCOMPARE(second->readAll()->front(), 4096.0f);
    QVERIFY(contains(opened->read("experts[3]").error().message, "3 matrices"));
    QVERIFY(!opened->read("experts[01]"));
    QVERIFY(!opened->read("experts[-1]"));
    QVERIFY(!opened->read("plain[1][0]"));
  }
};

QTEST_APPLESS_MAIN(TestCheckpoint)
#include "test_checkpoint.moc"
