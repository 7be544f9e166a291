// SPDX-License-Identifier: GPL-3.0-or-later
// Layers of every reader with one thing wrong - shapes, zeros that are missing, scales that are not finite, bits that do not
// fill words, groups that no group is - are listed and refused, with the tensor and the reason. (GPTQ and AWQ:
// test_gptq_awq_files; EXL2 and MBWQ: test_exl2_malformed; GGUF: test_gguf_malformed.)
#include "core/formats/format.h"
#include "core/io/atomic_file.h"
#include "core/run/run.h"
#include "core/run/weight_list.h"
#include "tests/support/packed_variant.h"

#include <QtTest>

using namespace nibble;
using test::PackedVariant;

namespace {

const std::string attention = "model.layers.0.self_attn.k_proj.", mlp = "model.layers.0.mlp.down_proj.",
                  experts = "model.layers.0.mlp.experts.down_proj_";

struct Broken {
  const char *name, *folder;
  const std::string& module;
  void (*spoil)(PackedVariant&);
  const char *tensor, *why;  // both stand in the refusal
};

const std::vector<Broken>& broken() {
  static const std::vector<Broken> rows = {
      // compressed-tensors
      {"ct: words missing a column", "ct-W3A16-g32", attention,
       [](auto& v) {
         v.reshape("weight_packed", {32, 33});
       },
       "weight_packed", "codes of 1 to 8 bits"},
      {"ct: more inputs than words hold", "ct-W3A16-g32", attention,
       [](auto& v) { v.template set<std::int64_t>("weight_shape", 1, 1000); }, "weight_shape", "more inputs"},
      {"ct: shape of other outputs", "ct-W3A16-g32", attention,
       [](auto& v) { v.template set<std::int64_t>("weight_shape", 0, 31); }, "weight_shape", "does not fit"},
      {"ct: shape missing", "ct-W3A16-g32", attention, [](auto& v) { v.drop("weight_shape"); }, "weight_shape", "missing"},
      {"ct: scales missing", "ct-W3A16-g32", attention, [](auto& v) { v.drop("weight_scale"); }, "weight_scale", "missing"},
      {"ct: scales not whole groups", "ct-W3A16-g32", attention,
       [](auto& v) {
         v.reshape("weight_scale", {32, 5});
       },
       "weight_scale", "whole groups"},
      {"ct: scale infinite", "ct-W3A16-g32", attention,
       [](auto& v) { v.template set<std::uint16_t>("weight_scale", 7, 0x7F80); }, "weight_scale", "number 7 is not finite"},
      {"ct: zero points missing", "ct-W4A16_ASYM-g32", attention, [](auto& v) { v.drop("weight_zero_point"); },
       "weight_zero_point", "missing"},
      {"ct: zero points of fewer groups", "ct-W4A16_ASYM-g32", attention,
       [](auto& v) {
         v.reshape("weight_zero_point", {4, 1});
       },
       "weight_zero_point", "expected"},
      {"ct: g_idx beyond", "ct-W4A16_ASYM-g32", attention,
       [](auto& v) { v.add("weight_g_idx", DType::I32, {64}, std::vector<std::int32_t>(64, 2)); }, "weight_g_idx", "no scales"},
      {"ct: g_idx short", "ct-W4A16_ASYM-g32", attention,
       [](auto& v) { v.add("weight_g_idx", DType::I32, {60}, std::vector<std::int32_t>(60, 0)); }, "weight_g_idx",
       "one number for each input"},
      {"ct: config of other bits", "ct-W3A16-g32", attention,
       [](auto& v) { v.config()["quantization_config"]["config_groups"]["group_0"]["weights"]["num_bits"] = 4; },
       "weight_packed", "the config says 4 bits, the words hold 3"},
      {"ct: int8 scales short", "ct-W8A8", attention,
       [](auto& v) {
         v.reshape("weight_scale", {31, 1});
       },
       "weight_scale", "whole groups"},
      {"ct: tiles of another size", "ct-FP8_BLOCK", mlp,
       [](auto& v) {
         v.reshape("weight_scale", {2, 2});
       },
       "weight_scale", "one for each tile"},
      {"ct: a code is NaN", "ct-FP8_BLOCK", mlp, [](auto& v) { v.template set<std::uint8_t>("weight", 9, 0xFF); }, "weight",
       "number 9 is NaN"},
      {"ct: global scale missing", "ct-NVFP4A16", attention, [](auto& v) { v.drop("weight_global_scale"); },
       "weight_global_scale", "missing"},
      {"ct: global scale 0", "ct-NVFP4A16", attention, [](auto& v) { v.template set<float>("weight_global_scale", 0, 0.0f); },
       "weight_global_scale", "one positive number"},
      {"ct: mx scale NaN", "ct-MXFP4A16", attention, [](auto& v) { v.template set<std::uint8_t>("weight_scale", 3, 255); },
       "weight_scale", "number 3 is NaN"},
      // MLX
      {"mlx: biases missing", "mlx-3b-g64", attention, [](auto& v) { v.drop("biases"); }, "biases", "missing"},
      {"mlx: scales missing", "mlx-3b-g64", attention, [](auto& v) { v.drop("scales"); }, "scales", "missing"},
      {"mlx: biases of another type", "mlx-3b-g64", attention, [](auto& v) { v.retype("biases", DType::BF16); }, "biases",
       "the type and shape of the scales"},
      {"mlx: words that codes do not fill", "mlx-3b-g64", attention,
       [](auto& v) {
         v.reshape("weight", {32, 7});
       },
       "weight", "words of 3 bit codes"},
      {"mlx: other groups than the config", "mlx-3b-g64", attention,
       [](auto& v) {
         v.reshape("scales", {32, 2});
         v.reshape("biases", {32, 2});
       },
       "scales", "one for each 64 inputs"},
      {"mlx: no config", "mlx-3b-g64", attention, [](auto& v) { v.config() = nullptr; }, "k_proj", "does not say its bits"},
      {"mlx: nine bits", "mlx-3b-g64", attention, [](auto& v) { v.config()["quantization"]["bits"] = 9; }, "k_proj",
       "impossible bits"},
      {"mlx: scale NaN", "mlx-3b-g64", attention, [](auto& v) { v.template set<std::uint16_t>("scales", 2, 0x7E00); }, "scales",
       "number 2 is not finite"},
      {"mlx: nvfp4 scale NaN", "mlx-nvfp4", attention, [](auto& v) { v.template set<std::uint8_t>("scales", 5, 0x7F); },
       "scales", "number 5 is NaN"},
      {"mlx: mxfp8 code NaN", "mlx-mxfp8", attention, [](auto& v) { v.template set<std::uint8_t>("weight", 5, 0x7F); },
       "weight", "NaN"},
      {"mlx: groups of no mode", "mlx-nvfp4", attention,
       [](auto& v) {
         v.reshape("scales", {32, 8});
       },
       "scales", "the groups of"},
      {"mlx: rows of scales", "mlx-nvfp4", attention,
       [](auto& v) {
         v.reshape("scales", {31, 4});
       },
       "scales", "a row for each output"},
      // HQQ
      {"hqq: zeros missing", "hqq-3b-g64-ax1", attention, [](auto& v) { v.drop("zero"); }, "zero", "missing"},
      {"hqq: scales missing", "hqq-3b-g64-ax1", attention, [](auto& v) { v.drop("scale"); }, "scale", "missing"},
      {"hqq: scale NaN", "hqq-3b-g64-ax1", attention, [](auto& v) { v.template set<std::uint16_t>("scale", 1, 0x7FC0); },
       "scale", "number 1 is not finite"},
      {"hqq: zero infinite", "hqq-3b-g64-ax1", attention, [](auto& v) { v.template set<std::uint16_t>("zero", 1, 0xFF80); },
       "zero", "number 1 is not finite"},
      {"hqq: fewer scales", "hqq-3b-g64-ax1", attention,
       [](auto& v) {
         v.reshape("scale", {31, 1});
       },
       "scale", "one number for each group"},
      {"hqq: words missing", "hqq-3b-g64-ax1", attention,
       [](auto& v) {
         v.reshape("W_q", {3, 64});
       },
       "W_q", "expected"},
      {"hqq: axis 2", "hqq-3b-g64-ax1", attention, [](auto& v) { v.template set<std::int32_t>("axis", 0, 2); }, "axis",
       "0 or 1"},
      {"hqq: group 0", "hqq-3b-g64-ax1", attention, [](auto& v) { v.template set<std::int32_t>("group_size", 0, 0); },
       "group_size", "positive"},
      {"hqq: group that does not divide", "hqq-3b-g64-ax1", attention,
       [](auto& v) { v.template set<std::int32_t>("group_size", 0, 63); }, "group_size", "does not divide"},
      {"hqq: width of another packing", "hqq-3b-g64-ax1", attention,
       [](auto& v) { v.template set<std::int32_t>("nbits", 0, 4); }, "packing", "does not hold 4 bits"},
      {"hqq: packing missing", "hqq-3b-g64-ax1", attention, [](auto& v) { v.drop("packing"); }, "packing", "no tensor"},
      // bitsandbytes
      {"bnb: absmax short", "bnb-nf4-dq", attention, [](auto& v) { v.reshape("weight.absmax", {31}); }, "weight.absmax",
       "one code for each block"},
      {"bnb: absmax missing", "bnb-nf4-dq", attention, [](auto& v) { v.drop("weight.absmax"); }, "weight.absmax", "no tensor"},
      {"bnb: codes short", "bnb-nf4-dq", attention,
       [](auto& v) {
         v.reshape("weight", {1023, 1});
       },
       "weight", "bytes of codes"},
      {"bnb: table of 15", "bnb-nf4-dq", attention, [](auto& v) { v.reshape("weight.quant_map", {15}); }, "quant_map",
       "16 numbers"},
      {"bnb: nested absmax NaN", "bnb-nf4-dq", attention,
       [](auto& v) { v.template set<std::uint32_t>("weight.nested_absmax", 0, 0x7FC00000); }, "nested_absmax", "not finite"},
      {"bnb: state is no JSON", "bnb-nf4-dq", attention,
       [](auto& v) { v.template set<char>("weight.quant_state.bitsandbytes__nf4", 0, '['); }, "quant_state",
       "not a quantization state"},
      {"bnb: codes missing", "bnb-nf4-dq", attention, [](auto& v) { v.drop("weight"); }, "k_proj.weight", "no tensor"},
      {"int8: scales short", "bnb-int8", attention, [](auto& v) { v.reshape("SCB", {31}); }, "SCB", "one F32 for each row"},
      {"int8: scale infinite", "bnb-int8", attention, [](auto& v) { v.template set<std::uint32_t>("SCB", 4, 0x7F800000); },
       "SCB", "number 4 is not finite"},
      {"int8: tiled codes", "bnb-int8", attention, [](auto& v) { v.template set<std::uint8_t>("weight_format", 0, 1); },
       "weight_format", "row-major"},
      // quanto, torchao
      {"quanto: scales missing", "quanto-qint4", attention, [](auto& v) { v.drop("weight._scale"); }, "_scale", "missing"},
      {"quanto: shifts missing", "quanto-qint4", attention, [](auto& v) { v.drop("weight._shift"); }, "_shift", "missing"},
      {"quanto: other rows", "quanto-qint4", attention,
       [](auto& v) {
         v.reshape("weight._data._data", {15, 64});
       },
       "_data._data", "2 or 4 codes a byte"},
      {"quanto: shift NaN", "quanto-qint4", attention,
       [](auto& v) { v.template set<std::uint16_t>("weight._shift", 6, 0x7E00); }, "_shift", "number 6 is not finite"},
      {"torchao: scales missing", "torchao-int8wo", attention, [](auto& v) { v.drop("_weight_scale"); }, "_weight_scale",
       "missing"},
      {"torchao: scales of fewer rows", "torchao-int8wo", attention,
       [](auto& v) {
         v.reshape("_weight_scale", {31, 1});
       },
       "_weight_scale", "whole groups"},
      {"torchao: zero points of another type", "torchao-int8wo", attention,
       [](auto& v) { v.retype("_weight_zero_point", DType::U8); }, "_weight_zero_point", "I8 of the scales' shape"},
      {"torchao: scale NaN", "torchao-int8wo", attention,
       [](auto& v) { v.template set<std::uint32_t>("_weight_scale", 2, 0xFFC00000); }, "_weight_scale",
       "number 2 is not finite"},
      // FP8 and gpt-oss
      {"fp8: other tiles than the config", "fp8-block32", attention,
       [](auto& v) {
         v.reshape("weight_scale_inv", {2, 2});
       },
       "weight_scale_inv", "one for each tile of 32 x 32"},
      {"fp8: no tiles cover it", "fp8-block32", attention,
       [](auto& v) {
         v.config() = nullptr;
         v.reshape("weight_scale_inv", {1, 3});
       },
       "weight_scale_inv", "one for each tile"},
      {"fp8: scale infinite", "fp8-block32", attention,
       [](auto& v) { v.template set<std::uint32_t>("weight_scale_inv", 1, 0x7F800000); }, "weight_scale_inv",
       "number 1 is not finite"},
      {"fp8: scales of integers", "fp8-block32", attention, [](auto& v) { v.retype("weight_scale_inv", DType::I32); },
       "weight_scale_inv", "F32, F16, BF16 or F8_E8M0"},
      {"fp8: a code is NaN", "fp8-block32", attention, [](auto& v) { v.template set<std::uint8_t>("weight", 77, 0x7F); },
       "weight", "number 77 is NaN"},
      {"gpt-oss: scales of another shape", "gptoss-mxfp4", experts,
       [](auto& v) {
         v.reshape("scales", {3, 64, 2});
       },
       "scales", "one U8 for each block"},
      {"gpt-oss: scale NaN", "gptoss-mxfp4", experts, [](auto& v) { v.template set<std::uint8_t>("scales", 300, 255); },
       "scales", "number 300 is NaN"},
  };
  return rows;
}

// A document 000 layer as a folder of arrays of its own: no folder of real ones exists.
struct BrokenDocument {
  const char* name;
  void (*spoil)(std::vector<RawTensor>&);
  const char *tensor, *why;
};

RawTensor& named(std::vector<RawTensor>& arrays, const std::string& end) {
  for (RawTensor& array : arrays)
    if (array.name.ends_with(end)) return array;
  qFatal("no array %s", end.c_str());
}

template <class T>
void put(std::vector<RawTensor>& arrays, const std::string& end, std::size_t index, T value) {
  std::memcpy(named(arrays, end).owned.data() + index * sizeof(T), &value, sizeof(T));
}

const std::vector<BrokenDocument>& brokenDocuments() {
  static const std::vector<BrokenDocument> rows = {
      {"a scale is NaN", [](auto& a) { put<std::uint32_t>(a, ".scale", 1, 0x7FC00000); }, "m.scale", "number 1 is not finite"},
      {"a zero is infinite", [](auto& a) { put<std::uint32_t>(a, ".zero", 0, 0xFF800000); }, "m.zero",
       "number 0 is not finite"},
      {"zeros missing", [](auto& a) { std::erase_if(a, [](const RawTensor& r) { return r.name == "m.zero"; }); }, "m.zero",
       "missing"},
      {"shape missing", [](auto& a) { std::erase_if(a, [](const RawTensor& r) { return r.name == "m.shape"; }); }, "m.shape",
       "missing"},
      {"a side of 0", [](auto& a) { put<std::int64_t>(a, ".shape", 0, 0); }, "m.shape", "not a usable size"},
      {"more weights than words", [](auto& a) { put<std::int64_t>(a, ".shape", 0, 50); }, "m.scale",
       "one number for each group"},
      {"four bits", [](auto& a) { put<std::int64_t>(a, ".bits", 0, 4); }, "m.bits", "1, 2 or 3"},
      {"words missing",
       [](auto& a) {
         named(a, ".pqdata").shape = {3};
         named(a, ".pqdata").owned.resize(12);
       },
       "m.pqdata", "words"},
  };
  return rows;
}

std::string refusalOf(const Checkpoint& checkpoint, const std::string& module) {
  for (const DetectedLayer& found : detectPacked(checkpoint)) {
    if (!found.layer.name.starts_with(module)) continue;
    const auto tensor = found.format->read(checkpoint, found.layer);
    return tensor ? "is read" : tensor.error().message;
  }
  return "is not listed";
}

}  // namespace

