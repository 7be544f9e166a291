// SPDX-License-Identifier: GPL-3.0-or-later
// Exports over several files: names, index and sizes as Hugging Face has them, the same layers as in one file, nothing left of
// one that fails; and a proof that fails is a failed check, whichever way it fails.
#include "core/export/export.h"
#include "core/export/shards.h"
#include "core/io/atomic_file.h"
#include "core/run/weight_list.h"
#include "tests/support/files.h"

#include <QtTest>

#include <cmath>
#include <set>

using namespace nibble;
namespace fs = std::filesystem;

namespace {

constexpr int layerCount = 5;

std::string layerName(int i) {
  return "model.layers." + std::to_string(i) + ".mlp.up_proj.weight";
}

// Five matrices of 64 x 64 and a norm after each.
class Model {
 public:
  Model() {
    std::vector<Tensor> tensors;
    for (int i = 0; i < layerCount; ++i) {
      std::vector<float> values(64 * 64);
      for (std::size_t k = 0; k < values.size(); ++k)
        values[k] = std::sin(static_cast<float>(k * 7 + static_cast<std::size_t>(i)));
      tensors.push_back(Tensor::fromFloats(layerName(i), {64, 64}, std::move(values)));
      tensors.push_back(
          Tensor::fromFloats("model.layers." + std::to_string(i) + ".norm.weight", {64}, std::vector<float>(64, 1.5f)));
    }
    std::vector<RawTensor> arrays;
    for (const Tensor& tensor : tensors) arrays.push_back(rawTensor(tensor));
    fs::create_directory(m_scratch.path() / "source");
    auto out = AtomicFile::create(m_scratch.path() / "source" / "model.safetensors");
    if (!out || !writeSafetensors(*out, arrays) || !out->commit()) qFatal("cannot write");
    test::writeWhole(m_scratch.path() / "source" / "config.json", "{\"model_type\": \"llama\"}");
    m_checkpoint = *Checkpoint::open(m_scratch.path() / "source");
  }
  [[nodiscard]] fs::path out(const std::string& name) const { return m_scratch.path() / name; }
  [[nodiscard]] ExportJob job(const Format* format, const std::string& choice, const std::string& name) const {
    ExportJob job;
    job.checkpoint = m_checkpoint;
    for (int i = 0; i < layerCount; ++i) job.tensors.emplace_back(layerName(i), *Choice::parse(choice));
    job.format = format;
    job.out = out(name);
    job.all = true;
    return job;
  }
  // Names in the folder that holds the exports.
  [[nodiscard]] std::set<std::string> beside() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(m_scratch.path())) names.insert(entry.path().filename().string());
    return names;
  }

 private:
  test::ScratchFolder m_scratch;
  std::shared_ptr<const Checkpoint> m_checkpoint;
};

// FP8 whose proof decoder refuses, or gives another value.
class Doubtful final : public Format {
 public:
  explicit Doubtful(bool refuses) : m_refuses(refuses) {}
  const FormatInfo& info() const override { return real().info(); }
  std::optional<std::string> refusal(const QuantizedTensor& tensor) const override { return real().refusal(tensor); }
  std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) const override {
    return real().preflight(runtime, layers);
  }
  Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override { return real().pack(layer); }
  std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override { return real().layout(tensor); }
  std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const override {
    return real().payloadBytes(layer, arrays);
  }
  Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                const std::vector<std::string>& leftAlone) const override {
    return real().configure(config, layers, leftAlone);
  }
  std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override { return real().detect(checkpoint); }
  Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return real().read(checkpoint, layer);
  }
  Result<std::vector<float>> proofDecode(const fs::path& file, const std::string& name) const override {
    if (m_refuses) return fail(name + ": not as it should be");
    auto values = real().proofDecode(file, name);
    if (values) values->back() += 1;
    return values;
  }

 private:
  static const Format& real() { return *findFormat("fp8"); }
  bool m_refuses;
};

}  // namespace

class TestExportShards : public QObject {
  Q_OBJECT
 private slots:
  void sizesAsPeopleWriteThem() {
    const std::pair<const char*, std::uint64_t> sizes[] = {{"5GB", 5000000000}, {"500 MB", 500000000}, {"2GiB", 2147483648},
                                                           {"1.5kb", 1500},     {"123", 123},          {"7B", 7}};
    for (const auto& [text, bytes] : sizes) QCOMPARE(parseByteSize(text).value_or(0), std::uint64_t{bytes});
    for (const char* text : {"", "GB", "0", "-5GB", "5XB", "5 GB each", "1e40GB"}) QVERIFY2(!parseByteSize(text), text);
  }

