// SPDX-License-Identifier: GPL-3.0-or-later
// GPTQ and AWQ files that do not say what they are, say something else than they are, or are broken: which way they are read,
// and with which words they are refused. Also what their configs say after export.
#include "core/formats/format.h"
#include "core/io/atomic_file.h"
#include "core/quant/decode.h"
#include "core/report/lint.h"
#include "core/run/compare.h"
#include "core/run/diff.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <cmath>
#include <cstring>

using namespace nibble;
namespace fs = std::filesystem;

namespace {

const std::string k = "model.layers.0.self_attn.k_proj";

// The packed test data under another config and with changed arrays.
class Variant {
 public:
  explicit Variant(const std::string& folder) {
    const auto model = Checkpoint::open(test::dataPath("packed") / folder / "model.safetensors");
    if (!model) qFatal("%s", model.error().message.c_str());
    m_config = nlohmann::json::parse((*model)->configText());
    for (std::size_t i = 0; i < (*model)->entries().size(); ++i) {
      const auto tensor = (*model)->read(i);
      m_arrays.push_back(
          {tensor->name(), tensor->type(), tensor->shape(), {tensor->bytes().begin(), tensor->bytes().end()}, {}});
    }
  }
  nlohmann::json& config() { return m_config["quantization_config"]; }
  void dropConfig() { m_config = nullptr; }
  RawTensor& array(const std::string& key) {
    for (RawTensor& array : m_arrays)
      if (array.name == k + "." + key) return array;
    qFatal("no array %s", key.c_str());
  }
  void drop(const std::string& key) {
    std::erase_if(m_arrays, [&](const RawTensor& array) { return array.name == k + "." + key; });
  }
  template <class T>
  void set(const std::string& key, std::size_t index, T value) {
    std::memcpy(array(key).owned.data() + index * sizeof(T), &value, sizeof(T));
  }
  // The first dimension cut to `rows`.
  void cut(const std::string& key, std::uint64_t rows) {
    RawTensor& cut = array(key);
    cut.owned.resize(cut.owned.size() / cut.shape[0] * rows);
    cut.shape[0] = rows;
  }
  std::shared_ptr<const Checkpoint> open() {
    auto out = AtomicFile::create(m_scratch.file("model.safetensors"));
    if (!out || !writeSafetensors(*out, m_arrays) || !out->commit()) qFatal("cannot write");
    if (m_config.is_object()) test::writeWhole(m_scratch.file("config.json"), m_config.dump());
    auto opened = Checkpoint::open(m_scratch.path());
    if (!opened) qFatal("%s", opened.error().message.c_str());
    return *opened;
  }

