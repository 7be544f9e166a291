// SPDX-License-Identifier: GPL-3.0-or-later
// hqq against the answers of hqq 0.2.8 (data/hqq.json), through the scheme's public interface with params=f32: codes and packed
// bytes equal except where the file names a tie, scales to the bit, zeros to 1e-4 (a mean's summation order is free), the
// iteration at which the loop stops, and the values that come out.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/choice.h"
#include "core/run/run.h"
#include "kernels/math/half_quadratic.h"
#include "tests/support/golden.h"

#include <QTest>
#include <cmath>
#include <cstring>
#include <set>

using namespace nibble;
using nlohmann::json;

namespace {

const json& golden() {
  static const json file = test::loadJson("hqq.json");
  return file;
}

Tensor inputOf(const json& one) {
  const json& input = golden()["inputs"][one["input"]["ref"].get<std::string>()];
  return Tensor::fromFloats("w", input["shape"].get<Shape>(), test::floatsFromJson(input["data"]));
}

std::string choiceOf(const json& settings) {
  const auto flag = [&](const char* key) { return settings[key].get<bool>() ? "true" : "false"; };
  std::string text = "hqq:bits=" + (settings["nbits"].is_number_integer() ? std::to_string(settings["nbits"].get<int>())
                                                                          : std::string("1.58"));
  text += ",group=" + std::to_string(settings["group_size"].is_null() ? 0 : settings["group_size"].get<int>());
  text += ",axis=" + std::to_string(settings["axis"].get<int>());
  text += std::string(",optimize=") + flag("optimize") + ",round-zero=" + flag("round_zero") +
          ",channel-wise=" + flag("channel_wise");
  if (settings.contains("zero_quant_params"))
    text += std::string(",nested=true,nested-zero=") +
            (settings["zero_quant_params"]["channel_wise"].get<bool>() ? "group" : "tensor");
  return text + ",params=f32";
}

Outcome outcomeOf(const json& one, const kernels::Backend& backend) {
  const auto choice = Choice::parse(choiceOf(one["settings"]));
  if (!choice) qFatal("%s", choice.error().message.c_str());
  Context context;
  context.backend = &backend;
  auto outcome = run(inputOf(one), *choice, context);
  if (!outcome) qFatal("%s", outcome.error().message.c_str());
  return *std::move(outcome);
}

std::vector<std::uint8_t> bytesOf(const PayloadPart& part) {
  std::vector<std::uint8_t> bytes(part.bytes.size());
  std::memcpy(bytes.data(), part.bytes.data(), bytes.size());
  return bytes;
}

std::vector<std::uint8_t> packedCodes(const QuantizedTensor& tensor) {
  const auto bytes = tensor.layout->pack(tensor.codes);
  return bytesOf({"codes", bytes});
}

// "6 of 20 iterations, mean |error| 0.0066" out of the notes: iterations and the last error.
std::pair<int, double> iterationsOf(const QuantizedTensor& tensor) {
  for (const std::string& note : tensor.notes) {
    int iterations = 0, most = 0;
    double error = 0;
    if (std::sscanf(note.c_str(), "half-quadratic: %d of %d iterations, mean |error| %lf", &iterations, &most, &error) == 3)
      return {iterations, error};
  }
  return {0, 0.0};
}

bool closeTo(float value, float expected, double absolute, double relative) {
  return std::fabs(static_cast<double>(value) - expected) <= absolute + relative * std::fabs(static_cast<double>(expected));
}

}  // namespace

class TestHqqGolden : public QObject {
  Q_OBJECT

  static void addRows() {
    QTest::addColumn<int>("index");
    QTest::addColumn<QString>("backend");
    for (std::size_t i = 0; i < golden()["cases"].size(); ++i)
      for (const kernels::Backend* backend : kernels::allBackends())
        if (backend->unusableReason().empty()) {
          const std::string name = golden()["cases"][i]["name"].get<std::string>() + " " + std::string(backend->name());
          QTest::addRow("%s", name.c_str()) << static_cast<int>(i) << QString::fromStdString(std::string(backend->name()));
        }
  }
  static const json& currentCase() {
    QFETCH(int, index);
    return golden()["cases"][static_cast<std::size_t>(index)];
  }
  static const kernels::Backend& currentBackend() {
    QFETCH(QString, backend);
    return *kernels::findBackend(backend.toStdString());
  }

 private slots:
  void all71CasesAreHere() { QCOMPARE(golden()["cases"].size(), std::size_t{71}); }

