// SPDX-License-Identifier: GPL-3.0-or-later
// GGUF files on the command line: looked into, decoded, converted, written for one tensor and for a whole model, for llama.cpp
// under its own names, and quantized again with their metadata.
#include "core/io/atomic_file.h"
#include "core/io/checkpoint.h"
#include "core/io/gguf.h"
#include "core/io/safetensors_writer.h"
#include "tests/app/cli_runner.h"
#include "tests/support/files.h"

#include <QDir>
#include <QTemporaryDir>
#include <QtTest>

#include <cmath>
#include <map>

using namespace nibble;
using namespace nibble::test;

namespace {

QString samplePathGguf() { return QString::fromStdString(dataPath("gguf/sample.gguf").string()); }

std::shared_ptr<const Checkpoint> opened(const QString& path) {
  auto file = Checkpoint::open(path.toStdString());
  if (!file) qFatal("%s", file.error().message.c_str());
  return *file;
}

std::map<std::string, std::string> metadataOf(const Checkpoint& checkpoint) {
  return {checkpoint.metadata().begin(), checkpoint.metadata().end()};
}

std::vector<float> valuesOf(const QString& path, const std::string& name) {
  const auto tensor = opened(path)->read(name);
  return tensor ? tensor->readAll().value_or(std::vector<float>{}) : std::vector<float>{};
}

// A Llama of one layer: hidden 64, two heads of 32 with one key head, intermediate 96, 40 tokens.
struct SmallLlama {
  QDir folder;
  std::map<std::string, Shape> shapes{{"model.embed_tokens.weight", {40, 64}},
                                      {"lm_head.weight", {40, 64}},
                                      {"model.norm.weight", {64}},
                                      {"model.layers.0.input_layernorm.weight", {64}},
                                      {"model.layers.0.post_attention_layernorm.weight", {64}},
                                      {"model.layers.0.self_attn.q_proj.weight", {64, 64}},
                                      {"model.layers.0.self_attn.k_proj.weight", {32, 64}},
                                      {"model.layers.0.self_attn.v_proj.weight", {32, 64}},
                                      {"model.layers.0.self_attn.o_proj.weight", {64, 64}},
                                      {"model.layers.0.mlp.gate_proj.weight", {96, 64}},
                                      {"model.layers.0.mlp.up_proj.weight", {96, 64}},
                                      {"model.layers.0.mlp.down_proj.weight", {64, 96}}};
  nlohmann::json config{{"model_type", "llama"},          {"hidden_size", 64},       {"intermediate_size", 96},
                        {"num_hidden_layers", 1},         {"num_attention_heads", 2}, {"num_key_value_heads", 1},
                        {"max_position_embeddings", 128}, {"vocab_size", 40},        {"rms_norm_eps", 1e-5},
                        {"rope_theta", 10000.0},          {"hidden_act", "silu"},    {"bos_token_id", 1}};

  explicit SmallLlama(const QString& path) : folder(path) { folder.mkpath("."); }
  void write(bool tokenizer) const {
    std::vector<RawTensor> tensors;
    for (const auto& [name, shape] : shapes) tensors.push_back(floatArray(name, shape, someWeights(elementCount(shape))));
    auto file = AtomicFile::create(folder.filePath("model.safetensors").toStdString());
    if (!file || !writeSafetensors(*file, tensors) || !file->commit()) qFatal("cannot write the model");
    writeWhole(folder.filePath("config.json").toStdString(), config.dump());
    if (!tokenizer) return;
    nlohmann::json words = nlohmann::json::object();
    for (int i = 0; i < 38; ++i) words[std::string(1, static_cast<char>('A' + i))] = i;
    words["AB"] = 38;
    const nlohmann::json description{
        {"model", {{"type", "BPE"}, {"vocab", words}, {"merges", nlohmann::json::array({"A B"})}}},
        {"pre_tokenizer", {{"type", "ByteLevel"}, {"use_regex", true}}},
        {"added_tokens", {{{"id", 39}, {"content", "<|end|>"}, {"special", true}}}}};
    writeWhole(folder.filePath("tokenizer.json").toStdString(), description.dump());
  }
};

}  // namespace

