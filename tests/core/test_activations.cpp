// SPDX-License-Identifier: GPL-3.0-or-later
// What is known about activations: the collection itself, the names one tensor has in two worlds, and the way from files of
// every form to it.
#include "core/tensor/activations.h"
#include "core/io/atomic_file.h"
#include "core/io/npy.h"
#include "core/io/safetensors_writer.h"
#include "core/io/tensor_names.h"
#include "core/run/activation_files.h"
#include "core/run/run.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <cmath>
#include <cstring>

using namespace nibble;

namespace {

LayerInputs samples(std::uint64_t tokens, std::vector<float> values) {
  LayerInputs inputs;
  inputs.tokens = tokens;
  inputs.channels = values.size() / tokens;
  inputs.samples = std::move(values);
  return inputs;
}
LayerInputs meanSquares(std::vector<float> values) {
  LayerInputs inputs;
  inputs.channels = values.size();
  inputs.meanSquares = std::move(values);
  return inputs;
}
LayerInputs gram(std::uint64_t channels, std::vector<double> values, std::uint64_t tokens = 0) {
  LayerInputs inputs;
  inputs.channels = channels;
  inputs.tokens = tokens;
  inputs.gram = std::move(values);
  return inputs;
}

template <class T>
RawTensor array(std::string name, DType type, Shape shape, const std::vector<T>& values) {
  RawTensor raw;
  raw.name = std::move(name);
  raw.type = type;
  raw.shape = std::move(shape);
  raw.owned.resize(values.size() * sizeof(T));
  std::memcpy(raw.owned.data(), values.data(), raw.owned.size());
  return raw;
}
RawTensor floats(std::string name, Shape shape, const std::vector<float>& values) {
  return array(std::move(name), DType::F32, std::move(shape), values);
}

std::string messageOf(const Status& status) { return status ? "" : status.error().message; }

}  // namespace

