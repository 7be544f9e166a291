// SPDX-License-Identifier: GPL-3.0-or-later
// Export end to end on real weights: every scheme in every format that can hold it comes back without a difference, the size
// said is the size written, and whatever goes wrong leaves nothing behind.
#include "core/export/export.h"
#include "core/formats/proof_container.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <sys/resource.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <set>

using namespace nibble;
namespace fs = std::filesystem;

namespace {

const char* const queryName = "encoder.layer.0.attention.self.query.weight";
const char* const keyName = "encoder.layer.0.attention.self.key.weight";

std::string textOf(const fs::path& path) {
  return test::readWhole(path);
}

void append(std::string& data, const std::vector<float>& values) {
  data.append(reinterpret_cast<const char*>(values.data()), values.size() * 4);
}

// A folder like a model's: two 64 x 128 crops of real weights with biases, a norm, an embedding, config and tokenizer.
class Model {
 public:
  Model() {
    const auto sample = Checkpoint::open(test::resourcePath("sample/minilm-sample.safetensors"));
    nlohmann::ordered_json header = {{"__metadata__", {{"format", "pt"}}}};
    std::string data;
    const auto add = [&](const std::string& name, const Shape& shape, const std::vector<float>& values) {
      header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + values.size() * 4}}};
      append(data, values);
    };
    for (const char* name : {queryName, keyName}) {
      const auto tensor = (*sample)->read(std::string_view(name));
      std::vector<float> crop;
      for (std::uint64_t row = 0; row < 64; ++row) {
        std::vector<float> line(128);
        (void)tensor->read(row * tensor->columns(), line);
        crop.insert(crop.end(), line.begin(), line.end());
      }
      add(name, {64, 128}, crop);
      add(std::string(name).substr(0, std::string(name).size() - 6) + "bias", {64},
          std::vector<float>(crop.begin() + 7, crop.begin() + 71));
    }
    add("embeddings.word_embeddings.weight", {40, 64}, std::vector<float>(2560, 0.125f));
    add("encoder.layer.0.norm.weight", {64}, std::vector<float>(64, 1.0f));
    fs::create_directory(folder());
    test::writeWhole(folder() / "model.safetensors", test::safetensorsHead(header.dump()) + data);
    test::writeWhole(folder() / "config.json",
                     "{\"model_type\": \"bert\", \"hidden_size\": 64, \"architectures\": [\"BertModel\"]}");
    test::writeWhole(folder() / "tokenizer.json", "{}");
    test::writeWhole(folder() / "pytorch_model.bin", "weights of another kind");
    m_checkpoint = *Checkpoint::open(folder());
  }

  [[nodiscard]] fs::path folder() const { return m_scratch.path() / "source"; }
  [[nodiscard]] fs::path out(const std::string& name) const { return m_scratch.path() / name; }
  [[nodiscard]] const test::ScratchFolder& scratch() const { return m_scratch; }

  [[nodiscard]] ExportJob job(const char* format, const std::vector<std::string>& choices, const std::string& out) const {
    ExportJob job;
    job.checkpoint = m_checkpoint;
    const char* const names[] = {queryName, keyName};
    for (std::size_t i = 0; i < choices.size(); ++i) job.tensors.emplace_back(names[i], *Choice::parse(choices[i]));
    job.format = findFormat(format);
    job.out = this->out(out);
    return job;
  }

 private:
  test::ScratchFolder m_scratch;
  std::shared_ptr<const Checkpoint> m_checkpoint;
};