  void codesAndBytes_data() { addRows(); }
  void codesAndBytes() {
    const json &one = currentCase(), &expect = one["expect"];
    const Outcome outcome = outcomeOf(one, currentBackend());
    const QuantizedTensor& tensor = *outcome.quantized;
    std::set<std::size_t> ties;
    if (expect.contains("ambiguous_flat_indices"))
      for (const json& index : expect["ambiguous_flat_indices"]) ties.insert(index.get<std::size_t>());
    const auto* codes = tensor.codes.as<std::uint8_t>();
    QVERIFY(codes != nullptr);
    bool same = true;
    if (expect.contains("codes_hex")) {
      const auto expected = test::bytesFromHex(expect["codes_hex"]);
      QCOMPARE(codes->size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        same = same && (*codes)[i] == expected[i];
        const int difference = std::abs(int((*codes)[i]) - int(expected[i]));
        QVERIFY2(difference == 0 || (difference == 1 && ties.count(i) != 0), qPrintable(QString("code %1").arg(i)));
      }
    }
    const auto packed = test::bytesFromHex(expect["W_q_hex"]);
    QCOMPARE(tensor.layout->sizeBytes(), std::uint64_t{packed.size()});
    if (same) QCOMPARE(packedCodes(tensor), packed);
  }

  void scalesAndZeros_data() { addRows(); }
  void scalesAndZeros() {
    const json &one = currentCase(), &expect = one["expect"];
    const Outcome outcome = outcomeOf(one, currentBackend());
    const QuantizedTensor& tensor = *outcome.quantized;
    const auto scale = test::floatsFromJson(expect["scale"]["data"]), zero = test::floatsFromJson(expect["zero"]["data"]);
    QCOMPARE(tensor.scale->values.size(), scale.size());
    QCOMPARE(tensor.zero->values.size(), zero.size());
    const bool optimized = one["settings"]["optimize"].get<bool>();
    const double noise = expect.contains("zero_max_diff_float64") ? expect["zero_max_diff_float64"].get<double>() : 0.0;
    const bool nested = expect.contains("zero_q");
    for (std::size_t g = 0; g < scale.size(); ++g) {
      if (nested) {  // the file gives the numbers before they were quantized; nestedParameters() compares what they became
        QVERIFY(closeTo(tensor.scale->values[g], scale[g], 0.501 * tensor.scale->nested->scale->values[0], 0));
        QVERIFY(closeTo(tensor.zero->values[g], zero[g], 0.501 * tensor.zero->nested->scale->values[0] + 1e-4, 0));
        continue;
      }
      QVERIFY(tensor.scale->values[g] == scale[g]);
      if (optimized) {
        QVERIFY(closeTo(tensor.zero->values[g], zero[g], 1e-4 + noise, 2e-6));
      } else {
        QVERIFY(tensor.zero->values[g] == zero[g]);
      }
    }
    const Shape natural = tensor.scale->grouping.naturalShape();
    if (!expect["scale"]["shape"].empty()) QCOMPARE(natural, expect["scale"]["shape"].get<Shape>());
  }

  void iterations_data() { addRows(); }
  void iterations() {
    const json &one = currentCase(), &expect = one["expect"];
    if (!expect.contains("iterations_run")) return;
    const auto [iterations, lastError] = iterationsOf(*outcomeOf(one, currentBackend()).quantized);
    const int expected = expect["iterations_run"];
    const int inDouble = expect.contains("iterations_run_float64") ? expect["iterations_run_float64"].get<int>() : expected;
    if (expected == inDouble) {
      QCOMPARE(iterations, expected);
    } else {  // decided by the float32 noise of the reference's own mean
      QVERIFY(iterations >= std::min(expected, inDouble) && iterations <= std::max(expected, inDouble));
    }
    if (expect.contains("iteration_errors")) {
      const auto errors = test::floatsFromJson(expect["iteration_errors"]);
      QVERIFY(closeTo(static_cast<float>(lastError), errors[std::min(errors.size(), std::size_t(iterations)) - 1], 0, 1e-5));
    }
  }

