// SPDX-License-Identifier: GPL-3.0-or-later
// What a model directory becomes in a GGUF file for llama.cpp: the architecture's values, which tensors are asked for, the order
// of rows, tokenizers of each kind.
#include "core/formats/gguf/family.h"
#include "core/formats/gguf/model.h"
#include "core/formats/gguf/tokenizer.h"
#include "core/io/safetensors_writer.h"
#include "tests/support/files.h"

#include <QtTest>

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace nibble;
using namespace nibble::formats::gguf;
using nlohmann::json;

namespace {

json llamaConfig() {
  return {{"model_type", "llama"},         {"hidden_size", 64},   {"num_hidden_layers", 2}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2},      {"head_dim", 16},      {"intermediate_size", 160}, {"vocab_size", 50},
          {"max_position_embeddings", 512}, {"rms_norm_eps", 1e-5}, {"rope_theta", 10000.0}, {"hidden_act", "silu"}};
}

json bertConfig() {
  return {{"model_type", "bert"},       {"hidden_size", 64},       {"num_hidden_layers", 1}, {"num_attention_heads", 4},
          {"intermediate_size", 160},   {"vocab_size", 8},         {"max_position_embeddings", 32}, {"layer_norm_eps", 1e-12},
          {"type_vocab_size", 2},       {"hidden_act", "gelu"}};
}

std::string textOf(const std::vector<GgufValue>& values, const std::string& key) {
  for (const GgufValue& value : values)
    if (value.key == key) return displayText(value);
  return "absent";
}

Result<Tokenizer> tokenizerFrom(const json& description, const json& settings, std::uint64_t vocabulary) {
  const test::ScratchFolder folder;
  if (!description.is_null()) test::writeWhole(folder.file("tokenizer.json"), description.dump());
  if (!settings.is_null()) test::writeWhole(folder.file("tokenizer_config.json"), settings.dump());
  return tokenizerOf(folder.path(), json::object(), vocabulary);
}

// A message of protocol buffers.
std::string field(int number, const std::string& bytes) {
  return std::string(1, static_cast<char>(number << 3 | 2)) + std::string(1, static_cast<char>(bytes.size())) + bytes;
}
std::string varint(int number, int value) { return {static_cast<char>(number << 3), static_cast<char>(value)}; }
std::string piece(const std::string& text, float score, int type) {
  std::string bytes(5, '\x15');  // field 2 of four bytes
  std::memcpy(bytes.data() + 1, &score, 4);
  return field(1, field(1, text) + bytes + varint(3, type));
}

}  // namespace

class TestGgufModel : public QObject {
  Q_OBJECT
 private slots:
  void valuesOfLlama() {
    const auto family = familyOf(llamaConfig());
    QVERIFY2(family.has_value(), family ? "" : family.error().message.c_str());
    QCOMPARE(textOf(family->values, "llama.block_count"), std::string("2"));
    QCOMPARE(textOf(family->values, "llama.attention.head_count"), std::string("4"));
    QCOMPARE(textOf(family->values, "llama.attention.head_count_kv"), std::string("2"));
    QCOMPARE(textOf(family->values, "llama.attention.key_length"), std::string("16"));
    QCOMPARE(textOf(family->values, "llama.rope.freq_base"), std::string("10000"));
    QCOMPARE(textOf(family->values, "llama.attention.layer_norm_rms_epsilon"), std::string("1e-05"));
    QVERIFY(family->ropeFactors.empty());
    const TensorNames names = tensorNames(*family);
    QCOMPARE(names.required.size(), std::size_t{3 + 2 * 9});
    json tied = llamaConfig();
    tied["tie_word_embeddings"] = true;
    QCOMPARE(tensorNames(*familyOf(tied)).required.size(), std::size_t{2 + 2 * 9});
    QVERIFY(isLeftOut(*familyOf(tied), "lm_head.weight"));
    QVERIFY(!isLeftOut(*family, "lm_head.weight"));
  }

  void valuesOfBert() {
    const auto family = familyOf(bertConfig());
    QVERIFY2(family.has_value(), family ? "" : family.error().message.c_str());
    QCOMPARE(textOf(family->values, "bert.attention.causal"), std::string("false"));
    QCOMPARE(textOf(family->values, "bert.attention.layer_norm_epsilon"), std::string("1e-12"));
    QCOMPARE(textOf(family->values, "tokenizer.ggml.token_type_count"), std::string("2"));
    QVERIFY(isLeftOut(*family, "0.auto_model.pooler.dense.weight") && isLeftOut(*family, "embeddings.position_ids"));
    QCOMPARE(tensorNames(*family).required.size(), std::size_t{5 + 16});
    QVERIFY(!movedHeads(*family, "blk.0.attn_q.weight"));
    QVERIFY(staysFloat32("position_embd.weight", 2) && staysFloat32("blk.0.attn_q.bias", 1) && !staysFloat32("token_embd.weight", 2));
  }