const std::vector<std::string>& everyChoice() {
  static const std::vector<std::string> choices = {"hqq:bits=8",
                                                   "hqq:bits=6",
                                                   "hqq:bits=5",
                                                   "hqq",
                                                   "hqq:bits=3",
                                                   "hqq:bits=2,group=16",
                                                   "hqq:bits=1.58",
                                                   "hqq:bits=1",
                                                   "hqq:axis=0",
                                                   "hqq:bits=3,axis=0,group=32",
                                                   "hqq:params=f32",
                                                   "hqq:params=bf16",
                                                   "hqq:group=0",
                                                   "hqq:bits=3,group=0",
                                                   "hqq:nested=true",
                                                   "hqq:bits=8,channel-wise=false",
                                                   "uniform:bits=4,granularity=group,group=32",
                                                   "uniform:bits=4,granularity=group,group=32,symmetric=false",
                                                   "uniform:bits=3,granularity=group,group=64",
                                                   "uniform:bits=2,granularity=group,group=32",
                                                   "uniform:bits=8,granularity=channel",
                                                   "uniform:bits=8,granularity=tensor",
                                                   "uniform:bits=4,granularity=column",
                                                   "uniform:bits=4,granularity=group,group=48",
                                                   "uniform:bits=12",
                                                   "uniform:bits=8,params=f32",
                                                   "uniform:bits=8,symmetric=false,variant=notebook,granularity=column",
                                                   "minmax",
                                                   "minmax:bits=2,group=50",
                                                   "minmax:bits=4",
                                                   "minmax:bits=3,group=100,params=f32",
                                                   "minmax:bits=1,params=bf16",
                                                   "fp8",
                                                   "fp8:granularity=block,group=32",
                                                   "nf4",
                                                   "nf4:nested=true",
                                                   "nf4:block=32",
                                                   "nf4:block=4096",
                                                   "fp4",
                                                   "fp4:nested=true,block=128",
                                                   "nf4:params=f16",
                                                   "codebook:bits=3,granularity=tensor",
                                                   "codebook:bits=2,granularity=group,group=64",
                                                   "codebook:bits=4",
                                                   "diffq",
                                                   "diffq:bits=3,group=4",
                                                   "exl2",
                                                   "exl2:mix=4b:0.5@32+2b:0.5@32",
                                                   "mbwq",
                                                   "mbwq:mix=4b:0.5@32+2b:0.5@32",
                                                   "float:type=f16",
                                                   "float:type=bf16",
                                                   "float:type=f32"};
  return choices;
}

// How many of `everyChoice` each format must hold; a change in either direction is to be noticed.
const std::map<std::string, int> held = {{"npz", 53},
                                         {"hqq", 23},
                                         {"bnb", 7},
                                         {"gptq", 6},
                                         {"gptq_v2", 6},
                                         {"gptq_p", 1},
                                         {"awq", 2},
                                         {"exl2", 2},
                                         {"mbwq", 2},
                                         {"document000", 4},
                                         {"compressed-tensors", 9},
                                         {"mlx", 18},
                                         {"quanto", 0},
                                         {"torchao", 0},
                                         {"fp8", 2},
                                         {"gpt-oss", 0},
                                         {"diffq", 2},
                                         {"gguf", 7}};

// Data bytes of a safetensors or npz file by array, from the independent container.
std::map<std::string, std::uint64_t> arrayBytes(const fs::path& file) {
  const auto container = proof::Container::open(file);
  std::map<std::string, std::uint64_t> sizes;
  for (const std::string& name : container->names()) sizes[name] = container->read(name)->bytes.size();
  return sizes;
}

}  // namespace

class TestExport : public QObject {
  Q_OBJECT
 private slots:
  void everySchemeInEveryFormat_data() {
    QTest::addColumn<QString>("format");
    for (const Format* format : allFormats())
      QTest::newRow(std::string(format->info().id).c_str()) << QString::fromStdString(std::string(format->info().id));
  }

  void everySchemeInEveryFormat() {
    QFETCH(QString, format);
    const std::string id = format.toStdString();
    const Model model;
    int kept = 0;
    for (const std::string& text : everyChoice()) {
      QVERIFY2(Choice::parse(text).has_value(), text.c_str());
      const std::string extension(findFormat(id)->info().extension);
      const ExportJob job = model.job(id.c_str(), {text}, "w" + extension);
      const auto result = exportTensors(job, {});
      if (!result) {
        QVERIFY2(result.error().message.find("cannot hold") != std::string::npos,
                 (text + ": " + result.error().message).c_str());
        QVERIFY(!fs::exists(job.out));
        continue;
      }
      ++kept;
      QVERIFY2(result->verified && result->preflightOk, text.c_str());
      QVERIFY2(result->tensors[0].maxDifference == 0, text.c_str());
      QVERIFY(fs::exists(job.out));
      fs::remove(job.out);
    }
    QCOMPARE(model.scratch().names(), std::vector<std::string>{"source"});
    const auto known = held.find(id);
    QVERIFY2(known != held.end(), (id + " is not in the list; it holds " + std::to_string(kept)).c_str());
    QCOMPARE(kept, known->second);
  }

