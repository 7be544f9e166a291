// SPDX-License-Identifier: GPL-3.0-or-later
// Linear layers with quantized weights and activations: the golden W8A8 outputs to their codes and integer sums, integers equal
// to the simulation to the bit on every backend, what does not factor and why, smoothing, and folding into norms.
#include "core/layers/layer_files.h"
#include "core/layers/linear_study.h"
#include "core/layers/norm_fold.h"
#include "core/layers/products.h"
#include "core/layers/stored_inputs.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"
#include "kernels/linear.h"
#include "tests/support/exl2_layers.h"
#include "tests/support/golden.h"
#include "tests/support/quantized.h"

#include <QTemporaryDir>
#include <QtTest>
#include <cmath>
#include <cstring>

using namespace nibble;
using nlohmann::json;

namespace {

using test::quantized;

Tensor synthetic(std::uint64_t rows, std::uint64_t columns, std::uint64_t seed) {
  return syntheticTensor(Distribution::HeavyTail, {rows, columns}, seed);
}

struct Golden {
  Tensor x, w;
  std::vector<float> bias;
  json entry;
};

Golden golden(int index) {
  const json file = test::loadJson("smoothquant.json");
  const json& entry = file["cases"][static_cast<std::size_t>(index)];
  const json& inputs = file["inputs"];
  auto x = test::floatsFromJson(inputs["x"]["data"]), w = test::floatsFromJson(inputs["q"]["data"]);
  if (entry["settings"].value("data", "plain") != "plain") {
    const auto scales = test::floatsFromJson(file["cases"][0]["expect"]["scales"]);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] /= scales[i % 24];
    for (std::size_t i = 0; i < w.size(); ++i) w[i] *= scales[i % 24];
  }
  return {Tensor::fromFloats("x", {40, 24}, x), Tensor::fromFloats("w", {10, 24}, w), test::floatsFromJson(inputs["bias"]["data"]), entry};
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

class TestLinearProducts : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;

 private slots:
  void goldenW8A8_data() {
    QTest::addColumn<int>("index");
    const json file = test::loadJson("smoothquant.json");
    for (std::size_t i = 0; i < file["cases"].size(); ++i)
      if (file["cases"][i]["op"] != "smooth")
        QTest::newRow(file["cases"][i]["name"].get<std::string>().c_str()) << static_cast<int>(i);
  }
  void goldenW8A8() {
    QFETCH(int, index);
    const Golden data = golden(index);
    const std::string name = data.entry["name"];
    const bool affine = data.entry["op"] == "w8a8_asym";
    const std::string w = name.find("wtensor") != std::string::npos ? "tensor" : "channel";
    const std::string x = name.find("atensor") != std::string::npos ? "tensor" : "token";
    const auto weights = quantized(data.w, "uniform:params=f32,granularity=" + w);
    const std::string activations = "uniform:params=f32,kind=activation,granularity=" + x + ",symmetric=" + (affine ? "false" : "true");
    const auto inputs = quantized(data.x, activations);
    const auto a = integerRows(inputs), b = integerRows(weights);
    QVERIFY(a && b);
    const json& expect = data.entry["expect"];
    const char* sumsName = affine ? "acc_minus_zp_term" : "acc_int32";
    if (expect.contains(sumsName) && !expect[sumsName].is_null()) {
      const auto sums = integerSums(*a, *b, Context{});
      QVERIFY(sums.has_value());
      for (std::size_t i = 0; i < sums->size(); ++i) QCOMPARE((*sums)[i], expect[sumsName][i].get<std::int64_t>());
      for (std::size_t i = 0; i < a->codes.size(); ++i)
        QCOMPARE(inputs.codes.at(i) - (affine ? 0 : 128), expect["x_codes"][i].get<std::int64_t>());
    }
    const auto product = quantizedProduct(inputs, weights, data.bias, Context{});
    QVERIFY(product && product->integer && product->reason.empty());
    double largest = 0, error = 0;
    for (std::size_t i = 0; i < product->outputs.size(); ++i) {
      const double y = expect["y"][i];
      largest = std::max(largest, std::fabs(y));
      error = std::max(error, std::fabs(product->outputs[i] - y));
    }
    QVERIFY2(error <= 2e-5 * largest, std::to_string(error / largest).c_str());
    // The whole study: the error against float, and outputs quantized by the same function.
    LinearJob job{&data.w, nullptr, data.bias, &data.x, *Choice::parse("uniform:params=f32,granularity=" + w), *Choice::parse(activations), std::nullopt, false};
    if (data.entry["settings"].value("data", "plain") == "plain") {
      const auto study = studyLinear(job, Context{});
      QVERIFY(study.has_value());
      QVERIFY(same(study->outputs, product->outputs));
      QVERIFY(std::fabs(study->errors.mse() / expect["mse_vs_float"].get<double>() - 1) < 1e-3);
    }
    if (!expect.contains("output_quantized") || expect["output_quantized"].is_null()) return;
    job.quantizeOutput = true;
    const auto rounded = studyLinear(job, Context{});
    QVERIFY(rounded.has_value());
    const auto scale = test::floatsFromJson(expect["output_quantized"]["scale"]);
    for (std::size_t i = 0; i < rounded->outputs.size(); ++i) {
      const double expected = scale[scale.size() == 1 ? 0 : i / 10] * expect["output_quantized"]["codes"][i].get<double>();
      QVERIFY(std::fabs(rounded->outputs[i] - expected) <= 1e-4 * std::fabs(expected) + 1e-6);
    }
  }