  void filesAreClosedBeforeTheyExceed() {
    using Split = std::vector<std::vector<std::size_t>>;
    QCOMPARE(splitUnits({4, 4, 4}, 0), (Split{{0, 1, 2}}));
    QCOMPARE(splitUnits({4, 4, 4}, 8), (Split{{0, 1}, {2}}));
    QCOMPARE(splitUnits({4, 20, 4}, 8), (Split{{0}, {1}, {2}}));
    QCOMPARE(splitUnits({20, 4, 4}, 8), (Split{{0}, {1, 2}}));
    QCOMPARE(splitUnits({}, 8), (Split{{}}));
    QCOMPARE(shardName(0, 1), std::string("model.safetensors"));
    QCOMPARE(shardName(9, 123), std::string("model-00010-of-00123.safetensors"));
  }

  void shardsHoldWhatOneFileHolds() {
    const Model model;
    const std::string choice = "fp8:granularity=block,group=32";
    const auto whole = exportTensors(model.job(findFormat("fp8"), choice, "whole"), {});
    QVERIFY2(whole.has_value(), whole ? "" : whole.error().message.c_str());
    ExportJob job = model.job(findFormat("fp8"), choice, "shards");
    job.shardSize = 10000;  // two layers of 4 096 + 16 bytes and their norms
    const auto shards = exportTensors(job, {});
    QVERIFY2(shards.has_value(), shards ? "" : shards.error().message.c_str());
    QVERIFY(shards->verified && shards->sizeBytes == whole->sizeBytes);
    QCOMPARE(shards->files.size(), std::size_t{5});  // three shards, index, config
    for (int i = 1; i <= 3; ++i) QVERIFY(fs::exists(job.out / ("model-0000" + std::to_string(i) + "-of-00003.safetensors")));
    QVERIFY(!fs::exists(job.out / "model.safetensors"));

    const auto index = nlohmann::json::parse(test::readWhole(job.out / indexFile));
    std::uint64_t bytes = 0;
    const auto one = *Checkpoint::open(whole->out), several = *Checkpoint::open(job.out);
    QCOMPARE(several->files().size(), std::size_t{3});
    QCOMPARE(index["weight_map"].size(), one->entries().size());
    for (const TensorEntry& entry : one->entries()) {
      bytes += entry.sizeBytes;
      const auto a = one->read(std::string_view(entry.name)), b = several->read(std::string_view(entry.name));
      QVERIFY(a && b && std::ranges::equal(a->bytes(), b->bytes()));
      const auto alone = Checkpoint::open(job.out / index["weight_map"][entry.name].get<std::string>());
      QVERIFY(alone && (*alone)->find(entry.name));
    }
    QCOMPARE(index["metadata"]["total_size"].get<std::uint64_t>(), bytes);
    const WeightList a(one), b(several);
    for (int i = 0; i < layerCount; ++i) {
      QVERIFY(b.find(layerName(i))->packed.has_value());
      QVERIFY(*a.read(layerName(i))->readAll() == *b.read(layerName(i))->readAll());
    }
  }

  // Packed once and held, or packed again for each use: the same file.
  void packedAgainIsTheSame() {
    const Model model;
    ExportJob held = model.job(findFormat("fp8"), "fp8", "held"), again = model.job(findFormat("fp8"), "fp8", "again");
    again.heldBytes = 0;
    QVERIFY(exportTensors(held, {}) && exportTensors(again, {}));
    QCOMPARE(test::readWhole(held.out / "model.safetensors"), test::readWhole(again.out / "model.safetensors"));
  }

  void onlyFoldersOfSafetensorsAreSplit() {
    const Model model;
    for (const char* name : {"out.npz", "out.safetensors"}) {
      ExportJob job = model.job(findFormat(fs::path(name).extension() == ".npz" ? "npz" : "fp8"), "fp8", name);
      job.all = false;
      job.shardSize = 10000;
      const auto result = exportTensors(job, {});
      QVERIFY(!result && result.error().message.find("only a folder of safetensors files is split") != std::string::npos);
    }
  }

  void failedProofIsAFailedCheck_data() {
    QTest::addColumn<bool>("refuses");
    QTest::addColumn<qulonglong>("shardSize");
    QTest::newRow("decoder refuses") << true << 0ull;
    QTest::newRow("another value") << false << 0ull;
    QTest::newRow("decoder refuses a shard") << true << 10000ull;
    QTest::newRow("another value in a shard") << false << 10000ull;
  }

  void failedProofIsAFailedCheck() {
    QFETCH(bool, refuses);
    QFETCH(qulonglong, shardSize);
    const Model model;
    const auto before = model.beside();
    const Doubtful format(refuses);
    ExportJob job = model.job(&format, "fp8", "out");
    job.shardSize = shardSize;
    const auto result = exportTensors(job, {});
    QVERIFY(!result);
    QCOMPARE(result.error().kind, ErrorKind::Check);
    const char* const why = refuses ? "not as it should be" : "decodes to other values than shown";
    QVERIFY2(result.error().message.find(why) != std::string::npos, result.error().message.c_str());
    QVERIFY(result.error().message.find("nothing was kept") != std::string::npos);
    QVERIFY(model.beside() == before);
    job.verify = false;
    QVERIFY(exportTensors(job, {}).has_value());
  }
};

QTEST_APPLESS_MAIN(TestExportShards)
#include "test_export_shards.moc"
