// SPDX-License-Identifier: GPL-3.0-or-later
// Kernels that decode GGUF's blocks and AWQ's words, emulated, against a decoder that takes one weight at a time by the published
// layouts: equal to the bit, over random bytes; and encoded weights come back within a step.
#include "kernels/cuda/decode_blocks.h"
#include "kernels/math/blocks.h"
#include "tests/support/cuda_cases.h"

#include <QtTest>
#include <cmath>
#include <cstring>

using namespace nibble::kernels;
namespace em = nibble::kernels::emulated;
using nibble::test::caseCount;
using nibble::test::Chance;
using nibble::test::DeviceArray;
using nibble::test::EmulatedStream;
using nibble::test::emulatorSettings;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

constexpr BlockType types[] = {BlockType::Q4_0, BlockType::Q4_1, BlockType::Q5_0, BlockType::Q5_1, BlockType::Q8_0,
                               BlockType::Q2_K, BlockType::Q3_K, BlockType::Q4_K, BlockType::Q5_K, BlockType::Q6_K};

float half(const std::uint8_t* at) {
  return halfToFloat(static_cast<std::uint16_t>(at[0] | at[1] << 8));
}
int bit(const std::uint8_t* bytes, std::size_t i) {
  return bytes[i / 8] >> (i % 8) & 1;
}

// Weight i of a block of 32.
float smallWeight(BlockType type, const std::uint8_t* b, int i) {
  const auto nibble = [i](const std::uint8_t* at) { return i < 16 ? at[i] % 16 : at[i - 16] / 16; };
  switch (type) {
    case BlockType::Q4_0: return half(b) * static_cast<float>(nibble(b + 2) - 8);
    case BlockType::Q4_1: return half(b) * static_cast<float>(nibble(b + 4)) + half(b + 2);
    case BlockType::Q5_0: return half(b) * static_cast<float>(nibble(b + 6) + 16 * bit(b + 2, i) - 16);
    case BlockType::Q5_1: return half(b) * static_cast<float>(nibble(b + 8) + 16 * bit(b + 4, i)) + half(b + 2);
    default: return half(b) * static_cast<float>(b[2 + i] < 128 ? b[2 + i] : b[2 + i] - 256);
  }
}

// The runs' scale and minimum of q4_k, q5_k, spelled out.
void scaleAndMinimum(const std::uint8_t* s, int j, int& scale, int& minimum) {
  scale = j < 4 ? s[j] % 64 : s[j + 4] % 16 + s[j - 4] / 64 * 16;
  minimum = j < 4 ? s[j + 4] % 64 : s[j + 4] / 16 + s[j] / 64 * 16;
}

// Weight i of a super-block.
float superWeight(BlockType type, const std::uint8_t* b, int i) {
  const int in128 = i % 128, in64 = i % 64, j32 = i % 32;
  const auto pair = [&](const std::uint8_t* at) { return at[i / 128 * 32 + j32] / (1 << in128 / 32 * 2) % 4; };
  if (type == BlockType::Q2_K) {
    const float scaled = half(b + 80) * static_cast<float>(b[i / 16] % 16);
    return scaled * static_cast<float>(pair(b + 16)) - half(b + 82) * static_cast<float>(b[i / 16] / 16);
  }
  if (type == BlockType::Q3_K) {
    const int t = i / 16, low = t < 8 ? b[96 + t] % 16 : b[96 + t - 8] / 16;
    const int high = b[104 + t % 4] / (1 << t / 4 * 2) % 4;
    const int code = pair(b + 32) + 4 * (b[j32] >> (i / 32) & 1);
    return half(b + 108) * static_cast<float>(low + 16 * high - 32) * static_cast<float>(code - 4);
  }
  if (type == BlockType::Q6_K) {
    const std::uint8_t byte = b[i / 128 * 64 + in64];
    const int code = (in128 < 64 ? byte % 16 : byte / 16) + 16 * pair(b + 128);
    const int scale = static_cast<std::int8_t>(b[192 + i / 16]);
    return half(b + 208) * static_cast<float>(scale) * static_cast<float>(code - 32);
  }
  const bool five = type == BlockType::Q5_K;
  const std::uint8_t byte = b[(five ? 48 : 16) + i / 64 * 32 + j32];
  int code = in64 < 32 ? byte % 16 : byte / 16, scale = 0, minimum = 0;
  if (five) code += 16 * (b[16 + j32] >> (i / 32) & 1);
  scaleAndMinimum(b + 4, i / 32, scale, minimum);
  return half(b) * static_cast<float>(scale) * static_cast<float>(code) - half(b + 2) * static_cast<float>(minimum);
}

Floats decoded(BlockType type, const Bytes& bytes) {
  const BlockShape shape = blockShape(type);
  Floats values;
  for (std::size_t block = 0; block * shape.bytes < bytes.size(); ++block)
    for (std::size_t i = 0; i < shape.weights; ++i)
      values.push_back((shape.weights == 32 ? smallWeight : superWeight)(type, bytes.data() + block * shape.bytes, static_cast<int>(i)));
  return values;
}

bool sameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Random bytes whose halves are finite: the upper byte of any pair may be one, so no exponent is full.
Bytes randomBlocks(Chance& chance, BlockType type, std::size_t blocks) {
  const BlockShape shape = blockShape(type);
  Bytes bytes(blocks * shape.bytes);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(chance.below(256));
  const std::size_t d = type == BlockType::Q2_K ? 80 : type == BlockType::Q3_K ? 108 : type == BlockType::Q6_K ? 208 : 0;
  for (std::size_t block = 0; block < blocks; ++block)
    for (const std::size_t at : {d + 1, d + 3})
      if (at < shape.bytes) bytes[block * shape.bytes + at] &= 0xBF;  // for small blocks the second may be a code: no harm
  return bytes;
}

}  // namespace