  // Wavelengths 2 pi 10000^(i/16) against 64 / 4 and 64 / 1.
  void rotaryFrequenciesOfLlama3() {
    json config = llamaConfig();
    config["rope_scaling"] = {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 64}};
    const auto family = familyOf(config);
    QVERIFY(family.has_value());
    QCOMPARE(family->ropeFactors.size(), std::size_t{8});
    QCOMPARE(family->ropeFactors[0], 1.0f);
    const double wavelength = 2 * M_PI * std::sqrt(10.0), smooth = (64 / wavelength - 1) / 3;
    QVERIFY(std::fabs(static_cast<double>(family->ropeFactors[1]) - 1 / ((1 - smooth) / 8 + smooth)) < 1e-6);
    QVERIFY(family->ropeFactors[2] > 7.6f && family->ropeFactors[2] < 7.7f);  // 62.8 of 64: just short of all
    QCOMPARE(family->ropeFactors[3], 8.0f);
    config["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
    QVERIFY(!familyOf(config));
  }

  void unknownFamilies_data() {
    QTest::addColumn<QString>("key");
    QTest::addColumn<QString>("value");
    QTest::addColumn<QString>("reason");
    QTest::newRow("type") << "model_type" << "\"gpt2\"" << "none of llama";
    QTest::newRow("experts") << "num_local_experts" << "8" << "mixtures of experts";
    QTest::newRow("activation") << "hidden_act" << "\"relu\"" << "hidden_act";
    QTest::newRow("no layers") << "num_hidden_layers" << "0" << "num_hidden_layers";
    QTest::newRow("text for a count") << "hidden_size" << "\"64\"" << "hidden_size";
    QTest::newRow("heads") << "num_key_value_heads" << "3" << "do not divide";
  }
  void unknownFamilies() {
    QFETCH(QString, key);
    QFETCH(QString, value);
    QFETCH(QString, reason);
    json config = llamaConfig();
    config[key.toStdString()] = json::parse(value.toStdString());
    const auto family = familyOf(config);
    QVERIFY(!family);
    QVERIFY2(QString::fromStdString(family.error().message).contains(reason), family.error().message.c_str());
    QVERIFY(!familyOf(json::object()));
  }

  // reshape(heads, 2, size / 2).swapaxes(1, 2)
  void rowsMoveWithinTheirHead() {
    std::vector<std::uint64_t> moved;
    for (std::uint64_t row = 0; row < 12; ++row) moved.push_back(sourceRow(row, 12, 2));
    QCOMPARE(moved, (std::vector<std::uint64_t>{0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11}));
  }