class TestCliGguf : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }

 private slots:
  void blockTensorsAreLayers() {
    const Ran info = runCli({"info", samplePathGguf(), "--json"});
    QCOMPARE(info.status, 0);
    const auto query = info.json()["tensors"][2];
    QCOMPARE(query["name"], nlohmann::json("blk.0.attn_q.weight"));
    QCOMPARE(query["quantizedAs"], nlohmann::json("gguf Q4_K"));
    QCOMPARE(query["bitsPerWeight"].get<double>(), 4.5);
    QCOMPARE(query["shape"], nlohmann::json({16, 512}));
    const Ran decoded = runCli({"decode", samplePathGguf(), "--tensor", "blk.0.attn_q.weight", "--out", file("q.npy"), "--json"});
    QVERIFY2(decoded.status == 0, decoded.err.constData());
    const auto values = opened(file("q.npy"))->read(std::size_t{0})->readAll();
    QCOMPARE((*values)[1], -0.0065916777f);  // the library's own, of sample.gguf.json
    const Ran bits = runCli({"inspect", samplePathGguf(), "--tensor", "blk.0.attn_q.weight", "--row", "0", "--column", "1", "--json"});
    QVERIFY2(bits.status == 0, bits.err.constData());
    QCOMPARE(bits.json()["value"].get<float>(), -0.0065916777f);
    QCOMPARE(bits.json()["groupSize"].get<int>(), 32);
    const Ran diff = runCli({"diff", samplePathGguf(), samplePathGguf(), "--json"});
    QVERIFY2(diff.status == 0, diff.err.constData());
    for (const auto& row : diff.json()) QCOMPARE(row["mse"].get<double>(), 0.0);
  }

  void layersGoIntoOtherFormats() {
    const Ran npz = runCli({"export", samplePathGguf(), "--tensor", "blk.0.attn_k.weight", "--format", "npz", "--out", file("k.npz"), "--json"});
    QVERIFY2(npz.status == 0, npz.err.constData());
    QVERIFY(npz.json()["tensors"][0]["exact"].get<bool>());
    QVERIFY(npz.json()["verified"].get<bool>());
    const Ran copied = runCli({"export", samplePathGguf(), "--format", "gguf", "--all", "--out", file("same.gguf"), "--json"});
    QVERIFY2(copied.status == 0, copied.err.constData());
    QCOMPARE(opened(file("same.gguf"))->entries().size(), std::size_t{10});
    const Ran diff = runCli({"diff", samplePathGguf(), file("same.gguf"), "--json"});
    for (const auto& row : diff.json()) QCOMPARE(row["mse"].get<double>(), 0.0);
  }

  void oneTensor() {
    const QString tensor = "encoder.layer.0.output.dense.weight", out = file("one.gguf");
    const Ran ran = runCli({"export", samplePath(), "q4_k", "--tensor", tensor, "--format", "gguf", "--out", out, "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    QCOMPARE(ran.json()["bitsPerWeight"].get<double>(), 4.5);
    QCOMPARE(ran.json()["sizeBytes"].get<int>(), 384 * 1536 * 9 / 16);
    QVERIFY(ran.json()["verified"].get<bool>());
    QCOMPARE(QFileInfo(out).isFile(), true);
    runCli({"export", samplePath(), "q4_k", "--tensor", tensor, "--format", "npz", "--out", file("one.npz")});
    runCli({"decode", out, "--tensor", tensor, "--out", file("one.npy")});
    QCOMPARE(opened(file("one.npy"))->read(std::size_t{0})->readAll(), opened(file("one.npz"))->read("decoded")->readAll());
    QCOMPARE(metadataOf(*opened(out))["general.file_type"], std::string("14"));
    const Ran folder = runCli({"export", samplePath(), "q4_k", "--tensor", tensor, "--format", "gguf", "--out", file("folder")});
    QCOMPARE(folder.status, 1);
    QVERIFY2(folder.err.contains(".gguf"), folder.err.constData());
    const Ran odd = runCli({"export", samplePath(), "q4_k", "--tensor", sampleTensor(), "--format", "gguf", "--out", file("odd.gguf")});
    QCOMPARE(odd.status, 1);
    QVERIFY2(odd.err.contains("multiples of 256"), odd.err.constData());
    QVERIFY(!QFile::exists(file("odd.gguf")));
  }

  void wholeModelUnderItsOwnNames() {
    const Ran ran = runCli({"export", samplePath(), "q8_0", "--all", "--format", "gguf", "--out", file("all.gguf"), "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const auto from = opened(samplePath()), to = opened(file("all.gguf"));
    QCOMPARE(to->entries().size(), from->entries().size());
    for (const TensorEntry& entry : from->entries()) QVERIFY2(to->find(entry.name), entry.name.c_str());
    QCOMPARE(valuesOf(file("all.gguf"), "encoder.layer.0.output.LayerNorm.weight"),
             valuesOf(samplePath(), "encoder.layer.0.output.LayerNorm.weight"));
  }

  void llamaCppWantsAFamilyAndATokenizer() {
    const Ran sample = runCli({"export", samplePath(), "q8_0", "--all", "--format", "gguf", "--target", "llama.cpp", "--out", file("n.gguf"), "--json"});
    QCOMPARE(sample.status, 3);
    QVERIFY(sample.out.contains("no config.json"));
    SmallLlama model(file("bare"));
    model.write(false);
    const Ran bare = runCli({"export", file("bare"), "q8_0", "--all", "--format", "gguf", "--target", "llama.cpp", "--out", file("n.gguf"), "--json"});
    QCOMPARE(bare.status, 3);
    QVERIFY2(bare.out.contains("neither tokenizer.json nor tokenizer.model"), bare.out.constData());
    SmallLlama strange(file("strange"));
    strange.config["model_type"] = "mamba";
    strange.write(true);
    const Ran unknown = runCli({"export", file("strange"), "q8_0", "--all", "--format", "gguf", "--target", "llama.cpp", "--out", file("n.gguf"), "--json"});
    QCOMPARE(unknown.status, 3);
    QVERIFY2(unknown.out.contains("mamba"), unknown.out.constData());
    SmallLlama partial(file("partial"));
    partial.shapes.erase("model.norm.weight");
    partial.shapes["model.layers.0.self_attn.extra.weight"] = {64, 64};
    partial.write(true);
    const Ran missing = runCli({"export", file("partial"), "q8_0", "--all", "--format", "gguf", "--target", "llama.cpp", "--out", file("n.gguf"), "--json"});
    QCOMPARE(missing.status, 3);
    QVERIFY2(missing.out.contains("missing: output_norm.weight") && missing.out.contains("not known: model.layers.0.self_attn.extra.weight"), missing.out.constData());
    QVERIFY(!QFile::exists(file("n.gguf")));
  }

  void aMixForLlamaCpp() {
    SmallLlama model(file("llama"));
    model.write(true);
    const Ran ran = runCli({"export", file("llama"), "Q4_K_M", "--format", "gguf", "--target", "llama.cpp", "--out", file("mix.gguf"), "--json"});
    QVERIFY2(ran.status == 0, (ran.err + ran.out).constData());
    QVERIFY(ran.json()["verified"].get<bool>());
    QVERIFY2(ran.err.contains("needs columns in multiples of 256"), ran.err.constData());
    const auto written = opened(file("mix.gguf"));
    auto metadata = metadataOf(*written);
    QCOMPARE(metadata["general.architecture"], std::string("llama"));
    QCOMPARE(metadata["general.file_type"], std::string("15"));
    QCOMPARE(metadata["general.quantization_version"], std::string("2"));
    QCOMPARE(metadata["llama.attention.head_count_kv"], std::string("1"));
    QCOMPARE(metadata["tokenizer.ggml.pre"], std::string("gpt-2"));
    QCOMPARE(metadata["tokenizer.ggml.merges"], std::string("[\"A B\"]"));
    QCOMPARE(written->entries().size(), model.shapes.size());
    const auto type = [&](const char* name) { return written->entries()[*written->find(name)].block; };
    QCOMPARE(*type("blk.0.attn_q.weight"), kernels::BlockType::Q5_0);  // what stands in for Q4_K
    QCOMPARE(*type("output.weight"), kernels::BlockType::Q8_0);
    QCOMPARE(written->entries()[*written->find("output_norm.weight")].type, DType::F32);
  }

  // llama.cpp rotates neighbouring rows, the source the halves of a head: row 2 j + t is row t * 16 + j there.
  void rowsOfQueriesAndKeysMove() {
    SmallLlama model(file("rows"));
    model.write(true);
    for (const char* scheme : {"float:type=f32", "q8_0"}) {
      const QString out = file(QString(scheme).left(2) + ".gguf");
      const Ran ran = runCli({"export", file("rows"), scheme, "--select", "q_proj|v_proj", "--all", "--format", "gguf", "--target", "llama.cpp", "--out", out, "--json"});
      QVERIFY2(ran.status == 0, (ran.err + ran.out).constData());
      const auto decoded = [&](const QString& path, const QString& name) {
        runCli({"decode", path, "--tensor", name, "--out", file("d.npy")});
        return opened(file("d.npy"))->read(std::size_t{0})->readAll().value();
      };
      const bool exact = QString(scheme).startsWith("float");
      for (const auto& [from, to, heads] : {std::tuple{"q_proj", "attn_q", 2}, {"k_proj", "attn_k", 1}, {"v_proj", "attn_v", 0}}) {
        const QString name = QString("model.layers.0.self_attn.%1.weight").arg(from);
        const auto before = valuesOf(file("rows") + "/model.safetensors", name.toStdString());
        const auto after = decoded(out, QString("blk.0.%1.weight").arg(to));
        QCOMPARE(after.size(), before.size());
        for (std::size_t row = 0; row < before.size() / 64; ++row) {
          const std::size_t source = heads == 0 ? row : row / 32 * 32 + row % 2 * 16 + row % 32 / 2;
          for (std::size_t column = 0; column < 64; ++column) {
            const float gap = std::fabs(after[row * 64 + column] - before[source * 64 + column]);
            QVERIFY(exact || heads == 1 ? gap == 0 : gap < 0.0003f);
          }
        }
      }
    }
  }

  void metadataComesAlong() {
    const Ran ran = runCli({"export", samplePathGguf(), "q8_0", "--tensor", "token_embd.weight", "--all", "--format", "gguf", "--out", file("again.gguf"), "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const auto before = opened(samplePathGguf()), after = opened(file("again.gguf"));
    auto old = metadataOf(*before), now = metadataOf(*after);
    for (const auto& [key, value] : old)
      if (key != "general.file_type" && key != "general.quantization_version") QCOMPARE(now[key], value);
    QCOMPARE(now["general.quantization_version"], std::string("2"));
    QCOMPARE(*after->entries()[*after->find("token_embd.weight")].block, kernels::BlockType::Q8_0);
    QCOMPARE(after->entries().size(), before->entries().size());
  }

  void whatIsQuantizedIsDecodedOnlyWhenAsked() {
    const QStringList command{"export", samplePathGguf(), "q4_0", "--tensor", "blk.0.attn_v.weight", "--format", "gguf", "--all", "--out", file("re.gguf"), "--json"};
    const Ran refused = runCli(command);
    QCOMPARE(refused.status, 1);
    const Ran done = runCli(command + QStringList{"--requantize"});
    QVERIFY2(done.status == 0, done.err.constData());
    const auto written = opened(file("re.gguf"));
    QCOMPARE(written->entries().size(), std::size_t{10});
    QCOMPARE(*written->entries()[*written->find("blk.0.attn_v.weight")].block, kernels::BlockType::Q4_0);
  }

  void aSplitModelBecomesOne() {
    const QString split = QString::fromStdString(dataPath("gguf/split/tiny-00001-of-00002.gguf").string());
    const Ran ran = runCli({"export", split, "--format", "gguf", "--all", "--out", file("joined.gguf"), "--json"});
    const Ran again = ran.status == 0 ? ran : runCli({"export", split, "float:type=f32", "--all", "--format", "gguf", "--out", file("joined.gguf"), "--json"});
    QVERIFY2(again.status == 0, again.err.constData());
    const auto joined = opened(file("joined.gguf"));
    QCOMPARE(joined->entries().size(), std::size_t{5});
    for (const auto& [key, value] : joined->metadata()) QVERIFY2(!key.starts_with("split."), key.c_str());
  }

  // A stack of experts is packed whole; each matrix of it opens by NAME[e].
  void matricesOfAStack() {
    const std::string name = "blk.0.ffn_gate_exps.weight";
    const auto weights = someWeights(3 * 32 * 256);
    {
      auto source = AtomicFile::create(file("experts.safetensors").toStdString());
      QVERIFY(source && writeSafetensors(*source, {floatArray(name, {3, 32, 256}, weights)}) && source->commit());
    }
    const QString stack = QString::fromStdString(name), packed = file("experts.gguf");
    const Ran ran = runCli({"export", file("experts.safetensors"), "q4_k", "--tensor", stack, "--format", "gguf", "--out", packed, "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const auto listed = runCli({"info", packed, "--json"}).json()["tensors"];
    QCOMPARE(listed.size(), std::size_t{1});
    QCOMPARE(listed[0]["shape"], nlohmann::json({3, 32, 256}));
    QCOMPARE(listed[0]["bitsPerWeight"].get<double>(), 4.5);
    const auto decoded = [&](const QString& tensor) {
      const Ran done = runCli({"decode", packed, "--tensor", tensor, "--out", file("e.npy"), "--json"});
      return done.status == 0 ? opened(file("e.npy"))->read(std::size_t{0})->readAll().value() : std::vector<float>{};
    };
    const auto whole = decoded(stack);
    QCOMPARE(whole.size(), weights.size());
    for (std::size_t e = 0; e < 3; ++e) {
      const auto one = decoded(stack + QString("[%1]").arg(e));
      QCOMPARE(one.size(), whole.size() / 3);
      QVERIFY(std::equal(one.begin(), one.end(), whole.begin() + static_cast<std::ptrdiff_t>(e * one.size())));
    }
    const Ran bits = runCli({"inspect", packed, "--tensor", stack + "[2]", "--row", "31", "--column", "200", "--json"});
    QVERIFY2(bits.status == 0, bits.err.constData());
    QCOMPARE(bits.json()["value"].get<float>(), whole[(2 * 32 + 31) * 256 + 200]);
    const auto rows = runCli({"compare", packed, "float:type=f32", "--json"}).json()["candidates"];
    QCOMPARE(rows.size(), std::size_t{3});
    QCOMPARE(rows[2]["tensor"], nlohmann::json(name + "[2]"));
    QCOMPARE(runCli({"decode", packed, "--tensor", stack + "[3]", "--out", file("e.npy")}).status, 1);
  }

  // A named mix is a candidate: its type for each tensor, and what it costs over all of them.
  void mixesAreCompared() {
    const SmallLlama model(file("mixed"));
    model.write(false);
    const Ran ran = runCli({"compare", file("mixed"), "Q4_K_M", "q8_0", "--select", "proj", "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const auto json = ran.json();
    double bits = 0, weights = 0;
    for (const auto& row : json["candidates"]) {
      if (!row.contains("mix")) continue;
      QCOMPARE(row["mix"], nlohmann::json("Q4_K_M"));
      const double count = static_cast<double>(elementCount(model.shapes.at(row["tensor"])));
      const bool raised = row["tensor"].get<std::string>().find("v_proj") != std::string::npos;  // the only layer gets more bits
      QCOMPARE(row["bitsPerWeight"].get<double>() > 8, raised || row["tensor"].get<std::string>().find("down_proj") != std::string::npos);
      bits += row["bitsPerWeight"].get<double>() * count, weights += count;
    }
    QCOMPARE(json["totals"].size(), std::size_t{2});
    QCOMPARE(json["totals"][0]["bitsPerWeight"].get<double>(), 8.5);
    QCOMPARE(json["totals"][1]["scheme"], nlohmann::json("Q4_K_M"));
    QCOMPARE(json["totals"][1]["tensors"].get<int>(), 7);
    QVERIFY(std::fabs(json["totals"][1]["bitsPerWeight"].get<double>() - bits / weights) < 1e-12);
    const Ran columns = runCli({"compare", file("mixed"), "Q4_K_M", "q8_0", "--select", "q_proj", "--tsv"});
    QVERIFY2(columns.out.startsWith("tensor\tscheme\tmix\t") && columns.out.contains("\tq5_0\tQ4_K_M\t"), columns.out.constData());
    const Ran alone = runCli({"compare", file("mixed"), "Q4_K_M", "--tensor", "model.norm.weight"});
    QVERIFY2(alone.status == 1 && alone.err.contains("leaves it as it is"), alone.err.constData());
    QCOMPARE(runCli({"compare", file("mixed"), "Q9_K"}).status, 1);
  }

  void brokenFilesAreRefused() {
    const Ran ran = runCli({"info", QString::fromStdString(dataPath("gguf/malformed/overlapping_tensors.gguf").string())});
    QCOMPARE(ran.status, 1);
    QVERIFY2(ran.err.contains("overlap") && ran.err.count('\n') == 1, ran.err.constData());
  }
};

QTEST_GUILESS_MAIN(TestCliGguf)
#include "test_cli_gguf.moc"
