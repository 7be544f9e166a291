// SPDX-License-Identifier: GPL-3.0-or-later
// The named mixes against what llama.cpp's rules say for made-up models: types by layer, worked out by hand from llama-quant.cpp.
#include "core/run/choice.h"
#include "core/schemes/gguf_mixes.h"

#include <QtTest>
#include <map>

using namespace nibble;

namespace {

std::vector<MixTensor> llama(int layers, std::uint64_t keyRows, bool gguf) {
  std::vector<MixTensor> tensors{{gguf ? "token_embd.weight" : "model.embed_tokens.weight", 32000, 4096, 2},
                                 {gguf ? "output.weight" : "lm_head.weight", 32000, 4096, 2},
                                 {gguf ? "output_norm.weight" : "model.norm.weight", 1, 4096, 1}};
  for (int i = 0; i < layers; ++i) {
    const std::string head = (gguf ? "blk." : "model.layers.") + std::to_string(i) + ".";
    const auto add = [&](const char* ours, const char* theirs, std::uint64_t rows, std::uint64_t columns) {
      tensors.push_back({head + (gguf ? ours : theirs) + ".weight", rows, columns, 2});
    };
    add("attn_q", "self_attn.q_proj", 4096, 4096);
    add("attn_k", "self_attn.k_proj", keyRows, 4096);
    add("attn_v", "self_attn.v_proj", keyRows, 4096);
    add("attn_output", "self_attn.o_proj", 4096, 4096);
    add("ffn_gate", "mlp.gate_proj", 11008, 4096);
    add("ffn_up", "mlp.up_proj", 11008, 4096);
    add("ffn_down", "mlp.down_proj", 4096, 11008);
  }
  return tensors;
}

std::map<std::string, std::string> schemes(const char* mix, const std::vector<MixTensor>& tensors, bool importance = false) {
  std::map<std::string, std::string> found;
  const auto assignments = mixAssignments(mix, tensors, importance);
  for (const MixAssignment& one : *assignments) found[one.tensor] = one.scheme;
  return found;
}

std::string layersWith(const std::map<std::string, std::string>& found, const std::string& tensor, const std::string& scheme) {
  std::string layers;
  for (int i = 0; i < 100; ++i) {
    const auto one = found.find("blk." + std::to_string(i) + "." + tensor + ".weight");
    if (one != found.end() && one->second == scheme) layers += std::to_string(i) + " ";
  }
  return layers;
}

}  // namespace

class TestGgufMixes : public QObject {
  Q_OBJECT
 private slots:
  void q4KM() {
    const auto found = schemes("Q4_K_M", llama(32, 4096, true));
    const std::string more = "0 1 2 3 6 9 12 15 18 21 24 27 28 29 30 31 ";
    QCOMPARE(layersWith(found, "attn_v", "q6_k"), more);
    QCOMPARE(layersWith(found, "ffn_down", "q6_k"), more);
    QCOMPARE(found.at("blk.5.ffn_down.weight"), std::string("q4_k"));
    QCOMPARE(found.at("blk.0.attn_q.weight"), std::string("q4_k"));
    QCOMPARE(found.at("output.weight"), std::string("q6_k"));
    QCOMPARE(found.at("token_embd.weight"), std::string("q4_k"));
    QCOMPARE(found.at("output_norm.weight"), std::string());
  }