  void integersEqualTheSimulation() {
    int checked = 0;
    for (const kernels::Backend* backend : kernels::allBackends()) {
      if (!backend->unusableReason().empty()) continue;
      Context context;
      context.backend = backend;
      for (const std::uint64_t columns : {1u, 7u, 33u, 384u, 1031u})
        for (const char* bits : {"2", "3", "5", "8"})
          for (const char* w : {"channel", "tensor"})
            for (const char* x : {"token", "tensor"})
              for (const char* symmetric : {"true", "false"}) {
                const std::string tail = std::string(",symmetric=") + symmetric + ",bits=" + bits;
                const auto weights = quantized(synthetic(13, columns, 1), "uniform:granularity=" + std::string(w) + tail);
                const auto inputs = quantized(synthetic(9, columns, 2), "uniform:kind=activation,granularity=" + std::string(x) + tail);
                const auto a = integerRows(inputs), b = integerRows(weights);
                QVERIFY(a && b);
                const std::vector<float> bias(13, 0.25f);
                const auto integer = integerProduct(*a, *b, bias, context), simulated = simulatedProduct(inputs, weights, bias, context);
                QVERIFY(integer && simulated);
                QVERIFY(same(*integer, *simulated));
                // And they are the product of the decoded values, as far as float32 holds those.
                const auto products = productsInDouble(decodeAll(inputs), 9, decodeAll(weights), 13, columns, context);
                for (std::size_t i = 0; i < integer->size(); ++i)
                  QVERIFY(std::fabs((*integer)[i] - 0.25 - (*products)[i]) <= 1e-5 * (std::fabs((*products)[i]) + 0.3));
                ++checked;
              }
    }
    QVERIFY(checked >= 160);
  }

  void whatDoesNotFactorIsSimulatedAndSaysWhy_data() {
    QTest::addColumn<QString>("weights");
    QTest::addColumn<QString>("activations");
    QTest::addColumn<QString>("reason");
    QTest::newRow("columns of activations") << "uniform" << "uniform:kind=activation" << "activations: its scale changes along a row";
    QTest::newRow("columns of weights") << "uniform:granularity=column" << "uniform:granularity=token" << "weights: its scale changes";
    QTest::newRow("groups") << "uniform:granularity=group,group=32" << "uniform:granularity=token" << "weights: its scale changes";
    QTest::newRow("tables") << "nf4:block=64" << "uniform:granularity=token" << "weights: its levels are no integers";
    QTest::newRow("wide") << "uniform:bits=12" << "uniform:granularity=token" << "weights: its codes do not fit 8 bits";
    QTest::newRow("float zeros") << "minmax:bits=4,group=64" << "uniform:granularity=token" << "weights: it adds a bias";
  }
  void whatDoesNotFactorIsSimulatedAndSaysWhy() {
    QFETCH(QString, weights);
    QFETCH(QString, activations);
    QFETCH(QString, reason);
    const auto w = quantized(synthetic(6, 64, 1), weights.toStdString()), x = quantized(synthetic(5, 64, 2), activations.toStdString());
    const auto product = quantizedProduct(x, w, {}, Context{});
    QVERIFY(product && !product->integer);
    QVERIFY2(QString::fromStdString(product->reason).startsWith(reason), product->reason.c_str());
    const auto products = productsInDouble(decodeAll(x), 5, decodeAll(w), 6, 64, Context{});
    for (std::size_t i = 0; i < product->outputs.size(); ++i) QCOMPARE(product->outputs[i], static_cast<float>((*products)[i]));
  }

