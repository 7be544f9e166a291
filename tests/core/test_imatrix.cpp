// SPDX-License-Identifier: GPL-3.0-or-later
// Importance matrices of llama.cpp: what llama-imatrix wrote gives the mean squares it measured, in the .dat form to the bit
// where the golden file says so, and odd or broken files are taken or refused as the verdicts beside them say.
#include "core/io/imatrix.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <cmath>

using namespace nibble;
using nlohmann::json;
using test::dataPath;
using test::readWhole;

namespace {

std::span<const std::byte> bytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

Result<Imatrix> readDat(const std::string& name) {
  const std::string text = readWhole(dataPath(name));
  return readImatrix(bytesOf(text));
}

std::string integer(std::int32_t value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

std::vector<float> meanSquaresOf(const json& golden, const json& entry) {
  if (entry.contains("mean_square")) return test::floatsFromJson(entry["mean_square"]);
  for (const json& other : golden["entries"])
    if (other["name"] == entry["same_as"]) return test::floatsFromJson(other["mean_square"]);
  return {};
}

// What a GGUF reader would hand over: float tensors and keys.
class Listed final : public Checkpoint {
 public:
  explicit Listed(std::vector<std::string> keys) {
    for (std::string& key : keys) m_metadata.emplace_back(std::move(key), "1");
  }
  void add(const std::string& name, const Shape& shape, std::vector<float> values) {
    Tensor tensor = Tensor::fromFloats(name, shape, std::move(values));
    m_entries.push_back({name, tensor.type(), shape, tensor.size() * 4, 0});
    m_tensors.push_back(std::move(tensor));
  }
  [[nodiscard]] const std::filesystem::path& path() const override { return m_path; }
  [[nodiscard]] std::string_view format() const override { return "gguf"; }
  [[nodiscard]] const std::vector<std::filesystem::path>& files() const override { return m_files; }
  [[nodiscard]] const std::vector<TensorEntry>& entries() const override { return m_entries; }
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& metadata() const override { return m_metadata; }
  [[nodiscard]] std::uint64_t mappedBytes() const override { return 0; }
  using Checkpoint::read;
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override { return m_tensors[index]; }
  [[nodiscard]] bool changedOnDisk() const override { return false; }
  [[nodiscard]] std::string configText() const override { return {}; }

 private:
  std::filesystem::path m_path;
  std::vector<std::filesystem::path> m_files;
  std::vector<TensorEntry> m_entries;
  std::vector<Tensor> m_tensors;
  std::vector<std::pair<std::string, std::string>> m_metadata;
};

const std::vector<std::string> allKeys{"imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"};

}  // namespace

class TestImatrix : public QObject {
  Q_OBJECT
 private slots:
  void datHoldsWhatWasMeasured() {
    const json golden = test::loadJson("imatrix/imatrix_minilm.json");
    const auto matrix = readDat("imatrix/imatrix_minilm.dat");
    QVERIFY2(matrix.has_value(), matrix ? "" : matrix.error().message.c_str());
    QCOMPARE(matrix->size(), golden["in_dat"].size());
    std::size_t compared = 0;
    for (const json& entry : golden["entries"]) {
      const auto found = matrix->find(entry["name"].get<std::string>());
      if (found == matrix->end()) continue;
      std::vector<float> expected = meanSquaresOf(golden, entry);
      if (const auto differs = entry.find("mean_square_dat_differs_at"); differs != entry.end())
        for (const auto& [channel, value] : differs->items()) expected[std::stoul(channel)] = value.get<float>();
      QVERIFY2(found->second == expected, found->first.c_str());
      ++compared;
    }
    QCOMPARE(compared, matrix->size());
  }

  void ggufHoldsTheSame() {
    const json golden = test::loadJson("imatrix/imatrix_minilm.json");
    const auto file = Checkpoint::open(dataPath("imatrix/imatrix_minilm.gguf"));
    QVERIFY2(file.has_value(), file ? "" : file.error().message.c_str());
    const auto matrix = readImatrix(**file);
    QVERIFY2(matrix.has_value(), matrix ? "" : matrix.error().message.c_str());
    QCOMPARE(matrix->size(), golden["entries"].size());
    for (const json& entry : golden["entries"]) {
      const auto found = matrix->find(entry["name"].get<std::string>());
      QVERIFY(found != matrix->end());
      QVERIFY2(found->second == meanSquaresOf(golden, entry), found->first.c_str());
    }
  }

  void oddGgufFiles_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<bool>("taken");
    const json verdicts = test::loadJson("imatrix/edge/verdicts.json");
    for (const json& verdict : verdicts["files"]) {
      const std::string file = verdict["file"];
      if (!file.ends_with(".gguf") || file == "wrong_width.gguf") continue;
      QTest::newRow(file.c_str()) << QString::fromStdString(file) << (verdict["llama_quantize"] == "accepted");
    }
  }
  void oddGgufFiles() {
    QFETCH(QString, file);
    QFETCH(bool, taken);
    const auto opened = Checkpoint::open(dataPath("imatrix/edge/" + file.toStdString()));
    if (!opened) {
      QVERIFY2(!taken && !opened.error().message.empty(), opened.error().message.c_str());
      return;
    }
    const auto matrix = readImatrix(**opened);
    QVERIFY2(matrix.has_value() == taken, matrix ? "taken" : matrix.error().message.c_str());
    if (!taken) return;
    const std::vector<float>& values = matrix->at("blk.0.ffn_up.weight");
    QVERIFY(values.size() % 384 == 0);
    if (file == "ok_zero_count.gguf") QVERIFY(values == std::vector<float>(384, 1.0f));
  }

