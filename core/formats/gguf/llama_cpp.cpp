// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/llama_cpp.h"

#include "core/base/text.h"
#include "core/formats/gguf/family.h"
#include "core/formats/gguf/model.h"
#include "core/formats/gguf/plan.h"
#include "core/formats/gguf/tokenizer.h"
#include "core/formats/parts.h"
#include "core/formats/tools.h"
#include "core/io/tensor_names.h"
#include "core/quant/blocks.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <set>

namespace nibble::formats::gguf {
namespace {

namespace fs = std::filesystem;

std::string listed(const std::vector<std::string>& names) {
  std::vector<std::string> some(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(names.size(), 3)));
  return text::join(some, ", ") + (names.size() > some.size() ? " and " + text::number(std::uint64_t{names.size() - some.size()}) + " more" : "");
}

template <class T>
void moveRows(std::vector<T>& values, std::uint64_t rows, std::uint64_t heads) {
  const std::uint64_t width = values.size() / rows;
  std::vector<T> moved(values.size());
  for (std::uint64_t row = 0; row < rows; ++row)
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(sourceRow(row, rows, heads) * width), width,
                moved.begin() + static_cast<std::ptrdiff_t>(row * width));
  values = std::move(moved);
}

// The same weights, rows in llama.cpp's order: rows of blocks move as a whole, plain floats as their codes.
Result<std::shared_ptr<const QuantizedTensor>> withMovedRows(const std::string& name, const QuantizedTensor& tensor, std::uint64_t heads) {
  const auto plan = planFor(tensor);
  if (!plan) return fail(plan.error().within(name));
  if (!plan->block) {
    QuantizedTensor moved = tensor;
    moved.codes = tensor.codes.visit([&](auto codes) {
      moveRows(codes, tensor.rows, heads);
      return Codes(std::move(codes));
    });
    return std::make_shared<const QuantizedTensor>(std::move(moved));
  }
  auto raw = stored(name, tensor, *plan);
  if (!raw) return fail(raw.error());
  moveRows(raw->owned, tensor.rows, heads);
  auto moved = fromBlocks(*plan->block, tensor.rows, tensor.columns, raw->owned);
  if (!moved) return fail(moved.error().within(name));
  moved->scheme = tensor.scheme;
  moved->shape = tensor.shape;
  moved->notes = tensor.notes;
  return std::make_shared<const QuantizedTensor>(*std::move(moved));
}

class LlamaCppFile final : public ModelFile {
 public:
  explicit LlamaCppFile(const ModelSource& source)
      : m_source(source), m_folder(source.checkpoint.files().front().parent_path()), m_config(configOf(source.checkpoint)), m_family(familyOf(m_config)) {
    if (!m_family) return;
    m_tokenizer = tokenizerOf(m_folder, m_config, m_family->vocabulary);
    const TensorNames names = tensorNames(*m_family);
    m_known.insert(names.required.begin(), names.required.end());
    m_known.insert(names.optional.begin(), names.optional.end());
    m_required = names.required;
  }

  [[nodiscard]] std::vector<RuleResult> preflight(const std::vector<ExportLayer>&) const override {
    std::vector<RuleResult> rules;
    const auto rule = [&](const char* what, const char* source, bool ok, std::string detail) {
      rules.push_back({what, true, ok, std::move(detail), source});
    };
    rule("The model's family is known", "llama.cpp conversion/{llama,qwen,bert}.py", m_family.has_value(),
         m_family ? m_family->architecture + ", " + text::number(m_family->layers) + " layers" : m_family.error().message);
    if (!m_family) return rules;
    const auto strange = strangeTensors(), missing = missingTensors();
    rule("Every tensor has a name there", "gguf-py/gguf/tensor_mapping.py", strange.empty(),
         strange.empty() ? "blk.N and kin" : "not known: " + listed(strange));
    rule("Every tensor that is asked for is there", "llama.cpp src/models, create_tensor", missing.empty(),
         missing.empty() ? text::number(std::uint64_t{m_required.size()}) + " tensors" : "missing: " + listed(missing));
    rule("What is not quantized comes along", "llama.cpp src/llama-model-loader.cpp", m_source.whole,
         m_source.whole ? "copied" : "--all copies it");
    rule("The tokenizer is known", "llama.cpp conversion/base.py, src/llama-vocab.cpp", m_tokenizer.has_value(),
         m_tokenizer ? m_tokenizer->summary : m_tokenizer.error().message);
    return rules;
  }

  [[nodiscard]] Result<Placed> place(const ExportLayer& layer) const override {
    if (isLeftOut(*m_family, layer.name)) return Placed{{layer.name, nullptr, std::nullopt}, nullptr};
    const auto name = nameOf(layer.name);
    if (!name) return fail(layer.name + ": llama.cpp has no name for it");
    Placed placed{layer, nullptr};
    placed.layer.name = *name;
    const auto heads = movedHeads(*m_family, *name);
    if (!heads) return placed;
    if (layer.tensor->rows % (2 * *heads) != 0) return fail(layer.name + ": its rows are no pairs in " + text::number(*heads) + " heads");
    auto moved = withMovedRows(layer.name, *layer.tensor, *heads);
    if (!moved) return fail(moved.error());
    placed.tensor = *std::move(moved);
    placed.layer.tensor = placed.tensor.get();
    if (!layer.bias) return placed;
    auto values = layer.bias->readAll();
    if (!values) return fail(values.error().within(layer.name));
    moveRows(*values, values->size(), *heads);
    placed.layer.bias = Tensor::fromFloats(layer.bias->name(), layer.bias->shape(), *std::move(values));
    return placed;
  }