  void integerLoopsAreEqual() {
    for (const std::size_t columns : {0u, 1u, 15u, 16u, 31u, 64u, 257u}) {
      std::vector<std::int8_t> a(5 * columns), b(7 * columns);
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<std::int8_t>(i * 37 % 3 == 0 ? -128 : i * 91);
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<std::int8_t>(i % 5 == 0 ? -128 : i * 53);
      std::vector<std::int32_t> host(35), simd(35, 1);
      kernels::hostLinearLoops().integerProducts(a.data(), 5, b.data(), 7, columns, host.data());
      kernels::simdLinearLoops().integerProducts(a.data(), 5, b.data(), 7, columns, simd.data());
      QCOMPARE(simd, host);
    }
  }

  void inputsMeetTheStoredWeights_data() {
    QTest::addColumn<QString>("choice");
    for (const char* choice : {"hadamard:block=64/uniform:bits=8", "gptq:bits=4,order=true", "awq:bits=4,group=64", "mbwq:mix=4b:0.5@32+2b:0.5@32",
                               "exl2:mix=5b:0.5@64+3b:0.5@64"})
      QTest::newRow(choice) << choice;
  }
  void inputsMeetTheStoredWeights() {
    QFETCH(QString, choice);
    const Tensor x = synthetic(4, 128, 3);
    const auto values = *x.readAll();
    const QuantizedTensor w = quantized(synthetic(32, 128, 4), choice.toStdString());
    const auto moved = storedInputs(w, values, 4);
    const auto stored = productsInDouble(moved, 4, decodeAll(storedWeights(w)), 32, 128, Context{});
    const auto plain = productsInDouble(values, 4, decodeAll(w), 32, 128, Context{});
    for (std::size_t i = 0; i < plain->size(); ++i) QVERIFY(std::fabs((*stored)[i] - (*plain)[i]) < 1e-6);
    // The transposed map: <storedInputs(x), g> = <x, gradientsOfInputs(g)>.
    const auto g = *synthetic(4, 128, 5).readAll();
    const auto back = gradientsOfInputs(w, g, 4);
    double left = 0, right = 0;
    for (std::size_t i = 0; i < g.size(); ++i) left += static_cast<double>(moved[i]) * g[i], right += static_cast<double>(values[i]) * back[i];
    QVERIFY(std::fabs(left - right) < 1e-6);
  }

  void shapesAreRestoredAndBadInputsRefused() {
    const Tensor w = synthetic(6, 64, 1);
    const Tensor x = Tensor::fromFloats("x", {2, 3, 64}, *synthetic(6, 64, 2).readAll());
    LinearJob job{&w, nullptr, {}, &x, *Choice::parse("uniform"), *Choice::parse("uniform:kind=activation,granularity=token"), std::nullopt, false};
    const auto study = studyLinear(job, Context{});
    QVERIFY(study && study->integer);
    QCOMPARE(study->shape, (Shape{2, 3, 6}));
    job.smoothAlpha = 0.5;
    QVERIFY(studyLinear(job, Context{})->integer);
    const auto refused = [&](const LinearJob& bad, const char* what) {
      const auto result = studyLinear(bad, Context{});
      QVERIFY(!result);
      QVERIFY2(result.error().message.find(what) != std::string::npos, result.error().message.c_str());
    };
    const Tensor narrow = synthetic(2, 63, 1), bad = Tensor::fromFloats("bad", {1, 64}, std::vector<float>(64, NAN));
    LinearJob other = job;
    other.inputs = &narrow;
    refused(other, "63 channels");
    other.inputs = &bad;
    refused(other, "only finite");
    other = job;
    other.bias = {1, 2};
    refused(other, "bias of 2");
    QVERIFY(!activationChoice(*Choice::parse("smooth/uniform")));
    QCOMPARE(activationChoice(*Choice::parse("uniform"))->text().find("kind=activation") != std::string::npos, true);
  }