  // The bytes said are those in the file, less the arrays that only describe it.
  void sizeIsWhatIsWritten() {
    const Model model;
    struct Row {
      const char *format, *choice;
      std::vector<std::string> described;
      double bits;
    };
    const std::string p = std::string(queryName).substr(0, std::string(queryName).size() - 6);
    const std::vector<std::string> hqqDescribed = {p + "shape",
                                                   p + "nbits",
                                                   p + "group_size",
                                                   p + "axis",
                                                   p + "packing",
                                                   p + "unpack_view_dtype",
                                                   p + "compute_dtype",
                                                   p + "view_as_float",
                                                   p + "quant_scale",
                                                   p + "quant_zero",
                                                   p + "offload_meta",
                                                   p + "channel_wise",
                                                   p + "optimize",
                                                   p + "encoded_state_dict",
                                                   p + "stores_quant_config",
                                                   p + "round_zero",
                                                   p + "bias"};
    const std::string q = queryName;
    const std::vector<Row> rows = {
        {"hqq", "hqq", hqqDescribed, 4.5},
        {"hqq", "hqq:bits=3", hqqDescribed, 8.0 * (13 * 64 * 4 + 2 * 128 * 2) / 8192},  // 128 rows of groups in 13 of words
        {"bnb", "nf4", {q + ".quant_map", q + ".quant_state.bitsandbytes__nf4", p + "bias"}, 4.5},
        {"bnb",
         "nf4:nested=true",
         {q + ".quant_map", q + ".nested_quant_map", q + ".quant_state.bitsandbytes__nf4", p + "bias"},
         4 + 8 * (128 + 4) / 8192.0},
        {"gptq", "uniform:bits=4,granularity=group,group=32", {p + "bias"}, 4 + 20 / 32.0 + 32 / 64.0},
        {"awq", "uniform:bits=4,granularity=group,group=32", {p + "bias"}, 4 + 20 / 32.0},
        {"document000",
         "minmax:params=f32",
         {p + "shape", p + "bits", p + "group_size", p + "bias"},
         8.0 * (820 * 4 + 128 * 8) / 8192},
        {"exl2",
         "exl2:mix=4b:0.5@64+2b:0.5@64",
         {p + "bias"},
         8.0 * (24 * 64 / 2 * 4 + 2 * 32 + 2 * 2 + 2 * 4 + 128 * 4) / 8192},
        {"mbwq", "mbwq:group=64", {p + "bias"}, 4 + 32 / 64.0 + 32 / 64.0},
        {"npz", "hqq", {"decoded", "choice", "scale_groups", "zero_groups"}, 8 + 64 / 64.0},
    };
    for (const Row& row : rows) {
      const ExportJob job =
          model.job(row.format, {row.choice}, std::string("w") + std::string(findFormat(row.format)->info().extension));
      const auto result = exportTensors(job, {});
      QVERIFY2(result.has_value(), result ? "" : result.error().message.c_str());
      auto sizes = arrayBytes(job.out);
      for (const std::string& name : row.described)
        QVERIFY2(sizes.erase(name) == 1, (std::string(row.choice) + " " + name).c_str());
      std::uint64_t payload = 0;
      for (const auto& [name, bytes] : sizes) payload += bytes;
      QCOMPARE(result->sizeBytes, payload);
      QCOMPARE(result->tensors[0].sizeBytes, payload);
      QCOMPARE(result->bitsPerWeight, 8.0 * static_cast<double>(payload) / 8192);
      QCOMPARE(result->bitsPerWeight, row.bits);
      fs::remove(job.out);
    }
  }

