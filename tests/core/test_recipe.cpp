// SPDX-License-Identifier: GPL-3.0-or-later
// Recipes: what they say, what of it goes first, what is refused; and that per-layer settings reach the config files of the
// runtimes that have a place for them.
#include "core/export/export.h"
#include "core/io/atomic_file.h"
#include "core/run/recipe.h"
#include "tests/support/files.h"

#include <QtTest>

#include <cmath>

using namespace nibble;

namespace {

const std::string query = "model.layers.0.self_attn.q_proj.weight", value = "model.layers.0.self_attn.v_proj.weight",
                  down = "model.layers.0.mlp.down_proj.weight", head = "lm_head.weight";

// JSON with ' for ", so that it reads well here.
std::string quoted(std::string json) {
  std::replace(json.begin(), json.end(), '\'', '"');
  return json;
}

class Model {
 public:
  Model() {
    std::vector<Tensor> tensors;
    for (const std::string& name : {query, value, down, head}) {
      std::vector<float> values(64 * 256);
      for (std::size_t k = 0; k < values.size(); ++k) values[k] = std::sin(static_cast<float>(k * name.size()));
      tensors.push_back(Tensor::fromFloats(name, {64, 256}, std::move(values)));
    }
    tensors.push_back(Tensor::fromFloats("model.norm.weight", {64}, std::vector<float>(64, 1)));
    std::vector<RawTensor> arrays;
    for (const Tensor& tensor : tensors) arrays.push_back(rawTensor(tensor));
    auto out = AtomicFile::create(m_scratch.file("model.safetensors"));
    if (!out || !writeSafetensors(*out, arrays) || !out->commit()) qFatal("cannot write");
    test::writeWhole(m_scratch.file("config.json"), "{\"model_type\": \"llama\"}");
    m_weights.emplace(*Checkpoint::open(m_scratch.path()));
  }
  [[nodiscard]] const WeightList& weights() const { return *m_weights; }
  [[nodiscard]] std::filesystem::path out(const std::string& name) const { return m_scratch.file(name.c_str()); }

 private:
  test::ScratchFolder m_scratch;
  std::optional<WeightList> m_weights;
};

std::map<std::string, std::string> chosen(const Model& model, const std::string& json) {
  const auto recipe = Recipe::parse(json);
  if (!recipe) return {{"error", recipe.error().message}};
  const auto choices = recipe->choose(model.weights(), *model.weights().select({}, {}, true), false);
  if (!choices) return {{"error", choices.error().message}};
  std::map<std::string, std::string> texts;
  for (const auto& [name, choice] : *choices) texts[name] = choice.shortText();
  return texts;
}

std::string errorOf(const std::string& json) {
  static const Model model;
  const auto found = chosen(model, json);
  return found.count("error") != 0 ? found.at("error") : "accepted";
}

Result<ExportResult> exported(const Model& model, const std::string& json, const char* format, const std::string& name) {
  const auto choices = Recipe::parse(json)->choose(model.weights(), *model.weights().select({}, {}, true), false);
  if (!choices) return fail(choices.error());
  ExportJob job;
  job.checkpoint = model.weights().shared();
  job.tensors = *choices;
  job.format = findFormat(format);
  job.out = model.out(name);
  job.all = true;
  return exportTensors(job, {});
}

nlohmann::json configIn(const Model& model, const std::string& name) {
  return nlohmann::json::parse(test::readWhole(model.out(name) / "config.json"));
}

const std::string mixed4and8 = quoted(
    "{'rules': [{'match': 'v_proj', 'scheme': 'uniform:bits=8,granularity=group,group=32'}, {'match': '_proj', 'scheme': "
    "'uniform:bits=4,granularity=group,group=64'}]}");

}  // namespace

class TestRecipe : public QObject {
  Q_OBJECT
 private slots:
  void assignmentsThenSkipThenRulesThenMix() {
    const Model model;
    const auto found = chosen(
        model, quoted("{ 'assignments': [{'tensor': 'model.layers.0.self_attn.v_proj.weight', 'scheme': 'q8_0', 'sizeBytes': "
                      "7}, {'tensor': 'lm_head.weight', 'scheme': null}], 'skip': ['down'], 'rules': [{'match': 'q_proj', "
                      "'scheme': 'q5_0'}, {'match': 'proj', 'scheme': 'q4_0'}], 'budgetBits': 12}"));
    QCOMPARE(found.size(), std::size_t{2});
    QCOMPARE(found.at(value), std::string("q8_0"));
    QCOMPARE(found.at(query), std::string("q5_0"));
    const auto mixed =
        chosen(model, quoted("{'mix': 'Q4_K_M', 'assignments': [{'tensor': 'lm_head.weight', 'scheme': 'skip'}]}"));
    QVERIFY2(mixed.size() == 3, mixed.begin()->second.c_str());
    QCOMPARE(mixed.at(query), std::string("q4_k"));
    QCOMPARE(mixed.at(value), std::string("q6_k"));
    QCOMPARE(chosen(model, quoted("{'mix': 'Q4_K_M'}")).at(head), std::string("q6_k"));
  }

