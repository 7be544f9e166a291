// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/gguf_mixes.h"

#include "core/base/text.h"
#include "core/quant/blocks.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

namespace nibble {
namespace {

enum class Mix { Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q2_K_S, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K,
                 IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, Q1_0, Q2_0 };
struct MixInfo {
  std::string_view name;
  Mix mix;
  BlockType type;  // of what no rule raises
};
constexpr MixInfo mixes[] = {
    {"Q4_0", Mix::Q4_0, BlockType::Q4_0},       {"Q4_1", Mix::Q4_1, BlockType::Q4_1},       {"Q5_0", Mix::Q5_0, BlockType::Q5_0},
    {"Q5_1", Mix::Q5_1, BlockType::Q5_1},       {"Q8_0", Mix::Q8_0, BlockType::Q8_0},       {"Q2_K", Mix::Q2_K, BlockType::Q2_K},
    {"Q2_K_S", Mix::Q2_K_S, BlockType::Q2_K},   {"Q3_K_S", Mix::Q3_K_S, BlockType::Q3_K},   {"Q3_K_M", Mix::Q3_K_M, BlockType::Q3_K},
    {"Q3_K_L", Mix::Q3_K_L, BlockType::Q3_K},   {"Q4_K_S", Mix::Q4_K_S, BlockType::Q4_K},   {"Q4_K_M", Mix::Q4_K_M, BlockType::Q4_K},
    {"Q5_K_S", Mix::Q5_K_S, BlockType::Q5_K},   {"Q5_K_M", Mix::Q5_K_M, BlockType::Q5_K},   {"Q6_K", Mix::Q6_K, BlockType::Q6_K},
    {"IQ4_NL", Mix::IQ4_NL, BlockType::IQ4_NL}, {"IQ4_XS", Mix::IQ4_XS, BlockType::IQ4_XS}, {"TQ1_0", Mix::TQ1_0, BlockType::TQ1_0},
    {"TQ2_0", Mix::TQ2_0, BlockType::TQ2_0},    {"Q1_0", Mix::Q1_0, BlockType::Q1_0},       {"Q2_0", Mix::Q2_0, BlockType::Q2_0},
};

enum class Role { Embedding, Output, Query, Key, Value, AttentionOutput, Up, Gate, Down, Kept, Other };

// Ends of names without their layer, GGUF's first. Ends that contain others come before them.
struct Ending {
  std::string_view end;
  Role role;
};
constexpr Ending endings[] = {
    {"attn_qkv.weight", Role::Value},           {"attn_kv_b.weight", Role::Value},
    {"attn_v.weight", Role::Value},             {"attn_k.weight", Role::Key},
    {"attn_q.weight", Role::Query},             {"attn_output.weight", Role::AttentionOutput},
    {"ffn_up.weight", Role::Up},                {"ffn_gate.weight", Role::Gate},
    {"ffn_down.weight", Role::Down},            {"token_embd.weight", Role::Embedding},
    {"self_attn.qkv_proj.weight", Role::Value}, {"self_attn.v_proj.weight", Role::Value},
    {"self_attn.k_proj.weight", Role::Key},     {"self_attn.q_proj.weight", Role::Query},
    {"self_attn.o_proj.weight", Role::AttentionOutput}, {"mlp.gate_up_proj.weight", Role::Up},
    {"mlp.up_proj.weight", Role::Up},           {"mlp.gate_proj.weight", Role::Gate},
    {"mlp.down_proj.weight", Role::Down},       {"embed_tokens.weight", Role::Embedding},
    {"lm_head.weight", Role::Output},           {"attention.self.value.weight", Role::Value},
    {"attention.self.key.weight", Role::Key},   {"attention.self.query.weight", Role::Query},
    {"attention.output.dense.weight", Role::AttentionOutput}, {"intermediate.dense.weight", Role::Up},
    {"output.dense.weight", Role::Down},        {"word_embeddings.weight", Role::Embedding},
};
// Parts of names of what llama.cpp never quantizes, or its converter leaves out.
constexpr std::string_view keptParts[] = {"_norm.weight", "LayerNorm", "layernorm", "position_embd", "position_embeddings",
                                          "token_types", "token_type_embeddings", "ffn_gate_inp", "pooler."};

Role roleOf(const MixTensor& tensor) {
  if (tensor.dimensions < 2 || !tensor.name.ends_with("weight")) return Role::Kept;
  for (const std::string_view part : keptParts)
    if (tensor.name.find(part) != std::string::npos) return Role::Kept;
  if (tensor.name == "output.weight") return Role::Output;
  for (const Ending& ending : endings)
    if (tensor.name.ends_with(ending.end)) return ending.role;
  return Role::Other;
}

// The number in "blk.N.", "layers.N." or "layer.N.".
std::optional<int> layerOf(const std::string& name) {
  for (const std::string_view head : {"blk.", "layers.", "layer."}) {
    const std::size_t at = name.find(head);
    if (at == std::string::npos) continue;
    std::size_t end = at + head.size();
    int layer = 0;
    for (; end < name.size() && std::isdigit(static_cast<unsigned char>(name[end])) != 0 && layer < 100000; ++end)
      layer = 10 * layer + (name[end] - '0');
    if (end > at + head.size() && end < name.size() && name[end] == '.') return layer;
  }
  return std::nullopt;
}

// The first and last eighth of the layers and every third between get more bits.
bool moreBits(int layer, int layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

struct Model {
  MixInfo mix;
  bool importance = false, tied = true, knownFamily = false;
  int layers = 0;
  std::uint64_t queryRows = 0, keyRows = 0;
  std::vector<int> valueLayers;  // ascending: a value tensor's rank counts, not its layer's number
  [[nodiscard]] bool sharedKeys() const { return keyRows != 0 && queryRows / keyRows >= 4; }
};

Model modelOf(const MixInfo& mix, std::span<const MixTensor> tensors, bool importance) {
  Model model{mix, importance};
  for (const MixTensor& tensor : tensors) {
    const Role role = roleOf(tensor);
    const std::optional<int> layer = layerOf(tensor.name);
    if (role == Role::Output) model.tied = false;
    if (role != Role::Kept && role != Role::Other) model.knownFamily = true;
    if (role == Role::Query) model.queryRows = tensor.rows;
    if (role == Role::Key) model.keyRows = tensor.rows;
    if (role == Role::Value && layer) model.valueLayers.push_back(*layer);
    if (layer) model.layers = std::max(model.layers, *layer + 1);
  }
  std::sort(model.valueLayers.begin(), model.valueLayers.end());
  return model;
}

BlockType valueType(const Model& model, int layer) {
  const auto at = std::lower_bound(model.valueLayers.begin(), model.valueLayers.end(), layer);
  const auto rank = static_cast<int>(at - model.valueLayers.begin()), count = static_cast<int>(model.valueLayers.size());
  BlockType type = model.mix.type;
  switch (model.mix.mix) {
    case Mix::Q2_K: type = model.sharedKeys() ? BlockType::Q4_K : BlockType::Q3_K; break;
    case Mix::Q2_K_S: if (model.sharedKeys()) type = BlockType::Q4_K; break;
    case Mix::Q3_K_M: type = rank < 2 ? BlockType::Q5_K : BlockType::Q4_K; break;
    case Mix::Q3_K_L: type = BlockType::Q5_K; break;
    case Mix::IQ4_NL:
    case Mix::IQ4_XS: if (model.sharedKeys()) type = BlockType::Q5_K; break;
    case Mix::Q4_K_M:
    case Mix::Q5_K_M: if (moreBits(rank, count)) type = BlockType::Q6_K; break;
    case Mix::Q4_K_S: if (rank < 4) type = BlockType::Q5_K; break;
    default: break;
  }
  // Eighty layers are the 70B model, whose value matrices are small for what hangs on them.
  const bool small = model.layers == 80 && (type == BlockType::Q3_K || type == BlockType::Q4_K);
  return small ? BlockType::Q5_K : type;
}

BlockType downType(const Model& model, int layer) {
  const int layers = model.layers;
  const bool early = layer < layers / 8;
  switch (model.mix.mix) {
    case Mix::Q2_K: return BlockType::Q3_K;
    case Mix::Q2_K_S: return early ? BlockType::Q4_K : model.mix.type;
    case Mix::Q3_K_M: return layer < layers / 16 ? BlockType::Q5_K : BlockType::Q4_K;
    case Mix::Q3_K_L: return BlockType::Q5_K;
    case Mix::Q4_K_M:
    case Mix::Q5_K_M: return moreBits(layer, layers) ? BlockType::Q6_K : model.mix.type;
    case Mix::IQ4_NL:
    case Mix::IQ4_XS: return early && !model.importance ? BlockType::Q5_K : model.mix.type;
    case Mix::Q4_K_S: return early ? BlockType::Q5_K : model.mix.type;
    case Mix::Q4_0: return early && model.importance ? BlockType::Q4_1 : model.mix.type;
    case Mix::Q5_0: return early && model.importance ? BlockType::Q5_1 : model.mix.type;
    default: return model.mix.type;
  }
}

BlockType wantedType(const Model& model, const MixTensor& tensor, Role role) {
  const int layer = layerOf(tensor.name).value_or(0);
  const Mix mix = model.mix.mix;
  if (role == Role::Output || (role == Role::Embedding && model.tied)) {
    if (tensor.columns % kernels::blockShape(model.mix.type).weights != 0 || mix == Mix::Q8_0) return BlockType::Q8_0;
    return BlockType::Q6_K;
  }
  if (role == Role::Embedding && (mix == Mix::TQ1_0 || mix == Mix::TQ2_0 || mix == Mix::Q2_0)) return BlockType::Q4_K;
  if (role == Role::Value) return valueType(model, layer);
  if (role == Role::Down) return downType(model, layer);
  if (role == Role::AttentionOutput) {
    if (mix == Mix::Q2_K) return BlockType::Q3_K;
    if (mix == Mix::Q3_K_M) return BlockType::Q4_K;
    if (mix == Mix::Q3_K_L) return BlockType::Q5_K;
  }
  return model.mix.type;
}

// The type of 32 weights a block that stands in where 256 do not divide.
std::optional<BlockType> fallbackOf(BlockType type) {
  switch (type) {
    case BlockType::IQ4_XS: return BlockType::IQ4_NL;
    case BlockType::Q2_0:
    case BlockType::Q2_K:
    case BlockType::Q3_K:
    case BlockType::TQ1_0:
    case BlockType::TQ2_0: return BlockType::Q4_0;
    case BlockType::Q4_K: return BlockType::Q5_0;
    case BlockType::Q5_K: return BlockType::Q5_1;
    case BlockType::Q6_K: return BlockType::Q8_0;
    default: return std::nullopt;
  }
}

bool divides(BlockType type, std::uint64_t columns) { return columns % kernels::blockShape(type).weights == 0; }

std::string textOf(BlockType type) {
  std::string text(blockTypeName(type));
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

MixAssignment assign(const Model& model, const MixTensor& tensor) {
  const Role role = roleOf(tensor);
  if (role == Role::Kept) return {tensor.name, "", "stays: llama.cpp does not quantize it"};
  const BlockType wanted = wantedType(model, tensor, role);
  if (divides(wanted, tensor.columns)) return {tensor.name, textOf(wanted), ""};
  const std::string why = textOf(wanted) + " needs columns in multiples of " +
                          text::number(std::uint64_t{kernels::blockShape(wanted).weights}) + "; this matrix has " +
                          text::number(tensor.columns);
  const std::optional<BlockType> other = fallbackOf(wanted);
  if (other && divides(*other, tensor.columns)) return {tensor.name, textOf(*other), why};
  return {tensor.name, "float:type=f16", why};
}

}  // namespace

std::vector<std::string_view> mixNames() {
  std::vector<std::string_view> names;
  for (const MixInfo& mix : mixes) names.push_back(mix.name);
  return names;
}

Result<std::vector<MixAssignment>> mixAssignments(std::string_view name, std::span<const MixTensor> tensors, bool importance) {
  const auto mix = std::find_if(std::begin(mixes), std::end(mixes), [&](const MixInfo& one) { return one.name == name; });
  if (mix == std::end(mixes)) {
    std::vector<std::string> names;
    for (const std::string_view known : mixNames()) names.emplace_back(known);
    return fail("there is no mix '" + std::string(name) + "'; there are: " + text::join(names, ", "));
  }
  const Model model = modelOf(*mix, tensors, importance);
  if (!model.knownFamily)
    return fail(std::string(name) + ": no tensor has a name of a family whose mixes are known (GGUF's names, Llama-like, BERT)");
  std::vector<MixAssignment> assignments;
  for (const MixTensor& tensor : tensors) assignments.push_back(assign(model, tensor));
  return assignments;
}

}  // namespace nibble