  void oddDatFiles_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<bool>("taken");
    const json verdicts = test::loadJson("imatrix/edge/verdicts.json");
    for (const json& verdict : verdicts["files"]) {
      const std::string file = verdict["file"];
      if (!file.ends_with(".dat") || file == "wrong_width.dat") continue;  // its width is wrong for one tensor: test_activations
      // A mean of squares below zero cannot be; llama-quantize does not look.
      const bool taken = verdict["llama_quantize"] == "accepted" && file != "negative_value.dat";
      QTest::newRow(file.c_str()) << QString::fromStdString(file) << taken;
    }
  }
  void oddDatFiles() {
    QFETCH(QString, file);
    QFETCH(bool, taken);
    const auto matrix = readDat("imatrix/edge/" + file.toStdString());
    QVERIFY2(matrix.has_value() == taken, matrix ? "taken" : matrix.error().message.c_str());
    if (taken) QCOMPARE(matrix->at("blk.0.ffn_up.weight").size(), std::size_t{384});
    if (!taken) QVERIFY(!matrix.error().message.empty());
  }

  void everyCutOfADatIsRefused() {
    const std::string whole = integer(1) + integer(1) + "w" + integer(2) + integer(2) + integer(0x40000000) + integer(0x40800000);
    const auto matrix = readImatrix(bytesOf(whole));  // 2 and 4, twice summed
    QVERIFY(matrix.has_value());
    QVERIFY((matrix->at("w") == std::vector<float>{1, 2}));
    for (std::size_t length = 0; length < whole.size(); ++length)
      QVERIFY(!readImatrix(bytesOf(whole.substr(0, length))).has_value());
  }

  void laterEntryOfTheSameNameCounts() {
    const std::string once = integer(1) + "w" + integer(0) + integer(1);
    const auto matrix = readImatrix(bytesOf(integer(2) + once + integer(0x3F800000) + once + integer(0x40000000)));
    QVERIFY(matrix.has_value());
    QCOMPARE(matrix->at("w").front(), 2.0f);
  }

  void hugeCountsAllocateNothing() {
    const auto matrix = readImatrix(bytesOf(integer(1) + integer(1) + "w" + integer(1) + integer(0x7FFFFFFF)));
    QVERIFY(!matrix.has_value());
    QVERIFY(matrix.error().message.find("ends within") != std::string::npos);
  }

  void ggufPairsAreMeans() {
    Listed file(allKeys);
    file.add("a.weight.in_sum2", {2, 3}, {2, 4, 6, 10, 20, 30});
    file.add("a.weight.counts", {2, 1}, {2, 10});
    file.add("b.weight.counts", {2, 1}, {0, 4});
    file.add("b.weight.in_sum2", {2, 2}, {5, 5, 8, 4});
    file.add("old.weight.in_sum2", {2, 2}, {2, 4, 6, 8});
    file.add("old.weight.counts", {1}, {2});
    file.add("stray", {1}, {7});
    const auto matrix = readImatrix(file);
    QVERIFY2(matrix.has_value(), matrix ? "" : matrix.error().message.c_str());
    QCOMPARE(matrix->size(), std::size_t{3});
    QVERIFY((matrix->at("a.weight") == std::vector<float>{1, 2, 3, 1, 2, 3}));
    QVERIFY((matrix->at("b.weight") == std::vector<float>{1, 1, 2, 1}));
    QVERIFY((matrix->at("old.weight") == std::vector<float>{1, 2, 3, 4}));
  }

  void ggufRefusals_data() {
    QTest::addColumn<int>("which");
    QTest::addColumn<QString>("says");
    QTest::newRow("no chunk size") << 0 << "imatrix.chunk_size";
    QTest::newRow("no counts") << 1 << "counts";
    QTest::newRow("no sums") << 2 << "in_sum2";
    QTest::newRow("nothing") << 3 << "in_sum2";
    QTest::newRow("not finite") << 4 << "channel 1";
    QTest::newRow("negative") << 5 << "channel 0";
    QTest::newRow("counts do not divide") << 6 << "3 sums for 2 counts";
    QTest::newRow("negative count") << 7 << "count of -1";
  }
  void ggufRefusals() {
    QFETCH(int, which);
    QFETCH(QString, says);
    Listed file(which == 0 ? std::vector<std::string>{"imatrix.datasets", "imatrix.chunk_count"} : allKeys);
    const std::vector<float> sums = which == 4 ? std::vector<float>{1, HUGE_VALF, 1} : std::vector<float>{which == 5 ? -1.0f : 1.0f, 1, 1};
    if (which != 2 && which != 3) file.add("a.in_sum2", {3}, sums);
    if (which == 6) {
      file.add("a.counts", {2}, {1, 1});
    } else if (which != 1 && which != 3) {
      file.add("a.counts", {1}, {which == 7 ? -1.0f : 1.0f});
    }
    const auto matrix = readImatrix(file);
    QVERIFY(!matrix.has_value());
    QVERIFY2(matrix.error().message.find(says.toStdString()) != std::string::npos, matrix.error().message.c_str());
  }
};

QTEST_APPLESS_MAIN(TestImatrix)
#include "test_imatrix.moc"