class TestCudaBlocks : public QObject {
  Q_OBJECT

  EmulatedStream stream;

  Floats run(BlockType type, const Bytes& bytes, std::size_t shift) {
    const BlockShape shape = blockShape(type);
    const std::size_t count = bytes.size() / shape.bytes;
    const DeviceArray<std::uint8_t> in("blocks", bytes, shift);
    DeviceArray<float> out("out", count * shape.weights);
    Outcome outcome = em::launchDecodeBlocks(type, in.data(), count, out.data(), stream.handle());
    if (outcome.ok()) outcome = stream.wait();
    if (!outcome.ok()) qFatal("%s", outcome.detail.c_str());
    return out.values();
  }

 private slots:
  void cleanup() { emulatorSettings() = {}; }

  void blocksOfEveryType() {
    for (const BlockType type : types)
      for (int i = 0; i < caseCount(); ++i) {
        Chance chance(static_cast<unsigned>(i) * 100 + static_cast<unsigned>(type));
        emulatorSettings().seed = static_cast<unsigned>(i % 4);
        const Bytes bytes = randomBlocks(chance, type, chance.between(1, blockShape(type).weights == 32 ? 70 : 9));
        const std::string text = "type " + std::to_string(static_cast<int>(type)) + ", case " + std::to_string(i);
        QVERIFY2(sameBits(run(type, bytes, chance.of<std::size_t>({0, 2, 4})), decoded(type, bytes)), text.c_str());
      }
  }

  void encodedWeightsComeBack() {
    Chance chance(1);
    Floats weights(1024);
    for (float& w : weights) w = 0.05f * chance.normal();
    for (const BlockType type : types) {
      const BlockMatrix matrix{type, weights.data(), weights.size(), nullptr};
      Bytes bytes(matrix.blocksPerRow() * matrix.shape().bytes);
      encodeBlockRange(matrix, 0, matrix.blocksPerRow(), bytes.data());
      const Floats values = run(type, bytes, 0);
      double error = 0, square = 0;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        error += std::pow(static_cast<double>(values[i] - weights[i]), 2);
        square += std::pow(static_cast<double>(weights[i]), 2);
      }
      QVERIFY2(error < 0.15 * square, std::to_string(static_cast<int>(type)).c_str());  // two bits: 0.1
    }
  }

  void awq() {
    constexpr int order[] = {0, 2, 4, 6, 1, 3, 5, 7};
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const std::size_t groupRows = chance.between(1, 40), inputs = groupRows * chance.between(1, 4), outputs = 8 * chance.between(1, 30);
      std::vector<std::uint32_t> words(inputs * outputs / 8), zeros(inputs / groupRows * outputs / 8);
      std::vector<std::uint16_t> scales(inputs / groupRows * outputs);
      for (auto& word : words) word = static_cast<std::uint32_t>(chance.engine()());
      for (auto& word : zeros) word = static_cast<std::uint32_t>(chance.engine()());
      for (auto& scale : scales) scale = floatToHalf(chance.normal());
      Floats expected(inputs * outputs);
      for (std::size_t k = 0; k < inputs; ++k)
        for (std::size_t word = 0; word < outputs / 8; ++word)
          for (std::size_t nibble = 0; nibble < 8; ++nibble) {
            const std::size_t g = k / groupRows, n = word * 8 + static_cast<std::size_t>(order[nibble]);
            const int code = static_cast<int>(words[k * outputs / 8 + word] >> (4 * nibble) & 15),
                      zero = static_cast<int>(zeros[g * outputs / 8 + word] >> (4 * nibble) & 15);
            expected[k * outputs + n] = halfToFloat(scales[g * outputs + n]) * static_cast<float>(code - zero);
          }
      const DeviceArray<std::uint32_t> dw("words", words), dz("zeros", zeros);
      const DeviceArray<std::uint16_t> ds("scales", scales);
      DeviceArray<float> out("out", expected.size());
      const Outcome queued = em::launchDecodeAwq({dw.data(), dz.data(), ds.data(), inputs, outputs, groupRows}, out.data(), stream.handle());
      QVERIFY2(queued.ok(), queued.detail.c_str());
      const Outcome done = stream.wait();
      QVERIFY2(done.ok(), done.detail.c_str());
      QVERIFY2(sameBits(out.values(), expected), ("case " + std::to_string(i)).c_str());
    }
  }

  void refused() {
    const DeviceArray<std::uint8_t> in("in", Bytes(64), 1);
    DeviceArray<float> out("out", 32);
    QVERIFY(em::launchDecodeBlocks(BlockType::IQ2_XXS, in.data() + 1, 1, out.data(), stream.handle()).fault == Fault::BadCall);
    QVERIFY(em::launchDecodeBlocks(BlockType::Q4_0, in.data(), 1, out.data(), stream.handle()).fault == Fault::BadCall);
    em::AwqMatrix odd;
    odd.inputs = 4, odd.outputs = 12;
    QVERIFY(em::launchDecodeAwq(odd, out.data(), stream.handle()).fault == Fault::BadCall);
    QVERIFY(em::launchDecodeBlocks(BlockType::Q4_0, in.data() + 1, 0, out.data(), stream.handle()).ok());
  }
};

QTEST_APPLESS_MAIN(TestCudaBlocks)
#include "test_cuda_blocks.moc"