  void normsAreFoldedWhereThatIsExact() {
    const json file = test::loadJson("smoothquant.json");
    const auto floats = [&](const char* name, const char* key, Shape shape) {
      return test::arrayOf(name, DType::F32, std::move(shape), test::floatsFromJson(file["inputs"][key]["data"]));
    };
    const std::string block = "model.layers.0.";
    const auto path = std::filesystem::path(m_folder.filePath("llama.safetensors").toStdString());
    test::writeArrays(path, {floats("model.layers.0.self_attn.q_proj.weight", "q", {10, 24}), floats("model.layers.0.self_attn.k_proj.weight", "k", {10, 24}),
                             floats("model.layers.0.self_attn.v_proj.weight", "v", {10, 24}), floats("model.layers.0.input_layernorm.weight", "norm_weight", {24}),
                             floats("model.layers.0.input_layernorm.bias", "norm_bias", {24}),
                             floats("encoder.layer.0.attention.self.query.weight", "q", {10, 24}), floats("decoder.layers.0.fc1.weight", "q", {10, 24}),
                             floats("decoder.layers.0.final_layer_norm.weight", "norm_weight", {24})});
    const auto checkpoint = Checkpoint::open(path);
    QVERIFY(checkpoint.has_value());
    const NormFold fold = normFold(**checkpoint, block + "self_attn.k_proj.weight");
    QCOMPARE(fold.norm, block + "input_layernorm");
    QCOMPARE(fold.consumers.size(), std::size_t{3});
    QVERIFY(fold.refusal.empty());
    const auto x = test::floatsFromJson(file["inputs"]["x"]["data"]);
    for (const json& entry : file["cases"]) {
      if (entry["op"] != "smooth" || entry["settings"]["consumers"].size() != 3) continue;
      const auto folded = foldSmoothing(**checkpoint, fold, x, 24, entry["settings"]["alpha"]);
      QVERIFY(folded && folded->size() == 5);
      const auto matches = [&](const RawTensor& tensor, const std::vector<float>& expected) {
        QCOMPARE(tensor.owned.size(), expected.size() * sizeof(float));
        const auto* values = reinterpret_cast<const float*>(tensor.owned.data());
        for (std::size_t i = 0; i < expected.size(); ++i) QVERIFY(std::fabs(values[i] - expected[i]) <= 2e-6f * std::fabs(expected[i]));
      };
      matches((*folded)[0], test::floatsFromJson(entry["expect"]["norm_weight"]));
      matches((*folded)[1], test::floatsFromJson(entry["expect"]["norm_bias"]));
      matches((*folded)[2], test::floatsFromJson(entry["expect"]["smoothed_weight"]["q"]["data"]));
    }
    const NormFold bert = normFold(**checkpoint, "encoder.layer.0.attention.self.query.weight");
    QVERIFY(bert.refusal.find("residual") != std::string::npos);
    const auto refused = foldSmoothing(**checkpoint, bert, x, 24, 0.5);
    QVERIFY(!refused && refused.error().message.find("residual") != std::string::npos);
    QVERIFY(normFold(**checkpoint, "decoder.layers.0.fc1.weight").refusal.find("config.json") != std::string::npos);
    QVERIFY(normFold(**checkpoint, "lm_head.weight").norm.empty());
    QVERIFY(!foldSmoothing(**checkpoint, normFold(**checkpoint, "lm_head.weight"), x, 24, 0.5));
  }
};

QTEST_GUILESS_MAIN(TestLinearProducts)
#include "test_linear_products.moc"