  void otherMixes() {
    const auto model = llama(32, 4096, true), shared = llama(32, 1024, true);
    QCOMPARE(layersWith(schemes("Q4_K_S", model), "attn_v", "q5_k"), std::string("0 1 2 3 "));
    QCOMPARE(layersWith(schemes("Q4_K_S", model), "ffn_down", "q5_k"), std::string("0 1 2 3 "));
    QCOMPARE(layersWith(schemes("Q3_K_M", model), "attn_v", "q5_k"), std::string("0 1 "));
    QCOMPARE(layersWith(schemes("Q3_K_M", model), "ffn_down", "q5_k"), std::string("0 1 "));
    QCOMPARE(schemes("Q3_K_M", model).at("blk.9.attn_output.weight"), std::string("q4_k"));
    QCOMPARE(schemes("Q3_K_L", model).at("blk.9.attn_output.weight"), std::string("q5_k"));
    QCOMPARE(schemes("Q2_K", model).at("blk.9.attn_v.weight"), std::string("q3_k"));
    QCOMPARE(schemes("Q2_K", shared).at("blk.9.attn_v.weight"), std::string("q4_k"));
    QCOMPARE(schemes("IQ4_XS", shared).at("blk.9.attn_v.weight"), std::string("q5_k"));
    QCOMPARE(layersWith(schemes("IQ4_XS", model), "ffn_down", "q5_k"), std::string("0 1 2 3 "));
    QCOMPARE(layersWith(schemes("IQ4_XS", model, true), "ffn_down", "q5_k"), std::string());
    QCOMPARE(layersWith(schemes("Q4_0", model, true), "ffn_down", "q4_1"), std::string("0 1 2 3 "));
    QCOMPARE(layersWith(schemes("Q4_0", model), "ffn_down", "q4_1"), std::string());
    QCOMPARE(schemes("Q8_0", model).at("output.weight"), std::string("q8_0"));
    QCOMPARE(schemes("TQ2_0", model).at("token_embd.weight"), std::string("q4_k"));
    QCOMPARE(schemes("Q4_K_M", llama(80, 1024, true)).at("blk.11.attn_v.weight"), std::string("q5_k"));
  }

  void checkpointNamesSayTheSame() {
    const auto ours = llama(32, 1024, true), theirs = llama(32, 1024, false);
    for (const std::string_view mix : mixNames()) {
      const auto a = *mixAssignments(mix, ours, false), b = *mixAssignments(mix, theirs, false);
      for (std::size_t i = 0; i < a.size(); ++i) QCOMPARE(a[i].scheme, b[i].scheme);
    }
  }

  // 384 columns: super-blocks do not divide, the type of 32 stands in and the note says so.
  void bertFallsBack() {
    const std::vector<MixTensor> tensors{{"embeddings.word_embeddings.weight", 30522, 384, 2},
                                         {"embeddings.position_embeddings.weight", 512, 384, 2},
                                         {"encoder.layer.0.attention.self.value.weight", 384, 384, 2},
                                         {"encoder.layer.0.attention.self.query.weight", 384, 384, 2},
                                         {"encoder.layer.0.attention.output.LayerNorm.weight", 1, 384, 1},
                                         {"encoder.layer.0.intermediate.dense.weight", 1536, 384, 2},
                                         {"encoder.layer.0.output.dense.weight", 384, 1536, 2},
                                         {"pooler.dense.weight", 384, 384, 2},
                                         {"encoder.layer.0.odd.weight", 5, 7, 2}};
    const auto found = *mixAssignments("Q4_K_M", tensors, false);
    const char* expected[] = {"q8_0", "", "q8_0", "q5_0", "", "q5_0", "q6_k", "", "float:type=f16"};
    for (std::size_t i = 0; i < found.size(); ++i) QCOMPARE(found[i].scheme, std::string(expected[i]));
    QCOMPARE(found[3].note, std::string("q4_k needs columns in multiples of 256; this matrix has 384"));
  }

  void schemesAreChoices() {
    for (const std::string_view mix : mixNames()) {
      const auto assignments = mixAssignments(mix, llama(16, 1024, true), false);
      for (const MixAssignment& one : *assignments) {
        const bool legal = one.scheme.empty() || Choice::parse(one.scheme).has_value();
        QVERIFY2(legal, one.scheme.c_str());
      }
    }
  }

  void refuses() {
    const auto unknown = mixAssignments("Q9_K", llama(1, 4096, true), false);
    QVERIFY(!unknown.has_value() && unknown.error().message.find("Q4_K_M") != std::string::npos);
    const std::vector<MixTensor> strange{{"conv1.weight", 64, 64, 2}};
    QVERIFY(!mixAssignments("Q4_K_M", strange, false).has_value());
  }
};

QTEST_APPLESS_MAIN(TestGgufMixes)
#include "test_gguf_mixes.moc"