class TestPackedMalformed : public QObject {
  Q_OBJECT
 private slots:
  void refused_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < broken().size(); ++i) QTest::newRow(broken()[i].name) << static_cast<int>(i);
  }

  void refused() {
    QFETCH(int, index);
    const Broken& row = broken()[static_cast<std::size_t>(index)];
    PackedVariant variant(row.folder, row.module);
    const std::string module = row.module.substr(0, row.module.size() - 1);
    QCOMPARE(refusalOf(*variant.open(), module), std::string("is read"));
    row.spoil(variant);
    const std::string refusal = refusalOf(*variant.open(), module);
    QVERIFY2(refusal.find(row.tensor) != std::string::npos, refusal.c_str());
    QVERIFY2(refusal.find(row.why) != std::string::npos, refusal.c_str());
  }

  void documentsRefused_data() {
    QTest::addColumn<int>("index");
    for (std::size_t i = 0; i < brokenDocuments().size(); ++i) QTest::newRow(brokenDocuments()[i].name) << static_cast<int>(i);
  }

  void documentsRefused() {
    QFETCH(int, index);
    const BrokenDocument& row = brokenDocuments()[static_cast<std::size_t>(index)];
    const std::vector<float> values{-1, 2, 3, 4, 5, 6, 7, -8, 9, 1, 2, 3, 4, 5, 6, 7};
    const auto outcome =
        run(Tensor::fromFloats("m.weight", {2, 8}, values), *Choice::parse("minmax:bits=3,group=8,params=f32"), {});
    QVERIFY(outcome.has_value());
    auto arrays = findFormat("document000")->pack({"m.weight", outcome->quantized.get(), std::nullopt});
    QVERIFY(arrays.has_value());
    const test::ScratchFolder scratch;
    const auto refusal = [&](const char* name) {
      auto out = AtomicFile::create(scratch.file(name));
      if (!out || !writeSafetensors(*out, *arrays) || !out->commit()) qFatal("cannot write");
      return refusalOf(**Checkpoint::open(scratch.file(name)), "m.");
    };
    QCOMPARE(refusal("whole.safetensors"), std::string("is read"));
    row.spoil(*arrays);
    const std::string said = refusal("spoilt.safetensors");
    QVERIFY2(said.find(row.tensor) != std::string::npos && said.find(row.why) != std::string::npos, said.c_str());
  }

  // The rest of the file is used as ever; the broken layer is named by what asks for it.
  void brokenLayerIsListed() {
    PackedVariant variant("ct-W3A16-g32", attention);
    variant.drop("weight_shape");
    const WeightList weights(variant.open());
    const WeightItem* item = weights.find(attention + "weight");
    QVERIFY(item != nullptr && item->packed && item->bitsPerWeight() == 0);
    QCOMPARE(weights.packedLayers()[*item->packed].layer.description, std::string("compressed-tensors, cannot be read"));
    const auto read = weights.read(attention + "weight");
    QVERIFY(!read && read.error().message.find("weight_shape: missing") != std::string::npos);
    QVERIFY(weights.read("model.norm.weight").has_value());
  }
};

QTEST_APPLESS_MAIN(TestPackedMalformed)
#include "test_packed_malformed.moc"