  void wordPiece() {
    const json description{{"model", {{"type", "WordPiece"}, {"vocab", {{"[PAD]", 0}, {"[UNK]", 1}, {"[CLS]", 2}, {"[SEP]", 3}, {"hug", 4}, {"##ging", 5}}}}},
                           {"normalizer", {{"type", "BertNormalizer"}, {"lowercase", true}, {"strip_accents", nullptr}}},
                           {"added_tokens", {{{"id", 0}, {"content", "[PAD]"}, {"special", true}}, {{"id", 1}, {"content", "[UNK]"}, {"special", true}},
                                             {{"id", 2}, {"content", "[CLS]"}, {"special", true}}, {{"id", 3}, {"content", "[SEP]"}, {"special", true}}}}};
    const auto tokenizer = tokenizerFrom(description, nullptr, 8);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().message.c_str());
    const auto& values = tokenizer->values;
    QCOMPARE(textOf(values, "tokenizer.ggml.model"), std::string("bert"));
    QCOMPARE(textOf(values, "tokenizer.ggml.tokens"),
             std::string("[\"[PAD]\", \"[UNK]\", \"[CLS]\", \"[SEP]\", \"\u2581hug\", \"ging\", \"\u2581[PAD6]\", \"\u2581[PAD7]\"]"));
    QCOMPARE(textOf(values, "tokenizer.ggml.token_type"), std::string("[3, 3, 3, 3, 1, 1, 5, 5]"));
    QCOMPARE(textOf(values, "tokenizer.ggml.bos_token_id"), std::string("2"));
    QCOMPARE(textOf(values, "tokenizer.ggml.seperator_token_id"), std::string("3"));
    QCOMPARE(textOf(values, "tokenizer.ggml.padding_token_id"), std::string("0"));
    QCOMPARE(textOf(values, "tokenizer.ggml.normalizer.lowercase"), std::string("true"));
    QCOMPARE(textOf(values, "tokenizer.ggml.normalizer.strip_accents"), std::string("absent"));
    QVERIFY(!tokenizerFrom(description, nullptr, 5));  // more tokens than rows of the embedding
  }

  void byteLevelMerges() {
    const std::string llama3 =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    json description{{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", json::array({json::array({"a", "b"})})}}},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Split"}, {"pattern", {{"Regex", llama3}}}}, {{"type", "ByteLevel"}, {"use_regex", false}}}}}},
                     {"added_tokens", {{{"id", 3}, {"content", "<|end|>"}, {"special", false}}}}};
    const json settings{{"eos_token", {{"content", "<|end|>"}}}, {"add_bos_token", false}, {"chat_template", "{{ x }}"}};
    const auto tokenizer = tokenizerFrom(description, settings, 4);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().message.c_str());
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.model"), std::string("gpt2"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.pre"), std::string("llama-bpe"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.merges"), std::string("[\"a b\"]"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.token_type"), std::string("[1, 1, 1, 3]"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.eos_token_id"), std::string("3"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.add_bos_token"), std::string("false"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.chat_template"), std::string("{{ x }}"));
    description["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+";
    const auto strange = tokenizerFrom(description, settings, 4);
    QVERIFY(!strange && strange.error().message.find("pre-tokenizer") != std::string::npos);
    description["model"]["type"] = "Unigram";
    QVERIFY(!tokenizerFrom(description, settings, 4));
    QVERIFY(!tokenizerFrom(nullptr, nullptr, 4));
    QVERIFY(!tokenizerFrom({{"model", {{"type", "BPE"}, {"vocab", {{"a", "x"}}}}}, {"pre_tokenizer", {{"type", "ByteLevel"}}}}, nullptr, 4));
  }

  void byteFallbackMerges() {
    const json description{{"model", {{"type", "BPE"}, {"byte_fallback", true}, {"unk_token", "<unk>"},
                                      {"vocab", {{"<unk>", 0}, {"<0x41>", 1}, {"a", 2}, {"b", 3}, {"ab", 4}, {"ba", 5}}}, {"merges", json::array({"b a", "a b"})}}}};
    const auto tokenizer = tokenizerFrom(description, nullptr, 6);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().message.c_str());
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.model"), std::string("llama"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.scores"), std::string("[-2, 0, -2, -2, -1, 0]"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.token_type"), std::string("[2, 6, 1, 1, 1, 1]"));
  }

  void sentencePieceModel() {
    const std::string bpe = piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("\u2581a", -1.5f, 1) + field(2, varint(3, 2));
    const auto pieces = sentencePieces(bpe);
    QVERIFY2(pieces.has_value(), pieces ? "" : pieces.error().message.c_str());
    QCOMPARE(pieces->size(), std::size_t{3});
    QCOMPARE((*pieces)[2].text, std::string("\u2581a"));
    QCOMPARE((*pieces)[2].score, -1.5f);
    QCOMPARE((*pieces)[0].type, 2);
    QVERIFY(!sentencePieces(piece("a", 0, 1) + field(2, varint(3, 1))));  // unigram
    QVERIFY(!sentencePieces(piece("a", 0, 1)));                          // which is what an unsaid type means
    QVERIFY(!sentencePieces(piece("a", 0, 9) + field(2, varint(3, 2))));
    for (std::size_t length = 0; length < bpe.size(); ++length) {
      const auto cut = sentencePieces(bpe.substr(0, length));
      QVERIFY(!cut);
    }
    const test::ScratchFolder folder;
    test::writeWhole(folder.file("tokenizer.model"), bpe);
    const auto tokenizer = tokenizerOf(folder.path(), json::object({{"bos_token_id", 1u}}), 4);
    QVERIFY2(tokenizer.has_value(), tokenizer ? "" : tokenizer.error().message.c_str());
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.scores"), std::string("[0, 0, -1.5, -10000]"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.token_type"), std::string("[2, 3, 1, 5]"));
    QCOMPARE(textOf(tokenizer->values, "tokenizer.ggml.bos_token_id"), std::string("1"));
  }

  void fileTypes() {
    RawTensor matrix, norm;
    matrix.shape = {2, 144}, matrix.type = DType::U8, matrix.block = kernels::BlockType::Q4_K, matrix.owned.resize(288);
    norm.shape = {4096}, norm.type = DType::F32, norm.owned.resize(16384);
    QCOMPARE(fileType("", {matrix, norm}), 14u);
    QCOMPARE(fileType("Q4_K_M", {matrix, norm}), 15u);
    QCOMPARE(fileType("", {norm}), 0u);
    matrix.block.reset(), matrix.type = DType::BF16;
    QCOMPARE(fileType("", {matrix}), 32u);
  }
};

QTEST_APPLESS_MAIN(TestGgufModel)
#include "test_gguf_model.moc"
