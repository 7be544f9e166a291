// SPDX-License-Identifier: GPL-3.0-or-later
// EXL2 and MBWQ files that are not right are refused by tensor and reason, by the reader and by the proof decoder alike; what
// bitorch-engine itself gets wrong (a permutation of zeros, groups of 16, widths its kernels lack) is read rightly or refused.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "tests/support/exl2_layers.h"
#include "tests/support/files.h"
#include "tests/support/quantized.h"

#include <QtTest>

#include <cstring>

using namespace nibble;

namespace {

using Arrays = std::vector<RawTensor>;

template <class T>
void put(Arrays& arrays, const char* key, std::size_t at, T value) {
  std::memcpy(test::arrayNamed(arrays, key).owned.data() + at * sizeof(T), &value, sizeof(T));
}

void reshape(Arrays& arrays, const char* key, Shape shape) {
  RawTensor& array = test::arrayNamed(arrays, key);
  array.owned.resize(elementCount(shape) * static_cast<std::uint64_t>(info(array.type).bits) / 8);
  array.shape = std::move(shape);
}

void remove(Arrays& arrays, const char* key) {
  std::erase_if(arrays, [&](const RawTensor& array) { return array.name.ends_with(std::string(".") + key); });
}

struct Spoiled {
  const char *name, *format;
  void (*spoil)(Arrays&);
  const char *where, *why;
  bool proofToo = true;
};

const Spoiled spoilt[] = {
    {"permutation twice", "exl2", [](Arrays& a) { put<std::int32_t>(a, "q_invperm", 3, 185); }, "m.q_invperm", "twice"},
    {"permutation beyond", "exl2", [](Arrays& a) { put<std::int32_t>(a, "q_invperm", 0, 256); }, "m.q_invperm", "no place"},
    {"permutation negative", "exl2", [](Arrays& a) { put<std::int32_t>(a, "q_invperm", 0, -1); }, "m.q_invperm", "no place"},
    {"permutation short", "exl2", [](Arrays& a) { reshape(a, "q_invperm", {224}); }, "m.q_invperm", "no place"},
    {"groups ascend", "exl2",
     [](Arrays& a) {
       put<std::int16_t>(a, "q_groups", 0, 4);
       put<std::int16_t>(a, "q_groups", 6, 8);
     },
     "m.q_groups", "descend"},
    {"groups out of order", "exl2", [](Arrays& a) { put<std::int16_t>(a, "q_groups", 5, 7); }, "m.q_groups",
     "the next one at 7"},
    {"group past the end", "exl2", [](Arrays& a) { put<std::int16_t>(a, "q_groups", 11, 42); }, "m.q_groups",
     "begins at row 42 of 34"},
    {"first group late", "exl2", [](Arrays& a) { put<std::int16_t>(a, "q_groups", 1, 1); }, "m.q_groups", "not at 0"},
    {"seven bits", "exl2", [](Arrays& a) { put<std::int16_t>(a, "q_groups", 2, 7); }, "m.q_groups", "7 bits"},
    {"a group of 16", "exl2", [](Arrays& a) { put<std::int16_t>(a, "q_groups", 11, 31); }, "m.q_groups", "no multiple of 32"},
    {"maximum infinite", "exl2", [](Arrays& a) { put<std::uint16_t>(a, "q_scale_max", 2, 0x7C00); }, "m.q_scale_max", "finite"},
    {"maximum nan", "exl2", [](Arrays& a) { put<std::uint16_t>(a, "q_scale_max", 2, 0x7E01); }, "m.q_scale_max", "finite"},
    {"maxima short", "exl2", [](Arrays& a) { reshape(a, "q_scale_max", {5}); }, "m.q_scale_max", "expected F16"},
    {"scales wide", "exl2",
     [](Arrays& a) {
       reshape(a, "q_scale", {6, 8});
     },
     "m.q_scale", "expected I32"},
    {"weights of floats", "exl2", [](Arrays& a) { test::arrayNamed(a, "q_scale").type = DType::F32; }, "m.q_scale",
     "found F32"},
    {"16 outputs", "exl2",
     [](Arrays& a) {
       reshape(a, "q_weight", {34, 16});
     },
     "m.q_weight", "32 outputs"},
    {"too few rows", "exl2",
     [](Arrays& a) {
       reshape(a, "q_weight", {32, 32});
     },
     "m.q_groups", "inputs"},
    {"odd table", "exl2", [](Arrays& a) { reshape(a, "q_groups", {11}); }, "m.q_groups", "expected I16"},
    {"bias of 31", "exl2",
     [](Arrays& a) { a.push_back(test::arrayOf("m.bias", DType::F16, {31}, std::vector<std::uint16_t>(31))); }, "m.bias",
     "expected F16", false},
    {"a weight beside", "exl2",
     [](Arrays& a) {
       a.push_back(test::arrayOf("m.weight", DType::F16, {1, 2}, std::vector<std::uint16_t>(2)));
     },
     "m.weight", "beside"},
    {"permutation twice", "mbwq", [](Arrays& a) { put<std::int16_t>(a, "q_perm", 3, 11); }, "m.q_perm", "not a permutation"},
    {"permutation beyond", "mbwq", [](Arrays& a) { put<std::int16_t>(a, "q_perm", 3, -2); }, "m.q_perm", "not a permutation"},
    {"permutation of 31", "mbwq", [](Arrays& a) { reshape(a, "q_perm", {31}); }, "m.q_perm", "multiple of 32", false},
    {"scales infinite", "mbwq", [](Arrays& a) { put<std::uint16_t>(a, "scales", 40, 0xFC00); }, "m.scales", "finite"},
    {"zeros nan", "mbwq", [](Arrays& a) { put<std::uint16_t>(a, "zeros", 40, 0x7E00); }, "m.zeros", "group 1, output 8"},
    {"zeros fewer", "mbwq",
     [](Arrays& a) {
       reshape(a, "zeros", {5, 32});
     },
     "m.zeros", "expected F16"},
    {"channel scale infinite", "mbwq", [](Arrays& a) { put<std::uint16_t>(a, "channel_scale", 11, 0x7C00); }, "m.channel_scale",
     "input 11"},
    {"channel scale short", "mbwq",
     [](Arrays& a) {
       reshape(a, "channel_scale", {1, 1, 128});
     },
     "m.channel_scale", "expected F16"},
    {"groups ascend", "mbwq",
     [](Arrays& a) {
       put<std::int16_t>(a, "q_groups", 0, 4);
       put<std::int16_t>(a, "q_groups", 6, 8);
     },
     "m.q_groups", "descend"},
    {"a group of 16", "mbwq", [](Arrays& a) { put<std::int16_t>(a, "q_groups", 11, 31); }, "m.q_groups", "no multiple of 32"},
    {"no table and mixed", "mbwq", [](Arrays& a) { remove(a, "q_groups"); }, "m.qweight", "neither 2 nor 4"},
    {"table of another layer", "mbwq", [](Arrays& a) { reshape(a, "q_groups", {10}); }, "m.q_groups", "expected I16"},
    {"map that differs", "mbwq",
     [](Arrays& a) { a.push_back(test::arrayOf("m.q_group_map", DType::I16, {512}, std::vector<std::int16_t>(512, 1))); },
     "m.q_group_map", "differs", false},
};

std::shared_ptr<const Checkpoint> open(const std::filesystem::path& file) {
  auto checkpoint = Checkpoint::open(file);
  if (!checkpoint) qFatal("%s", checkpoint.error().message.c_str());
  return *checkpoint;
}

Result<QuantizedTensor> readFirst(const Checkpoint& checkpoint) {
  const auto layers = detectPacked(checkpoint);
  if (layers.empty()) return fail("nothing detected");
  return layers.front().format->read(checkpoint, layers.front().layer);
}

QuantizedTensor quantized(const char* choice, const Shape& shape) {
  std::vector<float> values(elementCount(shape));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i) * 0.37f) * 0.1f;
  return test::quantized(Tensor::fromFloats("w", shape, std::move(values)), choice);
}