  void folderForAModel() {
    const Model model;
    ExportJob job = model.job("hqq", {"hqq", "hqq:bits=8"}, "packed");
    job.all = true;
    const auto result = exportTensors(job, {});
    QVERIFY2(result.has_value(), result ? "" : result.error().message.c_str());
    QVERIFY(result->verified);
    std::set<std::string> files;
    for (const auto& entry : fs::directory_iterator(job.out)) files.insert(entry.path().filename().string());
    QCOMPARE(files, (std::set<std::string>{"config.json", "model.safetensors", "tokenizer.json"}));
    QCOMPARE(result->files.size(), std::size_t{3});
    const auto written = Checkpoint::open(job.out);
    QVERIFY(written.has_value());
    const auto norm = (*written)->read(std::string_view("encoder.layer.0.norm.weight"));
    QVERIFY(norm.has_value());
    QCOMPARE((*norm->readAll())[5], 1.0f);
    QVERIFY(!(*written)->find(queryName));
    const auto bias = (*written)->read(std::string_view("encoder.layer.0.attention.self.query.bias"));
    QVERIFY(bias.has_value());
    QCOMPARE(bias->size(), std::uint64_t{64});
    const auto config = nlohmann::ordered_json::parse(textOf(job.out / "config.json"));
    QCOMPARE(config.begin().key(), std::string("model_type"));  // the order of the keys is kept
    QCOMPARE(config["quantization_config"]["quant_method"].get<std::string>(), std::string("hqq"));
    const auto& kinds = config["quantization_config"]["quant_config"];
    QCOMPARE(kinds["encoder.layer.attention.self.key"]["weight_quant_params"]["nbits"].get<int>(), 8);
    QCOMPARE(kinds["encoder.layer.attention.self.query"]["weight_quant_params"]["nbits"].get<int>(), 4);
    const auto skipped = config["quantization_config"]["skip_modules"].get<std::vector<std::string>>();
    QVERIFY(std::find(skipped.begin(), skipped.end(), "embeddings.word_embeddings") != skipped.end());
    QCOMPARE(detectPacked(**written).size(), std::size_t{2});
  }

  void configOfEachFormat() {
    const Model model;
    const std::string uniform = "uniform:bits=4,granularity=group,group=32,symmetric=true";
    ExportJob job = model.job("gptq", {uniform, uniform}, "g");
    auto result = exportTensors(job, {});
    QVERIFY2(result.has_value(), result ? "" : result.error().message.c_str());
    const auto gptq = nlohmann::json::parse(textOf(job.out / "config.json"))["quantization_config"];
    QCOMPARE(gptq, nlohmann::json::parse(textOf(job.out / "quantize_config.json")));
    QCOMPARE(gptq["checkpoint_format"].get<std::string>(), std::string("gptq"));
    QCOMPARE(gptq["group_size"].get<int>(), 32);
    QCOMPARE(gptq["sym"].get<bool>(), true);
    QCOMPARE(gptq["desc_act"].get<bool>(), false);
    QVERIFY(gptq["dynamic"].contains("-:^embeddings\\.word_embeddings$"));
    job = model.job("bnb", {"nf4:nested=true", "nf4:nested=true"}, "b");
    result = exportTensors(job, {});
    QVERIFY2(result.has_value(), result ? "" : result.error().message.c_str());
    const auto bnb = nlohmann::json::parse(textOf(job.out / "config.json"))["quantization_config"];
    QCOMPARE(bnb["bnb_4bit_quant_type"].get<std::string>(), std::string("nf4"));
    QCOMPARE(bnb["bnb_4bit_use_double_quant"].get<bool>(), true);
  }