  void iterationErrors_data() { addRows(); }
  void iterationErrors() {
    const json &one = currentCase(), &expect = one["expect"];
    if (!expect.contains("iteration_errors")) return;
    // The errors of every iteration, straight from the backend.
    const Tensor tensor = inputOf(one);
    const auto weights = *tensor.readAll();
    const std::size_t groups = expect["scale"]["data"].size(), size = weights.size() / groups;
    const auto view = one["settings"]["axis"] == 1 ? kernels::GroupView::contiguous(weights.data(), groups, size)
                                                   : kernels::GroupView::strided(weights.data(), groups, size);
    kernels::HalfQuadraticSettings settings;
    settings.maxCode = static_cast<float>(std::nearbyint(std::exp2(one["settings"]["nbits"].get<double>()) - 1));
    std::vector<float> low(groups), high(groups), inverse(groups), zero(groups);
    currentBackend().ranges(view, low.data(), high.data());
    for (std::size_t g = 0; g < groups; ++g) {
      kernels::halfQuadraticStart(low[g], high[g], settings.maxCode, &inverse[g], &zero[g]);
      if (one["settings"]["round_zero"].get<bool>()) zero[g] = std::nearbyint(zero[g]);
    }
    std::vector<double> errors((groups + 255) / 256 * 20);
    std::vector<int> rest(groups);
    QVERIFY(groups <= kernels::halfQuadraticChunk);
    currentBackend().halfQuadratic(view, settings, inverse.data(), zero.data(), errors.data(), rest.data());
    const auto expected = test::floatsFromJson(expect["iteration_errors"]);
    for (std::size_t i = 0; i < expected.size(); ++i)
      QVERIFY2(
          closeTo(static_cast<float>(errors[i] / static_cast<double>(weights.size())), expected[i], 0, 1e-5),
          qPrintable(QString("iteration %1: %2, expected %3").arg(i).arg(errors[i] / double(weights.size())).arg(expected[i])));
  }

  void values_data() { addRows(); }
  void values() {
    const json &one = currentCase(), &expect = one["expect"];
    const Outcome outcome = outcomeOf(one, currentBackend());
    const auto decoded = decodeAll(*outcome.quantized);
    if (expect.contains("dequantized")) {
      const auto expected = test::floatsFromJson(expect["dequantized"]["data"]);
      const auto scales = outcome.quantized->scale;
      const bool exact = !one["settings"]["optimize"].get<bool>();
      for (std::size_t i = 0; i < expected.size(); ++i) {
        if (exact) {
          const std::set<std::size_t> ties(expect["ambiguous_flat_indices"].begin(), expect["ambiguous_flat_indices"].end());
          if (ties.count(i) == 0) QVERIFY(decoded[i] == expected[i]);
        } else {
          QVERIFY(closeTo(decoded[i], expected[i], 1e-4 * scales->values[scales->grouping.groupOf(i)], 2e-6));
        }
      }
    }
    QVERIFY(std::fabs(outcome.report.mse() - expect["mse"].get<double>()) <= 1e-5 * expect["mse"].get<double>() + 1e-18);
    if (expect.contains("mean_abs_err")) {
      const auto weights = *inputOf(one).readAll();
      double absolute = 0;
      for (std::size_t i = 0; i < decoded.size(); ++i) absolute += std::fabs(weights[i] - decoded[i]);
      QVERIFY(closeTo(static_cast<float>(absolute / static_cast<double>(decoded.size())), expect["mean_abs_err"].get<float>(), 1e-12,
                      1e-5));
    }
  }

  void nestedParameters_data() { addRows(); }
  void nestedParameters() {
    const json &one = currentCase(), &expect = one["expect"];
    if (!expect.contains("zero_q")) return;
    const Outcome outcome = outcomeOf(one, currentBackend());
    const auto check = [](const Plane& plane, const json& expected) {
      QVERIFY(plane.nested != nullptr);
      QCOMPARE(packedCodes(*plane.nested), test::bytesFromHex(expected["W_q_hex"]));
      const auto scale = test::floatsFromJson(expected["scale"]["data"]), zero = test::floatsFromJson(expected["zero"]["data"]);
      QCOMPARE(plane.nested->scale->values.size(), scale.size());
      for (std::size_t g = 0; g < scale.size(); ++g) {
        QVERIFY(closeTo(plane.nested->scale->values[g], scale[g], 0, 2e-6));
        QVERIFY(closeTo(plane.nested->zero->values[g], zero[g], 1e-4, 2e-6));
      }
    };
    check(*outcome.quantized->scale, expect["scale_q"]);
    check(*outcome.quantized->zero, expect["zero_q"]);
  }