 private:
  test::ScratchFolder m_scratch;
  nlohmann::json m_config;
  std::vector<RawTensor> m_arrays;
};

struct Broken {
  const char *name, *folder;
  void (*change)(Variant&);
  const char* says;
};

const std::vector<Broken>& broken() {
  static const std::vector<Broken> rows = {
      {"gptq: qzeros missing", "gptq-4b-g32-asym", [](Variant& v) { v.drop("qzeros"); }, "qzeros is missing"},
      {"gptq: scales missing", "gptq-4b-g32-asym", [](Variant& v) { v.drop("scales"); }, "scales is missing"},
      {"gptq: words cut", "gptq-3b-g32-asym", [](Variant& v) { v.cut("qweight", 5); }, "whole runs of 32 codes of 3 bits"},
      {"gptq: zeros of another width", "gptq-4b-g32-asym",
       [](Variant& v) {
         v.array("qzeros").shape = {2, 3};
         v.array("qzeros").owned.resize(24);
       },
       "whole runs of 32 codes of 3 bits"},
      {"gptq: a group of zeros is missing", "gptq-4b-g32-asym", [](Variant& v) { v.cut("qzeros", 1); },
       "not a row for each of the 2 groups"},
      {"gptq: words of floats", "gptq-4b-g32-asym", [](Variant& v) { v.array("qzeros").type = DType::F32; },
       "expected an I32 matrix"},
      {"gptq: g_idx too large", "gptq-4b-g32-desc_act", [](Variant& v) { v.set<std::int32_t>("g_idx", 5, 2); },
       "input 5 is in group 2"},
      {"gptq: g_idx negative", "gptq-4b-g32-desc_act", [](Variant& v) { v.set<std::int32_t>("g_idx", 9, -1); },
       "input 9 is in group -1"},
      {"gptq: g_idx short", "gptq-4b-g32-desc_act", [](Variant& v) { v.cut("g_idx", 60); },
       "expected one integer for each of the 64 inputs"},
      {"gptq: scale infinite", "gptq-4b-g32-asym", [](Variant& v) { v.set<std::uint16_t>("scales", 33, 0x7C00); },
       "scales: not finite at [1, 1]"},
      {"gptq: scale NaN", "gptq-8b-g64-sym", [](Variant& v) { v.set<std::uint16_t>("scales", 3, 0x7E00); },
       "scales: not finite at [0, 3]"},
      {"gptq: config of other bits", "gptq-4b-g32-asym", [](Variant& v) { v.config()["bits"] = 8; },
       "the config says 8 bits, the arrays hold 4"},
      {"gptq: config of another group", "gptq-4b-g32-asym", [](Variant& v) { v.config()["group_size"] = 64; },
       "the config says group 64"},
      {"gptq: 6 bits in one stream", "gptq_p-6b-g32", [](Variant& v) { v.config()["checkpoint_format"] = "gptq"; },
       "6 bits, which GPTQ does not store"},
      {"awq: qzeros missing", "awq-autoawq-4b-g32", [](Variant& v) { v.drop("qzeros"); }, "qzeros is missing"},
      {"awq: groups do not divide", "awq-autoawq-4b-g32", [](Variant& v) { v.cut("qweight", 63); },
       "2 groups do not divide 63 inputs"},
      {"awq: zeros of another shape", "awq-autoawq-4b-g32", [](Variant& v) { v.cut("qzeros", 1); }, "expected 2 x 4"},
      {"awq: scale infinite", "awq-autoawq-4b-g32", [](Variant& v) { v.set<std::uint16_t>("scales", 0, 0xFC00); },
       "scales: not finite at [0, 0]"},
      {"awq: gemv", "awq-autoawq-4b-g32", [](Variant& v) { v.config()["version"] = "gemv"; }, "version gemv"},
      {"awq: config of another group", "awq-autoawq-4b-g32", [](Variant& v) { v.config()["group_size"] = 128; },
       "the config says group 128"},
      {"awq: config of other bits", "awq-autoawq-4b-g32", [](Variant& v) { v.config()["bits"] = 3; }, "the config says 3 bits"},
  };
  return rows;
}

std::vector<float> wave(std::uint64_t count) {
  std::vector<float> values(count);
  for (std::uint64_t i = 0; i < count; ++i) values[i] = std::sin(static_cast<float>(i) * 0.37f) * 0.2f - 0.01f;
  return values;
}

std::shared_ptr<const QuantizedTensor> quantized(const std::string& choice, const Shape& shape) {
  const auto outcome = run(Tensor::fromFloats("m.weight", shape, wave(elementCount(shape))), *Choice::parse(choice), {});
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return outcome->quantized;
}

}  // namespace