  void npzOfOneAndOfSeveral() {
    const Model model;
    ExportJob job = model.job("npz", {"uniform:bits=4,granularity=group,group=32"}, "one.npz");
    QVERIFY(exportTensors(job, {}).has_value());
    const auto one = proof::Container::open(job.out);
    const auto codes = one->read("codes"), scale = one->read("scale"), zero = one->read("zero"), decoded = one->read("decoded"),
               choice = one->read("choice");
    QVERIFY(codes && scale && zero && decoded && choice);
    QVERIFY(codes->is("U8", {64, 128}) && scale->is("F32", {64, 4}) && zero->is("F32", {64, 4}) &&
            decoded->is("F32", {64, 128}));
    QCOMPARE(QByteArray::fromStdString(choice->text()), QByteArray::fromStdString(job.tensors[0].second.text()));
    for (std::uint64_t i = 0; i < 8192; ++i) {
      const std::uint64_t group = i / 32;
      QCOMPARE(scale->floatAt(group) * (static_cast<float>(codes->unsignedAt(i)) - zero->floatAt(group)), decoded->floatAt(i));
    }
    job = model.job("npz", {"hqq:axis=0", "nf4"}, "two.npz");
    QVERIFY(exportTensors(job, {}).has_value());
    const auto two = proof::Container::open(job.out);
    QVERIFY(two->read(std::string(queryName) + "/zero")->is("F32", {1, 128}));
    QVERIFY(two->read(std::string(keyName) + "/levels")->is("F32", {16}));
    QVERIFY(two->read(std::string(keyName) + "/scale")->is("F32", {128, 1}));
    QVERIFY(!two->has(std::string(keyName) + "/zero"));
    QVERIFY(!two->has("codes"));
  }

  void preflightThatFailsWritesNothing() {
    const Model model;
    for (const bool dry : {false, true}) {
      ExportJob job = model.job("hqq", {"hqq:bits=3"}, "packed");
      job.runtime = "vllm";
      job.dryRun = dry;
      const auto result = exportTensors(job, {});
      QVERIFY2(result.has_value(), result ? "" : result.error().message.c_str());
      QVERIFY(!result->preflightOk && !result->verified);
      const auto rule = std::find_if(result->preflight.begin(), result->preflight.end(),
                                     [](const auto& row) { return row.asked && !row.ok; });
      QCOMPARE(rule->rule, std::string("Exactly 4 bits, group 64"));
      QCOMPARE(rule->detail, std::string("3 bits, group 64"));
      QVERIFY(!rule->source.empty());
      QCOMPARE(model.scratch().names(), std::vector<std::string>{"source"});
    }
    for (const char* runtime : {"hqq", "transformers"}) {
      ExportJob job = model.job("hqq", {"hqq:bits=3"}, "packed");
      job.runtime = runtime;
      job.dryRun = true;
      const auto result = exportTensors(job, {});
      QVERIFY(result && result->preflightOk && result->files.empty());
      QCOMPARE(model.scratch().names(), std::vector<std::string>{"source"});
    }
  }

  void refusedDestinations() {
    const Model model;
    test::writeWhole(model.out("there.safetensors"), "mine");
    fs::create_directory(model.out("full"));
    test::writeWhole(model.out("full") / "mine", "mine");
    struct Row {
      const char *out, *says;
    };
    const Row rows[] = {{"there.safetensors", "exists already"},
                        {"full", "not empty"},
                        {"source", "is the source"},
                        {"source/model.safetensors", "is the source"},
                        {"no/such/place", "no such folder"},
                        {"x.npz", "is written as .safetensors"}};
    for (const Row& row : rows) {
      const auto result = exportTensors(model.job("hqq", {"hqq"}, row.out), {});
      QVERIFY2(!result.has_value(), row.out);
      QVERIFY2(result.error().message.find(row.says) != std::string::npos, result.error().message.c_str());
    }
    ExportJob job = model.job("hqq", {"hqq"}, "x");
    job.out = "/proc/nibble-export";
    QVERIFY(!exportTensors(job, {}).has_value());
    QCOMPARE(textOf(model.out("there.safetensors")), std::string("mine"));
    QCOMPARE(model.scratch().names(), (std::vector<std::string>{"full", "source", "there.safetensors"}));
    fs::create_directory(model.out("empty"));
    QVERIFY(exportTensors(model.job("hqq", {"hqq"}, "empty"), {}).has_value());  // an empty folder may be filled
  }

