// SPDX-License-Identifier: GPL-3.0-or-later
// SentencePiece's tokenizer.model: a protocol-buffers message; field 1 a piece (1 text, 2 float score, 3 type), field 2 the
// trainer's settings (3 model type: 1 unigram, 2 BPE). Source: sentencepiece_model.proto (Apache-2.0, facts only).
#include "core/formats/gguf/tokenizer.h"

#include <cstring>

namespace nibble::formats::gguf {
namespace {

// The fields of one message in turn.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : m_bytes(bytes) {}
  std::uint64_t number = 0, value = 0;  // of the field; its value where it is a number
  std::string_view text;                // where it is bytes

  // False at the end, and where the message is broken.
  bool next() {
    if (m_bytes.empty() || m_broken) return false;
    const std::uint64_t key = varint();
    number = key >> 3;
    switch (key & 7) {
      case 0: value = varint(); break;
      case 1: text = take(8); break;
      case 2: text = take(varint()); break;
      case 5: text = take(4); break;
      default: m_broken = true;
    }
    return !m_broken;
  }
  [[nodiscard]] bool broken() const { return m_broken; }

 private:
  std::uint64_t varint() {
    std::uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (m_bytes.empty()) break;
      const auto byte = static_cast<unsigned char>(m_bytes.front());
      m_bytes.remove_prefix(1);
      result |= static_cast<std::uint64_t>(byte & 127) << shift;
      if (byte < 128) return result;
    }
    m_broken = true;
    return 0;
  }
  std::string_view take(std::uint64_t length) {
    if (length > m_bytes.size()) return m_broken = true, std::string_view();
    const std::string_view part = m_bytes.substr(0, length);
    m_bytes.remove_prefix(length);
    return part;
  }
  std::string_view m_bytes;
  bool m_broken = false;
};

bool readPiece(std::string_view bytes, Piece& piece) {
  Fields fields(bytes);
  while (fields.next()) {
    if (fields.number == 1) piece.text = fields.text;
    if (fields.number == 2 && fields.text.size() == 4) std::memcpy(&piece.score, fields.text.data(), 4);
    if (fields.number == 3) piece.type = static_cast<std::int32_t>(fields.value);
  }
  return !fields.broken() && piece.type >= 1 && piece.type <= 6;
}

}  // namespace

Result<std::vector<Piece>> sentencePieces(std::string_view bytes) {
  std::vector<Piece> pieces;
  std::uint64_t modelType = 1;
  Fields fields(bytes);
  while (fields.next()) {
    if (fields.number == 1 && !readPiece(fields.text, pieces.emplace_back())) return fail("tokenizer.model: a piece cannot be read");
    if (fields.number != 2) continue;
    Fields settings(fields.text);
    while (settings.next())
      if (settings.number == 3) modelType = settings.value;
  }
  if (fields.broken() || pieces.empty()) return fail("tokenizer.model: is no SentencePiece model");
  if (modelType != 2) return fail("tokenizer.model: is no BPE model, which llama.cpp's \"llama\" tokenizer is");
  return pieces;
}

}  // namespace nibble::formats::gguf