  void refused() {
    const auto says = [](const std::string& json, const char* what) {
      const std::string error = errorOf(json);
      QVERIFY2(error.find(what) != std::string::npos, error.c_str());
    };
    says("[]", "a recipe is a JSON object");
    says("{\"rules\": 3}", "rules: expected a list");
    says("{\"skip\": [\"a\"]}", "neither assignments nor rules nor a mix");
    says(quoted("{'assignments': [{'scheme': 'q4_0'}]}"), "assignments[0].tensor: expected a text");
    says(quoted("{'assignments': [{'tensor': 'a', 'scheme': 'q4_0'}, {'tensor': 'a', 'scheme': 'q8_0'}]}"), "assigned twice");
    says(quoted("{'assignments': [{'tensor': 'lm_head.weight', 'scheme': 'q9'}]}"), "assignments[0].scheme: ");
    says(quoted("{'assignments': [{'tensor': 'lm_hed.weight', 'scheme': 'q4_0'}]}"), "lm_hed.weight");
    says(quoted("{'rules': [{'match': '(', 'scheme': 'q4_0'}]}"), "rules[0].match: '(' is not a regular expression");
    says(quoted("{'rules': [{'match': 'x', 'scheme': 'nf4:block=7'}]}"), "rules[0].scheme: ");
    says(quoted("{'rules': [{'match': 'nothing like it', 'scheme': 'q4_0'}]}"), "chooses no tensor");
    says(quoted("{'mix': 'Q4_K_XXL'}"), "Q4_K_XXL");
  }

  void settingsOfLayersReachTheConfig() {
    const Model model;
    const auto ct = exported(model, mixed4and8, "compressed-tensors", "ct");
    QVERIFY2(ct.has_value(), ct ? "" : ct.error().message.c_str());
    const auto groups = configIn(model, "ct")["quantization_config"]["config_groups"];
    QCOMPARE(groups.size(), std::size_t{2});
    const auto gptq = exported(model, mixed4and8, "gptq", "gptq");
    QVERIFY2(gptq.has_value(), gptq ? "" : gptq.error().message.c_str());
    const auto dynamic = configIn(model, "gptq")["quantization_config"]["dynamic"];
    QVERIFY(dynamic.dump().find("v_proj") != std::string::npos && dynamic.dump().find("lm_head") != std::string::npos);
    const auto mlx = exported(model,
                              quoted("{'rules': [{'match': 'v_proj', 'scheme': 'minmax:bits=8,group=32'}, {'match': '_proj', "
                                     "'scheme': 'minmax:bits=4,group=64'}]}"),
                              "mlx", "mlx");
    QVERIFY2(mlx.has_value(), mlx ? "" : mlx.error().message.c_str());
    QCOMPARE(configIn(model, "mlx")["quantization"]["model.layers.0.self_attn.v_proj"]["bits"].get<int>(), 8);
    const auto hqq =
        exported(model, quoted("{'rules': [{'match': 'v_proj', 'scheme': 'hqq:bits=8'}, {'match': '_proj', 'scheme': 'hqq'}]}"),
                 "hqq", "hqq");
    QVERIFY2(hqq.has_value(), hqq ? "" : hqq.error().message.c_str());
    QCOMPARE(configIn(model, "hqq")["quantization_config"]["quant_config"]["self_attn.v_proj"]["weight_quant_params"]["nbits"]
                 .get<int>(),
             8);
    // And what was written is read back so, layer by layer.
    for (const char* name : {"ct", "gptq", "mlx", "hqq"}) {
      const WeightList weights(*Checkpoint::open(model.out(name)));
      QCOMPARE(weights.packedLayers().size(), std::size_t{3});
      QCOMPARE(int{weights.readPacked(*weights.find(value))->width.uniform}, 8);
      QCOMPARE(int{weights.readPacked(*weights.find(query))->width.uniform}, 4);
    }
  }

  // Where a config has one place for all layers, several kinds are refused.
  void refusedWhereTheConfigHasNoPlace() {
    const Model model;
    const std::pair<const char*, std::string> rows[] = {
        {"awq", quoted("{'rules': [{'match': 'v_proj', 'scheme': 'uniform:bits=4,granularity=group,group=32,symmetric=false'}, "
                       "{'match': '_proj', 'scheme': 'uniform:bits=4,granularity=group,group=64,symmetric=false'}]}")},
        {"bnb", quoted("{'rules': [{'match': 'v_proj', 'scheme': 'fp4'}, {'match': '_proj', 'scheme': 'nf4'}]}")},
        {"fp8",
         quoted("{'rules': [{'match': 'v_proj', 'scheme': 'fp8:granularity=tensor'}, {'match': '_proj', 'scheme': 'fp8'}]}")},
    };
    for (const auto& [format, json] : rows) {
      const auto result = exported(model, json, format, format);
      QVERIFY2(!result, format);
      QVERIFY2(result.error().message.find("config") != std::string::npos, result.error().message.c_str());
      QVERIFY(!std::filesystem::exists(model.out(format)));
    }
  }
};

QTEST_APPLESS_MAIN(TestRecipe)
#include "test_recipe.moc"