  void refusedJobs() {
    const Model model;
    ExportJob job = model.job("document000", {"minmax"}, "x.safetensors");
    job.runtime = "vllm";
    QVERIFY(!exportTensors(job, {}).has_value());
    job = model.job("npz", {"minmax"}, "x.npz");
    job.all = true;
    QVERIFY(!exportTensors(job, {}).has_value());
    job = model.job("hqq", {"hqq", "hqq"}, "x");
    job.tensors[1].first = job.tensors[0].first;
    QVERIFY(!exportTensors(job, {}).has_value());
    job.tensors.clear();
    QVERIFY(!exportTensors(job, {}).has_value());
    job = model.job("hqq", {"hqq"}, "x");
    job.tensors[0].first = "no.such.weight";
    QVERIFY(!exportTensors(job, {}).has_value());
    QCOMPARE(model.scratch().names(), std::vector<std::string>{"source"});
  }

  // A stop at any stage: cancelled, and no trace.
  void cancelledAnywhere() {
    const Model model;
    for (const char* out : {"packed", "packed.safetensors"}) {
      bool finished = false;
      for (int stopAt = 0; !finished; ++stopAt) {
        std::stop_source source;
        Context context;
        context.stop = source.get_token();
        int calls = 0;
        ExportJob job = model.job("hqq", {"hqq", "hqq:axis=0"}, out);
        job.all = true;
        const auto result = exportTensors(job, context, [&](ExportStage stage, std::size_t, std::size_t) {
          if (calls++ == stopAt && stage != ExportStage::Done) source.request_stop();
        });
        finished = result.has_value();
        if (finished) QVERIFY(stopAt >= 7);
        if (!finished) QCOMPARE(result.error().kind, ErrorKind::Cancelled);
        if (!finished) QCOMPARE(model.scratch().names(), std::vector<std::string>{"source"});
        fs::remove_all(job.out);
      }
    }
  }

  // A disk that fills up, by the limit on a file's size: a clear error, nothing half-written.
  void fullDestination() {
    const Model model;
    struct rlimit before {};
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit small = before;
    small.rlim_cur = 2048;
    setrlimit(RLIMIT_FSIZE, &small);
    const auto single = exportTensors(model.job("hqq", {"hqq"}, "x.safetensors"), {});
    const auto folder = exportTensors(model.job("bnb", {"nf4"}, "x"), {});
    const auto arrays = exportTensors(model.job("npz", {"nf4"}, "x.npz"), {});
    setrlimit(RLIMIT_FSIZE, &before);
    for (const auto* result : {&single, &folder, &arrays}) {
      QVERIFY(!result->has_value());
      QVERIFY2(!result->error().message.empty(), "an error says what");
    }
    QCOMPARE(model.scratch().names(), std::vector<std::string>{"source"});
  }

  void scalesBeyondFloat16AreRefused() {
    // Magnitudes that float16 scales cannot hold: the scheme says so, nothing is written.
    const test::ScratchFolder scratch;
    std::string data;
    std::vector<float> values(64 * 64);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = (i % 7 == 0 ? -1.0f : 1.0f) * 1e9f * static_cast<float>(i % 13);
    append(data, values);
    test::writeWhole(
        scratch.file("big.safetensors"),
        test::safetensorsHead("{\"w.weight\":{\"dtype\":\"F32\",\"shape\":[64,64],\"data_offsets\":[0,16384]}}") + data);
    ExportJob job;
    job.checkpoint = *Checkpoint::open(scratch.file("big.safetensors"));
    job.format = findFormat("gptq");
    job.out = scratch.file("out.safetensors");
    job.tensors = {{"w.weight", *Choice::parse("uniform:bits=4,granularity=group,group=32")}};
    const auto result = exportTensors(job, {});
    QVERIFY(!result.has_value());
    job.tensors = {{"w.weight", *Choice::parse("uniform:bits=4,granularity=group,group=32,params=f32")}};
    const auto wide = exportTensors(job, {});
    QVERIFY(!wide.has_value());
    QVERIFY2(wide.error().message.find("float16") != std::string::npos, wide.error().message.c_str());
    job.format = findFormat("hqq");  // float32 scales are HQQ's own business
    const auto held = exportTensors(job, {});
    QVERIFY2(held.has_value(), held ? "" : held.error().message.c_str());
    QVERIFY(held->verified);
  }
};

QTEST_APPLESS_MAIN(TestExport)
#include "test_export.moc"
