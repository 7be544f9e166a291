// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/norm_fold.h"

#include "core/base/text.h"
#include "core/quant/smooth_scales.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <regex>

namespace nibble {
namespace {

enum class Kind { Sound, PostNorm, AsksConfig };

// Names inside a block ("model.layers.3."), as regular expressions.
struct Family {
  const char* consumer;   // what is asked about
  const char* norm;       // the norm before it
  const char* consumers;  // everything the norm feeds
  Kind kind;
};

constexpr const char* attention = R"(self_attn\.[qkv]_proj)";
constexpr const char* mlp =
    R"(mlp\.(gate_proj|up_proj|gate|shared_expert_gate|(experts\.\d+|shared_expert)\.(gate_proj|up_proj))|block_sparse_moe\.(gate|experts\.\d+\.w[13]))";

constexpr Family families[] = {
    {attention, "input_layernorm", attention, Kind::Sound},
    {mlp, "pre_feedforward_layernorm", mlp, Kind::Sound},
    {mlp, "post_attention_layernorm", mlp, Kind::Sound},
    {attention, "self_attn_layer_norm", attention, Kind::AsksConfig},
    {"fc1", "final_layer_norm", "fc1", Kind::AsksConfig},
    {R"(self_attention\.query_key_value)", "ln_attn", R"(self_attention\.query_key_value)", Kind::Sound},
    {R"(mlp\.dense_h_to_4h)", "ln_mlp", R"(mlp\.dense_h_to_4h)", Kind::Sound},
    {R"(mlp\.dense_h_to_4h)", "post_attention_layernorm", R"(mlp\.dense_h_to_4h)", Kind::Sound},
    {R"(self_attention\.query_key_value|mlp\.dense_h_to_4h)", "input_layernorm",
     R"(self_attention\.query_key_value|mlp\.dense_h_to_4h)", Kind::Sound},
    {R"(intermediate\.dense)", R"(attention\.output\.LayerNorm)", R"(intermediate\.dense)", Kind::PostNorm},
    {R"(attention\.self\.(query|key|value))", R"(output\.LayerNorm)", R"(attention\.self\.(query|key|value))", Kind::PostNorm},
};

bool matches(const std::string& name, const std::string& pattern) {
  return std::regex_match(name, std::regex("(?:" + pattern + R"()\.weight)"));
}

// "model.layers.3." of "model.layers.3.mlp.up_proj.weight".
std::string blockOf(const std::string& weight) {
  std::smatch match;
  return std::regex_search(weight, match, std::regex(R"(^(.*\b(layers?|h|blocks)\.\d+\.))")) ? match[1].str() : std::string();
}

std::optional<std::string> inBlock(const Checkpoint& checkpoint, const std::string& block, const std::string& pattern) {
  for (const TensorEntry& entry : checkpoint.entries())
    if (entry.name.starts_with(block) && matches(entry.name.substr(block.size()), pattern)) return entry.name;
  return std::nullopt;
}

nlohmann::json configOf(const Checkpoint& checkpoint) {
  auto config = nlohmann::json::parse(checkpoint.configText(), nullptr, false);
  return config.is_object() ? config : nlohmann::json::object();
}

// What only the configuration tells.
std::string refusalOf(const Checkpoint& checkpoint, const std::string& block, const Family& family) {
  const std::string residual = "the norm's output is also the residual of the next block (post-norm)";
  const nlohmann::json config = configOf(checkpoint);
  const std::string type = config.contains("model_type") && config["model_type"].is_string() ? config["model_type"] : "";
  const auto flag = [&](const char* key, bool fallback) {
    return config.contains(key) && config[key].is_boolean() ? config[key].get<bool>() : fallback;
  };
  if (family.kind == Kind::PostNorm) return residual;
  if (family.kind == Kind::AsksConfig) {
    if (type != "opt") return "nothing says that blocks with this norm are pre-norm (config.json with model_type opt does)";
    return flag("do_layer_norm_before", true) ? "" : residual;
  }
  if (flag("apply_residual_connection_post_layernorm", false)) return residual;
  if (type.find("gemma") != std::string::npos || inBlock(checkpoint, block, "pre_feedforward_layernorm"))
    return "its norm multiplies by 1 + weight, which is not divided by dividing the weight";
  if (std::string_view(family.norm) == "post_attention_layernorm" && inBlock(checkpoint, block, "post_feedforward_layernorm"))
    return "post_attention_layernorm stands after the attention here, not before the layer";
  return "";
}

RawTensor floatTensor(const std::string& name, const Shape& shape, const std::vector<float>& values) {
  RawTensor tensor{name, DType::F32, shape, {}, {}};
  tensor.owned.resize(values.size() * sizeof(float));
  if (!values.empty()) std::memcpy(tensor.owned.data(), values.data(), tensor.owned.size());
  return tensor;
}

struct Read {
  Shape shape;
  std::vector<float> values;
};

Result<Read> readColumns(const Checkpoint& checkpoint, const std::string& name, std::uint64_t columns) {
  const auto tensor = checkpoint.read(name);
  if (!tensor) return fail(tensor.error());
  if (tensor->columns() != columns)
    return fail(name + ": " + toText(tensor->shape()) + " has not the " + text::number(columns) + " channels of the inputs");
  if (!info(tensor->type()).floating) return fail(name + ": " + std::string(info(tensor->type()).name) + " is no floating type");
  auto values = tensor->readAll();
  if (!values) return fail(values.error());
  return Read{tensor->shape(), *std::move(values)};
}

}  // namespace

NormFold normFold(const Checkpoint& checkpoint, const std::string& weight) {
  NormFold fold;
  const std::string block = blockOf(weight), rest = weight.substr(block.size());
  if (block.empty()) return fold;
  for (const Family& family : families) {
    if (!matches(rest, family.consumer)) continue;
    // The norm before BERT's attention stands in the block before, or with the embeddings: the refusal is the same.
    const auto norm = inBlock(checkpoint, block, family.norm);
    if (!norm && family.kind != Kind::PostNorm) continue;
    if (norm && family.kind != Kind::PostNorm) fold.norm = norm->substr(0, norm->size() - std::string_view(".weight").size());
    for (const TensorEntry& entry : checkpoint.entries())
      if (entry.name.starts_with(block) && matches(entry.name.substr(block.size()), family.consumers))
        fold.consumers.push_back(entry.name);
    fold.refusal = refusalOf(checkpoint, block, family);
    return fold;
  }
  return fold;
}

Result<std::vector<RawTensor>> foldSmoothing(const Checkpoint& checkpoint, const NormFold& fold, std::span<const float> samples,
                                             std::uint64_t channels, double alpha) {
  if (!fold.refusal.empty()) return fail("the scales cannot be folded: " + fold.refusal);
  if (fold.norm.empty()) return fail("the scales cannot be folded: no norm is known before this layer");
  std::vector<float> inputMax(channels), weightMax(channels);
  raiseToColumnMaxima(samples, inputMax);
  std::vector<Read> consumers;
  for (const std::string& name : fold.consumers) {
    auto read = readColumns(checkpoint, name, channels);
    if (!read) return fail(read.error());
    raiseToColumnMaxima(read->values, weightMax);
    consumers.push_back(*std::move(read));
  }
  const std::vector<float> scales = smoothScales(inputMax, weightMax, alpha);
  std::vector<RawTensor> folded;
  for (const char* part : {".weight", ".bias"}) {
    if (!checkpoint.find(fold.norm + part)) continue;
    auto norm = readColumns(checkpoint, fold.norm + part, channels);
    if (!norm) return fail(norm.error());
    for (std::size_t j = 0; j < channels; ++j) norm->values[j] /= scales[j];
    folded.push_back(floatTensor(fold.norm + part, norm->shape, norm->values));
  }
  for (std::size_t i = 0; i < consumers.size(); ++i) {
    for (std::size_t k = 0; k < consumers[i].values.size(); ++k) consumers[i].values[k] *= scales[k % channels];
    folded.push_back(floatTensor(fold.consumers[i], consumers[i].shape, consumers[i].values));
  }
  return folded;
}

}  // namespace nibble