class TestGptqAwqFiles : public QObject {
  Q_OBJECT
 private slots:
  void brokenLayersAreRefused_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < broken().size(); ++i) QTest::newRow(broken()[i].name) << static_cast<int>(i);
  }

  void brokenLayersAreRefused() {
    QFETCH(int, index);
    const Broken& row = broken()[static_cast<std::size_t>(index)];
    Variant variant(row.folder);
    row.change(variant);
    const WeightList weights(variant.open());
    const WeightItem* item = weights.find(k + ".weight");
    QVERIFY(item != nullptr && item->packed);
    const auto tensor = weights.read(item->name);
    QVERIFY(!tensor.has_value());
    QVERIFY2(tensor.error().message.find(k) != std::string::npos, tensor.error().message.c_str());
    QVERIFY2(tensor.error().message.find(row.says) != std::string::npos, tensor.error().message.c_str());
  }

  // Without a word on the version the zero points decide: symmetric ones are the middle, or that less one.
  void silentFilesAreReadByTheirZeroPoints() {
    Variant symmetric("gptq-8b-g64-sym");
    symmetric.dropConfig();
    const auto model = symmetric.open();
    const auto found = detectPacked(*model);
    QCOMPARE(found.size(), std::size_t{1});
    QCOMPARE(std::string(found[0].format->info().id), std::string("gptq"));
    QVERIFY2(found[0].layer.doubt.find("there is no quantization_config; read as v1 because every stored zero point") == 0,
             found[0].layer.doubt.c_str());

    Variant second("gptq-8b-g64-sym");
    second.config().erase("checkpoint_format");
    second.config().erase("format");
    for (std::byte& byte : second.array("qzeros").owned) byte = std::byte{0x80};
    const auto other = second.open();
    const auto seen = detectPacked(*other);
    QCOMPARE(std::string(seen[0].format->info().id), std::string("gptq_v2"));
    QCOMPARE(seen[0].layer.readings, (std::vector<std::string>{"v2", "v1"}));
    QVERIFY2(seen[0].layer.doubt.find("read as v2 because every stored zero point is 128") != std::string::npos,
             seen[0].layer.doubt.c_str());
    // The zero points are the same in both files, so are the weights.
    const auto one = found[0].format->read(*model, found[0].layer), two = seen[0].format->read(*other, seen[0].layer);
    QVERIFY(one && two);
    QCOMPARE(one->zero->values, two->zero->values);
    QCOMPARE(one->codes, two->codes);
  }

  void asymmetricZeroPointsTellByTheirMean() {
    for (const char* folder : {"gptq-dynamic", "gptq-2b-g32-asym", "gptq_v2-4b-g64-asym"}) {
      Variant variant(folder);
      variant.config().erase("checkpoint_format");
      variant.config().erase("format");
      const auto model = variant.open();
      const auto found = detectPacked(*model);
      QVERIFY(!found.empty());
      const bool second = std::string_view(folder).starts_with("gptq_v2");
      // Where the numbers are too few to tell, version 1 is taken, and that is said.
      if (found[0].layer.doubt.find("tell nothing") == std::string::npos)
        QCOMPARE(std::string(found[0].format->info().id), std::string(second ? "gptq_v2" : "gptq"));
      QVERIFY(!found[0].layer.doubt.empty());
    }
  }

  void contradictionIsTold() {
    Variant variant("gptq-8b-g64-sym");
    variant.config()["checkpoint_format"] = "gptq_v2";
    const WeightList weights(variant.open());
    const auto findings = lintReadings(weights.packedLayers());
    QCOMPARE(findings.size(), std::size_t{1});
    QCOMPARE(findings[0].tensor, k + ".weight");
    QCOMPARE(findings[0].rule, std::string("two-readings"));
    QVERIFY2(findings[0].what.find(
                 "can be read as v2 or v1: read as v2 by checkpoint_format gptq_v2, but the zero points look like v1") == 0,
             findings[0].what.c_str());
    QVERIFY(lintReadings(WeightList(Variant("gptq-8b-g64-sym").open()).packedLayers()).empty());
  }

  // With the original at hand each reading has its error, and the right one is far nearer.
  void aReferenceTellsTheReadingsApart() {
    Variant variant("gptq-8b-g64-sym");
    variant.config()["checkpoint_format"] = "gptq_v2";
    const WeightList weights(variant.open());
    const auto expected = Checkpoint::open(test::dataPath("packed") / "gptq-8b-g64-sym" / "expected.safetensors");
    const WeightList reference(*expected);
    CompareJob job;
    job.weights = &weights;
    job.reference = &reference;
    job.tensors = {k + ".weight"};
    job.choices = {*Choice::parse("uniform:bits=8")};
    const auto candidates = compare(job, {});
    QVERIFY2(candidates.has_value(), candidates ? "" : candidates.error().message.c_str());
    QCOMPARE(candidates->size(), std::size_t{2});
    QCOMPARE((*candidates)[0].reading, std::string("v2"));
    QCOMPARE((*candidates)[1].reading, std::string("v1"));
    QVERIFY((*candidates)[1].report.mse() < 0.8 * (*candidates)[0].report.mse());

    DiffJob both;
    both.a = &weights;
    both.b = &reference;
    const auto rows = diff(both, {});
    QVERIFY(rows.has_value());
    QCOMPARE(rows->size(), std::size_t{2});
    QCOMPARE((*rows)[0].a.reading, std::string("v2"));
    QVERIFY((*rows)[0].difference.mse() > 0);
    QCOMPARE((*rows)[1].a.reading, std::string("v1"));
    QCOMPARE((*rows)[1].difference.mse(), 0.0);
    QVERIFY(!weights.read(k + ".weight", "v3").has_value());
    QVERIFY(!reference.read(k + ".weight", "v1").has_value());
  }

  // Written with unsorted groups and read back: the same groups, the same weights.
  void actOrderRoundTrip() {
    QuantizedTensor tensor = *quantized("uniform:bits=4,granularity=group,group=32,symmetric=false", {32, 96});
    std::vector<std::uint32_t> index(96);
    for (std::uint32_t i = 0; i < 96; ++i) index[i] = i * 7 % 96 / 32;
    const Grouping grouping = Grouping::columnMap(32, index);
    tensor.scale = Plane::numbers(grouping, tensor.scale->values, Stored::F16);
    tensor.zero = Plane::numbers(grouping, tensor.zero->values, Stored::U8);
    const ExportLayer layer{"m.weight", &tensor, std::nullopt};
    for (const char* id : {"gptq", "gptq_v2"}) {
      const Format* format = findFormat(id);
      const auto arrays = format->pack(layer);
      QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
      test::ScratchFolder scratch;
      auto out = AtomicFile::create(scratch.file("model.safetensors"));
      QVERIFY(out && writeSafetensors(*out, *arrays) && out->commit());
      const auto config = format->configure("", {layer}, {});
      QVERIFY(config && config->find("\"desc_act\": true") != std::string::npos &&
              config->find("\"group_size\": 32") != std::string::npos);
      test::writeWhole(scratch.file("config.json"), *config);
      const auto model = Checkpoint::open(scratch.path());
      const auto found = detectPacked(**model);
      QCOMPARE(found.size(), std::size_t{1});
      QCOMPARE(found[0].format, format);
      const auto again = format->read(**model, found[0].layer);
      QVERIFY2(again.has_value(), again ? "" : again.error().message.c_str());
      QVERIFY(again->scale->grouping == grouping);
      QCOMPARE(decodeAll(*again), decodeAll(tensor));
      QCOMPARE(*format->proofDecode(scratch.file("model.safetensors"), "m.weight"), decodeAll(tensor));
    }
    QVERIFY(findFormat("awq")->refusal(tensor)->find("AWQ has no g_idx") != std::string::npos);
  }

  void awqHasNoPlaceForChannelScales() {
    QuantizedTensor tensor = *quantized("uniform:bits=4,granularity=group,group=32,symmetric=false", {32, 64});
    QVERIFY(!findFormat("awq")->refusal(tensor));
    tensor.channelScale.assign(64, 2.0f);
    QVERIFY(findFormat("awq")->refusal(tensor)->find("no place for the scales") != std::string::npos);
  }

  void awqConfig() {
    const auto tensor = quantized("uniform:bits=4,granularity=group,group=32,symmetric=false", {32, 64});
    const auto whole = quantized("uniform:bits=4,granularity=channel,symmetric=false", {32, 64});
    const Format* awq = findFormat("awq");
    const std::vector<ExportLayer> layers = {{"model.q_proj.weight", tensor.get(), std::nullopt}};
    const auto text = awq->configure("{\"model_type\": \"llama\"}", layers, {"lm_head.weight"});
    QVERIFY(text.has_value());
    const auto config = nlohmann::json::parse(*text)["quantization_config"];
    QCOMPARE(config["quant_method"], nlohmann::json("awq"));
    QCOMPARE(config["group_size"], nlohmann::json(32));
    QCOMPARE(config["version"], nlohmann::json("gemm"));
    QCOMPARE(config["modules_to_not_convert"], nlohmann::json({"lm_head"}));
    QVERIFY(nlohmann::json::parse(*awq->configure("", layers, {}))["quantization_config"]["modules_to_not_convert"].is_null());
    // A name left float that is part of a quantized one would take that out as well.
    const auto refused = awq->configure("", layers, {"model.q_proj"});
    QVERIFY(!refused && refused.error().message.find("quantize both or neither") != std::string::npos);
    const std::vector<ExportLayer> mixed = {layers[0], {"model.k_proj.weight", whole.get(), std::nullopt}};
    QVERIFY(!awq->configure("", mixed, {}).has_value());
    bool failed = false;
    for (const RuleResult& rule : awq->preflight("vllm", mixed)) failed = failed || (rule.asked && !rule.ok);
    QVERIFY(failed);
  }
};

QTEST_APPLESS_MAIN(TestGptqAwqFiles)
#include "test_gptq_awq_files.moc"