class TestActivations : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() {
    const std::string query = "encoder.layer.0.attention.self.query.weight", up = "encoder.layer.0.intermediate.dense.weight";
    QVERIFY(writeNpz(m_folder.file("bert.npz"), {floats(query, {4, 384}, std::vector<float>(4 * 384, 0.5f)),
                                                 floats(up, {4, 384}, std::vector<float>(4 * 384, 0.25f)),
                                                 floats("blk.1.ffn_down_exps.weight", {2, 4, 8}, std::vector<float>(64, 1.0f)),
                                                 floats("w", {2, 2}, {1, 2, 3, 4})}));
    auto file = Checkpoint::open(m_folder.file("bert.npz"));
    QVERIFY(file.has_value());
    m_weights = std::make_unique<WeightList>(*file);
  }

  void meanSquaresFollowFromSamplesAndGram() {
    ActivationData data;
    QVERIFY(data.empty());
    QVERIFY(data.add("a", samples(2, {1, -2, 3, 0})));
    const LayerInputs* a = data.find("a", 2);
    QVERIFY(a != nullptr);
    QVERIFY((a->meanSquares == std::vector<float>{5, 2}));
    QVERIFY(data.add("g", gram(2, {8, 1, 1, 2}, 4)));
    QVERIFY((data.find("g", 2)->meanSquares == std::vector<float>{2, 0.5f}));
    QVERIFY(data.add("unscaled", gram(2, {8, 1, 1, 2})));
    QVERIFY(data.find("unscaled", 2)->meanSquares.empty());
  }

  void ownEntriesComeBeforeTheNameless() {
    ActivationData data;
    QVERIFY(data.add("", meanSquares({1, 2})));
    QVERIFY(data.add("own", meanSquares({3, 4})));
    QCOMPARE(data.find("own", 2)->meanSquares[0], 3.0f);
    QCOMPARE(data.find("other", 2)->meanSquares[0], 1.0f);
    QVERIFY(data.find("other", 3) == nullptr);
    QVERIFY(data.find("own", 3) == nullptr);
  }

  void laterKnowledgeJoins() {
    ActivationData data;
    QVERIFY(data.add("a", samples(1, {1, 2})));
    QVERIFY(data.add("a", meanSquares({7, 8})));
    QCOMPARE(data.find("a", 2)->meanSquares[0], 7.0f);
    QCOMPARE(data.find("a", 2)->samples.size(), std::size_t{2});
    QVERIFY(messageOf(data.add("a", meanSquares({1}))).find("1 input channels here, 2 elsewhere") != std::string::npos);
  }

  void impossibleNumbersAreRefused() {
    ActivationData data;
    QVERIFY(messageOf(data.add("a", meanSquares({1, -1}))).find("a: importance weights: number 1 is negative") != std::string::npos);
    QVERIFY(messageOf(data.add("a", meanSquares({NAN}))).find("number 0 is not finite") != std::string::npos);
    QVERIFY(messageOf(data.add("a", samples(1, {1, HUGE_VALF}))).find("samples: number 1") != std::string::npos);
    QVERIFY(messageOf(data.add("a", gram(2, {1, 0, 0}))).find("3 numbers where 4") != std::string::npos);
    QVERIFY(messageOf(data.add("a", gram(2, {1, 0.5, 0, 1}))).find("not symmetric at [1, 0]") != std::string::npos);
    QVERIFY(messageOf(data.add("a", gram(2, {1, 0, 0, -1}))).find("[1, 1] is negative") != std::string::npos);
    QVERIFY(messageOf(data.add("a", {})).find("no input channels") != std::string::npos);
    QVERIFY(data.empty());
  }

  void namesOfTwoWorlds_data() {
    QTest::addColumn<QString>("from");
    QTest::addColumn<QString>("to");
    QTest::addColumn<int>("expert");
    const auto row = [](const char* from, const char* to, int expert = -1) { QTest::newRow(from) << from << to << expert; };
    row("encoder.layer.11.attention.self.query.weight", "blk.11.attn_q.weight");
    row("bert.encoder.layer.0.attention.output.dense.bias", "blk.0.attn_output.bias");
    row("0.auto_model.encoder.layer.2.output.dense.weight", "blk.2.ffn_down.weight");
    row("encoder.layer.2.output.LayerNorm.weight", "blk.2.layer_output_norm.weight");
    row("embeddings.word_embeddings.weight", "token_embd.weight");
    row("model.layers.3.self_attn.o_proj.weight", "blk.3.attn_output.weight");
    row("layers.3.mlp.up_proj.weight", "blk.3.ffn_up.weight");
    row("lm_head.weight", "output.weight");
    row("model.norm.weight", "output_norm.weight");
    row("model.layers.1.mlp.experts.12.down_proj.weight", "blk.1.ffn_down_exps.weight", 12);
    row("model.layers.1.block_sparse_moe.experts.7.w3.weight", "blk.1.ffn_up_exps.weight", 7);
    row("blk.0.attn_q.weight", "");
    row("encoder.layer..attention.self.query.weight", "");
    row("encoder.layer.1.attention.self.query.weights", "");
    row("encoder.layer.1.attention.self.queryx.weight", "");
    row("weight", "");
    row("", "");
  }
  void namesOfTwoWorlds() {
    QFETCH(QString, from);
    QFETCH(QString, to);
    QFETCH(int, expert);
    const auto name = llamaCppName(from.toStdString());
    QCOMPARE(name.has_value(), !to.isEmpty());
    if (!name) return;
    QCOMPARE(QString::fromStdString(name->name), to);
    QCOMPARE(name->expert ? static_cast<int>(*name->expert) : -1, expert);
  }

  void imatrixMeetsHuggingFaceNames() {
    const auto golden = test::loadJson("imatrix/imatrix_minilm.json");
    const auto data = read({.inputWeights = test::dataPath("imatrix/imatrix_minilm.dat")}, {query(), up()});
    QVERIFY2(data.has_value(), data ? "" : data.error().message.c_str());
    QVERIFY(m_warnings.empty());
    int compared = 0;
    for (const auto& entry : golden["entries"]) {
      if (entry["name"] != "blk.0.attn_k.weight" && entry["name"] != "blk.0.ffn_up.weight") continue;
      // Query and key see the same inputs.
      const LayerInputs* known = data->find(entry["name"] == "blk.0.ffn_up.weight" ? up() : query(), 384);
      QVERIFY(known != nullptr);
      QVERIFY(known->meanSquares == test::floatsFromJson(entry["mean_square"]));
      ++compared;
    }
    QCOMPARE(compared, 2);
    QVERIFY(data->find(query(), 384)->meanSquares != data->find(up(), 384)->meanSquares);
  }

  void expertsTakeTheirSlice() {
    const std::string entry = "blk.1.ffn_down_exps.weight";
    std::string dat;
    const auto put = [&dat](auto value) { dat.append(reinterpret_cast<const char*>(&value), sizeof value); };
    put(std::int32_t{1});
    put(static_cast<std::int32_t>(entry.size()));
    dat += entry;
    put(std::int32_t{1});
    put(std::int32_t{16});
    for (int i = 0; i < 16; ++i) put(static_cast<float>(i));
    test::writeWhole(m_folder.file("experts.dat"), dat);
    const auto data = read({.inputWeights = m_folder.file("experts.dat")}, {entry + "[0]", entry + "[1]"});
    QVERIFY2(data.has_value(), data ? "" : data.error().message.c_str());
    QCOMPARE(data->find(entry + "[0]", 8)->meanSquares[3], 3.0f);
    QCOMPARE(data->find(entry + "[1]", 8)->meanSquares[3], 11.0f);
  }

  void anImatrixOfAnotherWidthIsRefused() {
    const auto data = read({.inputWeights = test::dataPath("imatrix/edge/wrong_width.dat")}, {up()});
    QVERIFY(!data.has_value());
    QVERIFY2(data.error().message.find(up() + ", which has 384 columns") != std::string::npos, data.error().message.c_str());
  }

  void whatIsNotThereIsSaid() {
    const auto data = read({.inputWeights = test::dataPath("imatrix/imatrix_minilm.dat")}, {"w", query()});
    QVERIFY(data.has_value());
    QCOMPARE(m_warnings.size(), std::size_t{1});
    QVERIFY(m_warnings[0].starts_with("w: no input weights"));
    QVERIFY(data->find("w", 2) == nullptr);
  }

  void arraysOfEveryForm_data() {
    QTest::addColumn<QString>("ending");
    for (const char* ending : {".npy", ".npz", ".safetensors"}) QTest::newRow(ending) << ending;
  }
  void arraysOfEveryForm() {
    QFETCH(QString, ending);
    const std::string end = ending.toStdString();
    const auto write = [&](const std::string& file, RawTensor raw) -> Status {
      const auto path = m_folder.file(file + end);
      if (end == ".npy") return writeNpy(path, raw);
      std::vector<RawTensor> arrays;
      arrays.push_back(std::move(raw));
      if (end == ".npz") return writeNpz(path, arrays);
      auto out = AtomicFile::create(path);
      if (!out) return Status(fail(out.error()));
      NIBBLE_TRY(writeSafetensors(*out, arrays));
      return out->commit();
    };
    QVERIFY(write("weights", floats("w", {2}, {2, 3})));
    QVERIFY(write("inputs", floats("w", {1, 3, 2}, {1, 2, 3, 4, 5, 6})));
    const double third = 1.0 / 3;
    QVERIFY(write("gram", array<double>("w", DType::F64, {2, 2}, {1, third, third, 1})));
    const auto data = read({.inputWeights = m_folder.file("weights" + end),
                            .inputs = m_folder.file("inputs" + end),
                            .gram = m_folder.file("gram" + end)},
                           {"w"});
    QVERIFY2(data.has_value(), data ? "" : data.error().message.c_str());
    const LayerInputs* known = data->find("w", 2);
    QVERIFY(known != nullptr);
    QVERIFY((known->meanSquares == std::vector<float>{2, 3}));
    QCOMPARE(known->tokens, std::uint64_t{3});
    QVERIFY((known->samples == std::vector<float>{1, 2, 3, 4, 5, 6}));
    QCOMPARE(known->gram[1], third);
  }

  void badArraysAreRefused() {
    QVERIFY(writeNpy(m_folder.file("three.npy"), floats("x", {3}, {1, 2, 3})));
    QVERIFY(writeNpy(m_folder.file("oblong.npy"), floats("x", {3, 2}, {1, 2, 3, 4, 5, 6})));
    QVERIFY(writeNpy(m_folder.file("integers.npy"), array<std::int32_t>("x", DType::I32, {2}, {1, 2})));
    const auto refused = [&](ActivationFiles files, const std::string& says) {
      const auto data = read(files, {"w"});
      return !data && data.error().message.find(says) != std::string::npos;
    };
    QVERIFY(refused({.inputWeights = m_folder.file("three.npy")}, "3 input weights for w, which has 2 columns"));
    QVERIFY(refused({.gram = m_folder.file("oblong.npy")}, "square"));
    QVERIFY(refused({.inputWeights = m_folder.file("integers.npy")}, "not a floating-point type"));
    QVERIFY(refused({.inputs = m_folder.file("none.npy")}, "none.npy"));
  }

  void runWeighsErrorsWithWhatIsKnown() {
    const auto data = read({.inputWeights = test::dataPath("imatrix/imatrix_minilm.dat")}, {query()});
    QVERIFY(data.has_value());
    const auto tensor = m_weights->read(query());
    QVERIFY(tensor.has_value());
    Context context;
    const auto choice = Choice::parse("uniform:bits=2");
    QVERIFY(run(*tensor, *choice, context)->report.weightedMse < 0);
    context.activations = &*data;
    QVERIFY(run(*tensor, *choice, context)->report.weightedMse >= 0);
  }

 private:
  static std::string query() { return "encoder.layer.0.attention.self.query.weight"; }
  static std::string up() { return "encoder.layer.0.intermediate.dense.weight"; }
  Result<ActivationData> read(const ActivationFiles& files, const std::vector<std::string>& names) {
    m_warnings.clear();
    return readActivations(files, *m_weights, names, [this](const std::string& line) { m_warnings.push_back(line); });
  }

  test::ScratchFolder m_folder;
  std::unique_ptr<WeightList> m_weights;
  std::vector<std::string> m_warnings;
};

QTEST_APPLESS_MAIN(TestActivations)
#include "test_activations.moc"