  [[nodiscard]] Result<std::optional<RawTensor>> copy(const TensorEntry& entry, const Tensor& tensor) const override {
    const auto name = nameOf(entry.name);
    if (!name || isLeftOut(*m_family, entry.name)) return std::optional<RawTensor>();
    const auto heads = movedHeads(*m_family, *name);
    const bool asStored = entry.type == DType::F32 || entry.type == DType::F16 || entry.type == DType::BF16;
    if (entry.type != DType::F32 && (staysFloat32(*name, entry.shape.size()) || !asStored)) return inFloat32(*name, tensor, heads);
    RawTensor raw;
    raw.name = *name;
    raw.type = entry.type;
    raw.shape = entry.shape;
    if (!heads) {
      if (!tensor.bytes().empty()) raw.borrowed = tensor.bytes();
      return std::optional(std::move(raw));
    }
    raw.owned.assign(tensor.bytes().begin(), tensor.bytes().end());
    moveRows(raw.owned, entry.shape.front(), *heads);
    return std::optional(std::move(raw));
  }

  [[nodiscard]] std::vector<RawTensor> further() const override {
    if (m_family->ropeFactors.empty()) return {};
    std::vector<RawTensor> tensors;
    tensors.push_back(rawFloats("rope_freqs.weight", FloatType::F32, {m_family->ropeFactors.size()}, m_family->ropeFactors));
    return tensors;
  }

  [[nodiscard]] Status write(const fs::path& path, const std::vector<RawTensor>& arrays) const override {
    std::vector<GgufValue> values{GgufValue::text("general.architecture", m_family->architecture), GgufValue::text("general.type", "model"),
                                  GgufValue::text("general.name", modelName())};
    values.insert(values.end(), m_family->values.begin(), m_family->values.end());
    if (m_family->isBert())
      if (const auto pooling = poolingType()) values.push_back(GgufValue::number("bert.pooling_type", *pooling));
    values.insert(values.end(), m_tokenizer->values.begin(), m_tokenizer->values.end());
    return writeModel(path, arrays, std::move(values), m_source.mix);
  }

 private:
  // Of a tensor that the family has; none: it has no such tensor.
  [[nodiscard]] std::optional<std::string> nameOf(const std::string& huggingFaceName) const {
    const auto found = llamaCppName(huggingFaceName);
    if (!found || found->expert || m_known.count(found->name) == 0) return std::nullopt;
    return found->name;
  }

  [[nodiscard]] std::vector<std::string> strangeTensors() const {
    std::vector<std::string> strange;
    for (const TensorEntry& entry : m_source.checkpoint.entries())
      if (!isLeftOut(*m_family, entry.name) && !nameOf(entry.name)) strange.push_back(entry.name);
    return strange;
  }

  [[nodiscard]] std::vector<std::string> missingTensors() const {
    std::set<std::string> there;
    for (const TensorEntry& entry : m_source.checkpoint.entries())
      if (const auto name = nameOf(entry.name)) there.insert(*name);
    std::vector<std::string> missing;
    std::copy_if(m_required.begin(), m_required.end(), std::back_inserter(missing), [&](const auto& name) { return there.count(name) == 0; });
    return missing;
  }

  static Result<std::optional<RawTensor>> inFloat32(const std::string& name, const Tensor& tensor, std::optional<std::uint64_t> heads) {
    if (!info(tensor.type()).floating) return fail(tensor.name() + ": " + std::string(info(tensor.type()).name) + " is no type of weights");
    auto values = tensor.readAll();
    if (!values) return fail(values.error());
    if (heads) moveRows(*values, tensor.shape().front(), *heads);
    return std::optional(rawFloats(name, FloatType::F32, tensor.shape(), *values));
  }

  [[nodiscard]] std::string modelName() const {
    const std::string said = textAt(m_config, "_name_or_path");
    const std::string last = fs::path(said).filename().string();
    return last.empty() ? fs::absolute(m_folder).filename().string() : last;
  }

  // How sentence embeddings are made, where the model says it: llama.h, enum llama_pooling_type.
  [[nodiscard]] std::optional<std::uint32_t> poolingType() const {
    std::ifstream stream(m_folder / "1_Pooling" / "config.json");
    const auto pooling = nlohmann::json::parse(stream, nullptr, false);
    if (!pooling.is_object()) return std::nullopt;
    static const std::map<std::string, std::uint32_t> modes = {{"pooling_mode_mean_tokens", 1}, {"pooling_mode_cls_token", 2}, {"pooling_mode_lasttoken", 3}};
    for (const auto& [key, number] : modes)
      if (pooling.contains(key) && pooling[key] == true) return number;
    return std::nullopt;
  }

  ModelSource m_source;
  fs::path m_folder;
  nlohmann::json m_config;
  Result<Family> m_family;
  Result<Tokenizer> m_tokenizer = Tokenizer{};
  std::set<std::string> m_known;
  std::vector<std::string> m_required;
};

}  // namespace

std::unique_ptr<ModelFile> llamaCppFile(const ModelSource& source) {
  return std::make_unique<LlamaCppFile>(source);
}

}  // namespace nibble::formats::gguf
