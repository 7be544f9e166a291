// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/tokenizer.h"

#include "core/base/text.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <unordered_map>

namespace nibble::formats::gguf {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int32_t normal = 1, control = 3, userDefined = 4, unused = 5, byteType = 6, unknown = 2;
constexpr const char* wordBegin = "\xE2\x96\x81";  // U+2581
constexpr float addedScore = -1000.0f;

std::optional<std::string> readText(const fs::path& path) {
  constexpr std::uintmax_t largest = std::uintmax_t{256} << 20;
  std::error_code error;
  if (!fs::is_regular_file(path, error) || fs::file_size(path, error) > largest || error) return std::nullopt;
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

json readJson(const fs::path& path) {
  const auto text = readText(path);
  json parsed = text ? json::parse(*text, nullptr, false) : json::object();
  return parsed.is_object() ? parsed : json::object();
}

struct Token {
  std::string text;
  std::int32_t type = unused;
  float score = -10000.0f;
};

class Builder {
 public:
  Builder(const fs::path& folder, const json& config, std::uint64_t vocabulary)
      : m_folder(folder),
        m_config(config),
        m_json(readJson(folder / "tokenizer.json")),
        m_settings(readJson(folder / "tokenizer_config.json")),
        m_tokens(vocabulary) {}

  Result<Tokenizer> build() {
    for (std::size_t i = 0; i < m_tokens.size(); ++i) m_tokens[i].text = "[PAD" + text::number(std::uint64_t{i}) + "]";
    NIBBLE_TRY(choose());
    addSpecialTokens();
    addTemplate();
    Tokenizer tokenizer{{}, m_summary + ", " + text::number(m_count) + " tokens"};
    tokenizer.values = std::move(m_values);
    return tokenizer;
  }

 private:
  Status choose() {
    const json model = m_json.value("model", json::object());
    const std::string type = model.value("type", std::string());
    if (type == "WordPiece") return wordPiece(model);
    if (const auto pieces = readText(m_folder / "tokenizer.model")) return sentencePiece(*pieces);
    if (type == "BPE" && model.value("byte_fallback", false)) return byteFallback(model);
    if (type == "BPE") return byteLevel(model);
    if (!type.empty()) return fail("a tokenizer of type " + type + " is not written");
    return fail("there is neither tokenizer.json nor tokenizer.model beside the weights");
  }

  Status put(std::uint64_t id, Token token) {
    if (id >= m_tokens.size())
      return fail("token " + text::number(id) + " is beyond the " + text::number(std::uint64_t{m_tokens.size()}) + " of config.json's vocab_size");
    if (m_tokens[id].type == unused) ++m_count;
    m_ids[token.text] = id;
    m_tokens[id] = std::move(token);
    return {};
  }

  Status putVocabulary(const json& model) {
    for (const auto& [word, id] : model.at("vocab").items()) NIBBLE_TRY(put(id.get<std::uint64_t>(), {word, normal, 0}));
    return {};
  }

  // Tokens beside the vocabulary: special ones are control tokens.
  Status putAdded() {
    for (const json& added : m_json.value("added_tokens", json::array())) {
      const std::string word = added.at("content");
      const bool special = added.value("special", false) || (word.starts_with("<|") && word.ends_with("|>"));
      NIBBLE_TRY(put(added.at("id").get<std::uint64_t>(), {word, special ? control : userDefined, addedScore}));
    }
    return {};
  }

  // Writes the lists; scores belong to SentencePiece alone.
  void write(const char* model, const std::string& pre, bool scores) {
    std::vector<std::string> texts;
    std::vector<float> numbers;
    std::vector<std::int32_t> types;
    for (const Token& token : m_tokens) texts.push_back(token.text), numbers.push_back(token.score), types.push_back(token.type);
    m_values.push_back(GgufValue::text("tokenizer.ggml.model", model));
    m_values.push_back(GgufValue::text("tokenizer.ggml.pre", pre));
    m_values.push_back(GgufValue::texts("tokenizer.ggml.tokens", texts));
    if (scores) m_values.push_back(GgufValue::reals("tokenizer.ggml.scores", numbers));
    m_values.push_back(GgufValue::numbers("tokenizer.ggml.token_type", types));
  }

  Status wordPiece(const json& model) {
    NIBBLE_TRY(putVocabulary(model));
    NIBBLE_TRY(putAdded());
    const std::string prefix = model.value("continuing_subword_prefix", std::string("##"));
    if (prefix != "##") return fail("WordPiece with the prefix \"" + prefix + "\" is not written");
    for (Token& token : m_tokens) {
      if (token.type == control) continue;
      token.text = token.text.starts_with("##") ? token.text.substr(2) : wordBegin + token.text;
    }
    m_summary = "WordPiece";
    m_pieceOfWord = true;
    write("bert", "default", false);
    addNormalizer(m_json.value("normalizer", json::object()));
    return {};
  }

  void addNormalizer(const json& normalizer) {
    if (!normalizer.is_object()) return;
    const auto flag = [&](const char* name, const std::string& key) {
      if (normalizer.contains(name) && normalizer[name].is_boolean())
        m_values.push_back(GgufValue::flag("tokenizer.ggml.normalizer." + key, normalizer[name].get<bool>()));
    };
    flag("lowercase", "lowercase");
    flag("strip_accents", "strip_accents");
  }

  Status sentencePiece(const std::string& bytes) {
    const auto pieces = sentencePieces(bytes);
    if (!pieces) return fail(pieces.error());
    for (std::size_t id = 0; id < pieces->size() && id < m_tokens.size(); ++id)
      NIBBLE_TRY(put(id, {(*pieces)[id].text, (*pieces)[id].type, (*pieces)[id].score}));
    const json addedTokens = m_settings.value("added_tokens_decoder", json::object());
    for (const auto& [id, added] : addedTokens.items()) {
      const auto number = text::parseUnsigned(id);
      if (!number || *number >= m_tokens.size() || m_tokens[*number].type == unknown) continue;
      const std::string word = added.value("content", std::string());
      NIBBLE_TRY(put(*number, {word, added.value("special", false) ? control : userDefined, addedScore}));
    }
    m_summary = "SentencePiece";
    write("llama", "default", true);
    return {};
  }

  // Pairs as "a b": a space within a part, which none has in practice, would be told as U+0120.
  Result<std::vector<std::string>> mergesOf(const json& model) {
    std::vector<std::string> merges;
    for (const json& merge : model.at("merges")) {
      if (merge.is_string()) {
        merges.push_back(merge);
        continue;
      }
      std::string left = merge.at(0), right = merge.at(1);
      if (left.find(' ') != std::string::npos || right.find(' ') != std::string::npos) return fail("tokenizer.json: a merge has a space in it");
      merges.push_back(left + " " + right);
    }
    return merges;
  }

  static bool isByte(const std::string& word) { return word.size() == 6 && word.starts_with("<0x") && word.back() == '>'; }

  Status byteFallback(const json& model) {
    NIBBLE_TRY(putVocabulary(model));
    const auto merges = mergesOf(model);
    if (!merges) return fail(merges.error());
    std::unordered_map<std::string, float> rank;
    for (std::size_t i = 0; i < merges->size(); ++i) {
      std::string word = (*merges)[i];
      word.erase(word.find(' '), 1);
      rank.emplace(std::move(word), i == 0 ? 0.0f : -static_cast<float>(i));  // not -0
    }
    // A piece that no merge makes comes after all that some merge does.
    const float last = -static_cast<float>(merges->size());
    for (Token& token : m_tokens) {
      if (token.type == unused) continue;
      const auto found = rank.find(token.text);
      token.score = found == rank.end() ? last : found->second;
      if (isByte(token.text)) token.type = byteType, token.score = 0;
    }
    NIBBLE_TRY(putAdded());
    if (const auto found = m_ids.find(model.value("unk_token", std::string())); found != m_ids.end()) m_tokens[found->second].type = unknown;
    m_summary = "byte-fallback BPE as SentencePiece";
    write("llama", "default", true);
    return {};
  }

  // How llama.cpp calls the rule that cuts text into words; empty: none that is known.
  static std::string preTokenizer(const json& rule) {
    static const std::map<std::string, std::string> byPattern = {
        {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "llama-bpe"},
        {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)", "qwen2"},
    };
    if (!rule.is_object()) return {};
    const std::string type = rule.value("type", std::string());
    if (type == "ByteLevel") return rule.value("use_regex", true) ? "gpt-2" : "";
    if (type == "Split") {
      const auto known = byPattern.find(rule.value("pattern", json::object()).value("Regex", std::string()));
      return known == byPattern.end() ? std::string() : known->second;
    }
    if (type != "Sequence") return {};
    const json parts = rule.value("pretokenizers", json::array());
    if (parts.size() == 1) return preTokenizer(parts[0]);
    const bool splitThenBytes = parts.size() == 2 && parts[0].value("type", std::string()) == "Split" &&
                                parts[1].value("type", std::string()) == "ByteLevel" && !parts[1].value("use_regex", true);
    return splitThenBytes ? preTokenizer(parts[0]) : std::string();
  }

  Status byteLevel(const json& model) {
    const std::string pre = preTokenizer(m_json.value("pre_tokenizer", json::object()));
    if (pre.empty()) return fail("tokenizer.json: its pre-tokenizer is none of gpt-2's, llama 3's and qwen2's");
    NIBBLE_TRY(putVocabulary(model));
    NIBBLE_TRY(putAdded());
    const auto merges = mergesOf(model);
    if (!merges) return fail(merges.error());
    m_summary = "byte-level BPE (" + pre + ")";
    write("gpt2", pre, false);
    m_values.push_back(GgufValue::texts("tokenizer.ggml.merges", *merges));
    return {};
  }

  // The id of a special token by its name in tokenizer_config.json.
  std::optional<std::uint64_t> named(const std::string& key) const {
    if (!m_settings.contains(key)) return std::nullopt;
    const json& token = m_settings[key];
    const std::string word = token.is_string() ? token.get<std::string>() : token.is_object() ? token.value("content", std::string()) : std::string();
    const auto found = m_ids.find(word);
    return found == m_ids.end() ? std::nullopt : std::optional(found->second);
  }

  std::optional<std::uint64_t> specialId(const std::string& kind, const char* usual) const {
    if (const auto id = named(kind + "_token")) return id;
    const json id = m_config.value(kind + "_token_id", json());
    if (id.is_number_unsigned() && id.get<std::uint64_t>() < m_tokens.size()) return id.get<std::uint64_t>();
    if (id.is_array() && !id.empty() && id[0].is_number_unsigned() && id[0].get<std::uint64_t>() < m_tokens.size()) return id[0].get<std::uint64_t>();
    const auto found = m_pieceOfWord && usual != nullptr ? m_ids.find(usual) : m_ids.end();
    return found == m_ids.end() ? std::nullopt : std::optional(found->second);
  }

  void addSpecialTokens() {
    const auto add = [&](const std::string& key, std::optional<std::uint64_t> id) {
      if (id) m_values.push_back(GgufValue::number("tokenizer.ggml." + key + "_token_id", static_cast<std::uint32_t>(*id)));
    };
    const auto first = specialId("cls", "[CLS]"), separator = specialId("sep", "[SEP]");
    // BERT begins with [CLS] and ends with [SEP].
    add("bos", m_pieceOfWord ? first : specialId("bos", nullptr));
    add("eos", m_pieceOfWord ? separator : specialId("eos", nullptr));
    add("unknown", specialId("unk", "[UNK]"));
    add("seperator", separator);  // as the key is spelled
    add("padding", specialId("pad", "[PAD]"));
    add("mask", specialId("mask", "[MASK]"));
    for (const char* which : {"bos", "eos"}) {
      const std::string key = std::string("add_") + which + "_token";
      if (m_settings.contains(key) && m_settings[key].is_boolean())
        m_values.push_back(GgufValue::flag("tokenizer.ggml." + key, m_settings[key].get<bool>()));
    }
  }

  void addTemplate() {
    if (const auto file = readText(m_folder / "chat_template.jinja"))
      m_values.push_back(GgufValue::text("tokenizer.chat_template", *file));
    else if (m_settings.contains("chat_template") && m_settings["chat_template"].is_string())
      m_values.push_back(GgufValue::text("tokenizer.chat_template", m_settings["chat_template"].get<std::string>()));
  }

  fs::path m_folder;
  const json& m_config;
  json m_json, m_settings;
  std::vector<Token> m_tokens;
  std::unordered_map<std::string, std::uint64_t> m_ids;  // by the word as tokenizer.json has it
  std::vector<GgufValue> m_values;
  std::string m_summary;
  std::uint64_t m_count = 0;
  bool m_pieceOfWord = false;
};

}  // namespace

Result<Tokenizer> tokenizerOf(const fs::path& folder, const json& config, std::uint64_t vocabulary) try {
  return Builder(folder, config, vocabulary).build();
} catch (const json::exception& error) {
  return fail(std::string("tokenizer.json: ") + error.what());
}

}  // namespace nibble::formats::gguf