  void sizes() {
    // 3 bits in 32-bit words of ten: 3.2; float16 scale and zero per 64: 0.5.
    std::vector<float> weights(640 * 64);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i));
    const Tensor tensor = Tensor::fromFloats("w", {640, 64}, weights);
    for (const auto& [text, bits] : {std::pair{"hqq:bits=3,group=64", 3.7}, std::pair{"hqq:bits=4,group=64", 4.5},
                                     std::pair{"hqq:bits=1.58,group=64", 2.5}, std::pair{"hqq:bits=6,group=64", 8.5}}) {
      const auto outcome = run(tensor, *Choice::parse(text), {});
      QVERIFY(outcome.has_value());
      QCOMPARE(bitsPerWeight(*outcome->quantized), bits);
    }
    // 640 groups: 8-bit codes for scale and zero, float16 parameters for 5 groups of scales and one of zeros.
    const auto nested = run(tensor, *Choice::parse("hqq:bits=4,group=64,nested=true"), {});
    QVERIFY(nested.has_value());
    QCOMPARE(bitsPerWeight(*nested->quantized), 4.0 + 8.0 * (2 * 640 + 4 * 6) / (640 * 64));
  }

  // What is stored decodes to what is shown: codes are chosen for the rounded parameters.
  void roundedParametersChooseTheCodes() {
    std::vector<float> weights(256 * 64);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i * i % 1000)) * 0.05f;
    const Tensor tensor = Tensor::fromFloats("w", {256, 64}, weights);
    for (const char* params : {"f16", "bf16"}) {
      const auto outcome = run(tensor, *Choice::parse(std::string("hqq:bits=8,params=") + params), {});
      QVERIFY(outcome.has_value());
      const QuantizedTensor& quantized = *outcome->quantized;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        const float scale = quantized.scale->values[i / 64], zero = quantized.zero->values[i / 64];
        QCOMPARE(scale, kernels::roundTo(std::string_view(params) == "f16" ? FloatType::F16 : FloatType::BF16, scale));
        const float code = static_cast<float>(quantized.codes.at(i));
        const float error = std::fabs(weights[i] - scale * (code - zero));
        if (code > 0) QVERIFY(error <= std::fabs(weights[i] - scale * (code - 1 - zero)) * 1.0001f);
        if (code < 255) QVERIFY(error <= std::fabs(weights[i] - scale * (code + 1 - zero)) * 1.0001f);
      }
    }
  }

  void refusals() {
    const auto refusal = [](const char* text, MatrixSize size) { return Choice::parse(text)->refusal(size).value_or(""); };
    QVERIFY(refusal("hqq:group=64", {3, 65}).find("does not divide") != std::string::npos);
    QVERIFY(refusal("hqq:group=64", {2, 96}).empty());
    QVERIFY(refusal("hqq:group=0", {3, 65}).empty());
    QVERIFY(refusal("hqq:group=64,nested=true", {2, 96}).find("multiple of 128 groups") != std::string::npos);
    QVERIFY(!Choice::parse("hqq:bits=7"));
    QVERIFY(!Choice::parse("hqq:axis=2"));
  }

  void parametersThatDoNotFitFloat16() {
    std::vector<float> weights(128, 0.0f);
    for (std::size_t i = 64; i < 128; ++i) weights[i] = 1e6f + static_cast<float>(i);
    const Tensor tensor = Tensor::fromFloats("w", {2, 64}, weights);
    const auto refused = run(tensor, *Choice::parse("hqq"), {});
    QVERIFY(!refused);
    QVERIFY2(refused.error().message.find("group 1: zero") != std::string::npos, refused.error().message.c_str());
    QVERIFY(run(tensor, *Choice::parse("hqq:params=bf16"), {}).has_value());
    std::fill(weights.begin(), weights.begin() + 32, 3e38f);
    std::fill(weights.begin() + 32, weights.begin() + 64, -3e38f);
    const auto huge = run(Tensor::fromFloats("w", {2, 64}, weights), *Choice::parse("hqq:params=f32"), {});
    QVERIFY(!huge);
    QVERIFY2(huge.error().message.find("group 0") != std::string::npos, huge.error().message.c_str());
  }

  // Early stop, threads and strips must not show: a tensor of many chunks, on both backends and several thread counts.
  void sameOnEveryBackendAndThreadCount() {
    std::vector<float> weights(640 * 512);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::sin(static_cast<float>(i * 7919 % 100003)) * 0.05f;
    const Tensor tensor = Tensor::fromFloats("w", {640, 512}, weights);
    for (const char* text : {"hqq:bits=3", "hqq:bits=2,axis=0", "hqq:bits=4,group=8", "hqq:bits=4,group=0"}) {
      Context context;
      context.backend = kernels::findBackend("host");
      const auto expected = run(tensor, *Choice::parse(text), context);
      for (const int threads : {1, 4}) {
        kernels::setThreadCount(threads);
        context.backend = kernels::findBackend("simd");
        const auto outcome = run(tensor, *Choice::parse(text), context);
        QVERIFY(outcome->quantized->codes == expected->quantized->codes);
        QVERIFY(outcome->quantized->zero->values == expected->quantized->zero->values);
        QVERIFY(outcome->quantized->notes == expected->quantized->notes);
      }
    }
    kernels::setThreadCount(0);
  }
};

QTEST_APPLESS_MAIN(TestHqqGolden)
#include "test_hqq_golden.moc"