// The rule's verdict for these layers; the rule is found by the beginning of its text.
RuleResult verdict(const char* format, const char* runtime, const std::vector<ExportLayer>& layers, const std::string& rule) {
  for (RuleResult& result : findFormat(format)->preflight(runtime, layers))
    if (result.rule.starts_with(rule)) return std::move(result);
  qFatal("no rule %s", rule.c_str());
}

}  // namespace

class TestExl2Malformed : public QObject {
  Q_OBJECT
 private slots:
  void refused_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(std::size(spoilt)); ++i)
      QTest::addRow("%s: %s", spoilt[i].format, spoilt[i].name) << i;
  }

  void refused() {
    QFETCH(int, index);
    const Spoiled& row = spoilt[index];
    const test::ScratchFolder scratch;
    const auto layer = test::goldenLayer();
    Arrays arrays = std::string(row.format) == "exl2" ? layer.exl2("m") : layer.mbwq("m");
    row.spoil(arrays);
    test::writeArrays(scratch.file("m.safetensors"), arrays);
    const auto tensor = readFirst(*open(scratch.file("m.safetensors")));
    QVERIFY(!tensor);
    const std::string& message = tensor.error().message;
    QVERIFY2(message.find(row.where) != std::string::npos && message.find(row.why) != std::string::npos, message.c_str());
    if (row.proofToo) QVERIFY(!findFormat(row.format)->proofDecode(scratch.file("m.safetensors"), "m.weight"));
  }

  // A missing part makes another file of it, not a layer with a part made up.
  void notDetectedWithoutAPart() {
    const test::ScratchFolder scratch;
    for (const char* key : {"q_scale", "q_scale_max", "q_groups", "q_invperm"}) {
      Arrays arrays = test::goldenLayer().exl2("m");
      remove(arrays, key);
      test::writeArrays(scratch.file("m.safetensors"), arrays);
      QVERIFY2(detectPacked(*open(scratch.file("m.safetensors"))).empty(), key);
    }
    // Scales still compressed (qstatistic alone): bitorch-engine would run on what its constructor left there.
    for (const char* key : {"scales", "zeros", "q_perm"}) {
      Arrays arrays = test::goldenLayer().mbwq("m");
      remove(arrays, key);
      test::writeArrays(scratch.file("m.safetensors"), arrays);
      QVERIFY2(detectPacked(*open(scratch.file("m.safetensors"))).empty(), key);
    }
  }

  // bitorch-engine's mixed kernels would read input 0 for all rows.
  void zeroPermutationIsNone() {
    const test::ScratchFolder scratch;
    auto layer = test::goldenLayer();
    layer.order = [](std::uint64_t k) { return k; };
    Arrays arrays = layer.mbwq("m");
    test::writeArrays(scratch.file("identity.safetensors"), arrays);
    RawTensor& perm = test::arrayNamed(arrays, "q_perm");
    std::fill(perm.owned.begin(), perm.owned.end(), std::byte{0});
    test::writeArrays(scratch.file("zeros.safetensors"), arrays);
    const auto identity = readFirst(*open(scratch.file("identity.safetensors"))),
               zeros = readFirst(*open(scratch.file("zeros.safetensors")));
    QVERIFY(identity && zeros);
    QCOMPARE(decodeAll(*zeros), decodeAll(*identity));
    QCOMPARE(zeros->order[255], 255u);
  }

  void groupMapThatFitsIsTaken() {
    const test::ScratchFolder scratch;
    Arrays arrays = test::goldenLayer().mbwq("m");
    std::vector<std::int16_t> map;
    for (std::int16_t g = 0; const auto& group : test::goldenLayer().groups) {
      for (auto left = static_cast<std::int16_t>(group.inputs); left > 0; --left) map.insert(map.end(), {g, left});
      ++g;
    }
    arrays.push_back(test::arrayOf("m.q_group_map", DType::I16, {512}, map));
    test::writeArrays(scratch.file("m.safetensors"), arrays);
    QVERIFY(readFirst(*open(scratch.file("m.safetensors"))).has_value());
  }

  // The layer multiplies its inputs; the weight it stands for is multiplied, by the input of the model, not by stored place.
  void channelScaleMultiplies() {
    const test::ScratchFolder scratch;
    Arrays arrays = test::goldenLayer().mbwq("m");
    test::writeArrays(scratch.file("one.safetensors"), arrays);
    for (std::size_t k = 0; k < 256; ++k)
      put<std::uint16_t>(arrays, "channel_scale", k, kernels::floatToHalf(0.5f + static_cast<float>(k) / 256));
    test::writeArrays(scratch.file("many.safetensors"), arrays);
    const auto one = readFirst(*open(scratch.file("one.safetensors"))),
               many = readFirst(*open(scratch.file("many.safetensors")));
    QVERIFY(one && many);
    const auto before = decodeAll(*one), after = decodeAll(*many);
    for (std::size_t i = 0; i < before.size(); ++i) QCOMPARE(after[i], before[i] * (0.5f + static_cast<float>(i % 256) / 256));
    const auto proof = findFormat("mbwq")->proofDecode(scratch.file("many.safetensors"), "m.weight");
    QVERIFY2(proof.has_value(), proof ? "" : proof.error().message.c_str());
    QCOMPARE(*proof, after);
    const auto again = findFormat("mbwq")->pack({"m.weight", &*many, std::nullopt});
    QVERIFY(again && std::ranges::equal((*again)[4].bytes(), test::arrayNamed(arrays, "channel_scale").bytes()));
  }

  void blocksAreWholeOrNot() {
    const QuantizedTensor square = quantized("exl2:mix=4b:1@32", {64, 64});
    std::vector<ExportLayer> layers;
    for (const char* part : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})
      layers.push_back({std::string("model.layers.0.") + part + ".weight", &square, std::nullopt});
    RuleResult result = verdict("exl2", "exllamav2", layers, "Attention is quantized whole");
    QVERIFY(result.asked && !result.ok);
    QVERIFY2(result.detail.find("model.layers.0.self_attn.o_proj") != std::string::npos, result.detail.c_str());
    layers.push_back({"model.layers.0.self_attn.o_proj.weight", &square, std::nullopt});
    QVERIFY(verdict("exl2", "exllamav2", layers, "Attention is quantized whole").ok);
    layers.push_back({"model.layers.0.mlp.gate_proj.weight", &square, std::nullopt});
    layers.push_back({"model.layers.0.mlp.up_proj.weight", &square, std::nullopt});
    QVERIFY(!verdict("exl2", "exllamav2", layers, "An MLP is quantized whole").ok);
    const QuantizedTensor wide = quantized("exl2:mix=4b:1@32", {64, 96});
    layers.push_back({"model.layers.0.mlp.down_proj.weight", &wide, std::nullopt});
    QVERIFY(verdict("exl2", "exllamav2", layers, "An MLP is quantized whole").ok);
    result = verdict("exl2", "exllamav2", layers, "The permutation of down_proj");
    QVERIFY2(!result.ok && result.detail.find("96 inputs") != std::string::npos, result.detail.c_str());
    QuantizedTensor permuted = square;
    std::swap(permuted.order[0], permuted.order[5]);
    layers.back().tensor = &permuted;
    QVERIFY(verdict("exl2", "exllamav2", layers, "The permutation of down_proj").ok);
    layers[4].bias = Tensor::fromFloats("b", {64}, std::vector<float>(64, 0.5f));
    result = verdict("exl2", "exllamav2", layers, "The permutation of down_proj");
    QVERIFY2(!result.ok && result.detail.find("has a bias") != std::string::npos, result.detail.c_str());
  }

  void kernelsOfBitorchEngine() {
    const auto rule = [](const QuantizedTensor& tensor, const char* text) {
      return verdict("mbwq", "bitorch-engine", {{"m.weight", &tensor, std::nullopt}}, text);
    };
    QVERIFY(rule(quantized("mbwq:mix=4b:0.5@32+2b:0.5@32", {8, 128}), "A kernel is compiled").ok);
    const RuleResult lacking = rule(quantized("mbwq:mix=8b:0.5@32+2b:0.5@32", {8, 128}), "A kernel is compiled");
    QVERIFY2(lacking.asked && !lacking.ok && lacking.detail.starts_with("m.weight: "), lacking.detail.c_str());
    QVERIFY(rule(quantized("mbwq:bits=4,group=64", {8, 192}), "A uniform group divides").ok);
    QVERIFY(!rule(quantized("mbwq:bits=4,group=96", {8, 192}), "A uniform group divides").ok);
    QVERIFY(!rule(quantized("mbwq:bits=4,group=128", {8, 192}), "No group is shorter").ok);
    QVERIFY(!rule(quantized("mbwq:mix=8b:1@8192", {2, 8192}), "The group map fits").ok);
  }

  void whatCannotBeHeld_data() {
    QTest::addColumn<QString>("format");
    QTest::addColumn<QString>("choice");
    QTest::addColumn<QString>("why");
    QTest::newRow("hqq as exl2") << "exl2"
                                 << "hqq"
                                 << "rounds scale times code";
    QTest::newRow("nf4 as exl2") << "exl2"
                                 << "nf4"
                                 << "count from the middle";
    QTest::newRow("mbwq as exl2") << "exl2"
                                  << "mbwq"
                                  << "count from the middle";
    QTest::newRow("exl2 as mbwq") << "mbwq"
                                  << "exl2:mix=4b:1@32"
                                  << "scaled zero";
    QTest::newRow("codebook as mbwq") << "mbwq"
                                      << "codebook"
                                      << "scaled zero";
  }

  void whatCannotBeHeld() {
    QFETCH(QString, format);
    QFETCH(QString, choice);
    QFETCH(QString, why);
    const auto reason = findFormat(format.toStdString())->refusal(quantized(choice.toUtf8().constData(), {64, 64}));
    QVERIFY(reason.has_value());
    QVERIFY2(QString::fromStdString(*reason).contains(why), reason->c_str());
  }
};

QTEST_APPLESS_MAIN(TestExl2Malformed)
#include "test_exl2_malformed.moc"
