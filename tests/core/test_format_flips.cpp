// SPDX-License-Identifier: GPL-3.0-or-later
// A single flipped bit anywhere in the data of a packed file makes the round-trip proof fail, in every format. All bits of
// small tensors are tried. The independent decoder alone, without the comparison of bytes, notices all but the few that are
// named.
#include "core/export/export.h"
#include "core/export/proof.h"
#include "core/io/atomic_file.h"
#include "core/io/gguf.h"
#include "core/io/npy.h"
#include "core/quant/decode.h"
#include "core/run/run.h"
#include "tests/support/files.h"

#include <QtTest>

#include <cmath>
#include <fstream>
#include <set>

using namespace nibble;
namespace fs = std::filesystem;

namespace {

struct Case {
  const char *name, *format, *choice;
  std::uint64_t rows, columns;
  std::set<std::string> harmless{};  // bits that change no value, so that only the comparison of bytes can see them
  bool awayFromZero = false;         // a float's sign means nothing at 0
};

// Odd counts and filled-up groups stand among them: their padding is checked as well.
const Case cases[] = {
    {"hqq 4", "hqq", "hqq:group=16", 4, 32},
    {"hqq 3 padded rows", "hqq", "hqq:bits=3,group=16", 7, 16},
    {"hqq 2 axis 0", "hqq", "hqq:bits=2,group=8,axis=0,params=f32", 8, 8},
    {"hqq 1", "hqq", "hqq:bits=1,group=8", 8, 8},
    {"hqq 5 in 8", "hqq", "hqq:bits=5,group=8,params=bf16", 4, 8},
    {"hqq of uniform", "hqq", "uniform:bits=8,granularity=channel", 8, 8},
    {"nf4 odd", "bnb", "nf4:block=32", 3, 25},
    {"nf4 nested", "bnb", "nf4:block=32,nested=true", 4, 32, {"m.weight.nested_absmax:0", "m.weight.nested_absmax:1"}},
    {"fp4 odd", "bnb", "fp4:block=32", 3, 25},
    {"gptq 4", "gptq", "uniform:bits=4,granularity=group,group=32,symmetric=true", 32, 32},
    {"gptq 3 two groups", "gptq", "uniform:bits=3,granularity=group,group=32,symmetric=true", 32, 64},
    {"gptq 2 v2", "gptq_v2", "uniform:bits=2,granularity=group,group=32,symmetric=false", 32, 32},
    {"gptq 8 v2", "gptq_v2", "uniform:bits=8,granularity=channel,symmetric=false", 32, 32},
    {"gptq_p 7", "gptq_p", "uniform:bits=7,granularity=channel,symmetric=false", 32, 32},
    {"awq", "awq", "uniform:bits=4,granularity=group,group=16,symmetric=false", 8, 32},
    {"exl2 two widths", "exl2", "exl2:mix=5b:0.5@32+2b:0.5@32", 32, 64},
    {"mbwq 4", "mbwq", "mbwq:bits=4,group=32", 4, 64},
    {"mbwq two widths", "mbwq", "mbwq:mix=3b:0.5@32+2b:0.5@32", 4, 64},
    {"ct 4", "compressed-tensors", "uniform:bits=4,granularity=group,group=16,symmetric=true", 3, 32},
    {"ct 3 padded words", "compressed-tensors", "uniform:bits=3,granularity=channel,symmetric=false", 5, 36},
    {"ct 8 zeros down the rows", "compressed-tensors", "uniform:bits=8,granularity=group,group=16,symmetric=false", 3, 32},
    {"ct int8", "compressed-tensors", "uniform:bits=8,granularity=channel", 4, 32},
    {"mlx 4", "mlx", "minmax:bits=4,group=32", 4, 64},
    {"mlx 3 of zero points", "mlx", "uniform:bits=3,granularity=group,group=32,symmetric=false", 2, 64},
    {"mlx 5", "mlx", "minmax:bits=5,group=64,params=bf16", 4, 64},
    {"fp8 tiles", "fp8", "fp8:granularity=block,group=8", 6, 12},
    {"fp8 rows", "fp8", "fp8:granularity=channel", 4, 16},
    {"fp8 e5m2, one scale", "fp8", "fp8:element=e5m2,granularity=tensor", 4, 16},
    {"document 000", "document000", "minmax:bits=3,group=12", 5, 7},
    {"document 000, 2 bits", "document000", "minmax:bits=2,group=12,params=f32", 4, 9, {"m.bits:0"}},
    {"gguf q4_0", "gguf", "q4_0", 2, 64},
    {"gguf q4_1", "gguf", "q4_1", 2, 64},
    {"gguf q5_0", "gguf", "q5_0", 2, 64},
    {"gguf q5_1", "gguf", "q5_1", 2, 64},
    {"gguf q8_0", "gguf", "q8_0", 1, 64},
    {"gguf q2_k", "gguf", "q2_k", 1, 256},
    {"gguf q3_k", "gguf", "q3_k", 1, 256},
    {"gguf q4_k", "gguf", "q4_k", 1, 256},
    {"gguf q5_k", "gguf", "q5_k", 1, 256},
    {"gguf q6_k", "gguf", "q6_k", 1, 256},
    {"gguf iq4_nl", "gguf", "iq4_nl", 2, 64},
    {"gguf iq4_xs", "gguf", "iq4_xs", 1, 256},
    {"gguf tq1_0", "gguf", "tq1_0", 2, 256},
    {"gguf tq2_0", "gguf", "tq2_0", 1, 256},
    {"gguf q1_0", "gguf", "q1_0", 4, 128},
    {"gguf q2_0", "gguf", "q2_0", 4, 64},
    {"gguf mxfp4", "gguf", "mxfp4:variant=ggml", 2, 64, {}, true},
    {"gguf nvfp4", "gguf", "nvfp4:variant=ggml", 2, 64, {}, true},
    {"gguf f16", "gguf", "float:type=f16", 2, 32},
    {"gguf bf16", "gguf", "float:type=bf16", 2, 32},
    {"gguf of uniform", "gguf", "uniform:bits=8,granularity=channel,symmetric=true,params=f16", 2, 32},
    {"diffq", "diffq", "diffq:bits=3,group=5", 5, 15},
    {"diffq 11 bits", "diffq", "diffq:bits=11,group=0", 3, 17},
    {"npz integer", "npz", "hqq:bits=4,group=16", 4, 16},
    {"npz table", "npz", "nf4:block=32", 2, 32},
    {"npz codebook", "npz", "codebook:bits=2,granularity=channel", 3, 16},
};

std::vector<float> weights(std::uint64_t count, bool awayFromZero) {
  std::vector<float> values(count);
  std::uint32_t state = 12345;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = (static_cast<float>(state >> 8) / 16777216.0f - 0.47f) * (state % 11 == 0 ? 3.0f : 1.0f);
    if (awayFromZero) value = std::copysign(0.5f + std::fabs(value), value);
  }
  return values;
}

class Written {
 public:
  explicit Written(const Case& row) : m_format(findFormat(row.format)) {
    const Tensor tensor = Tensor::fromFloats("m.weight", {row.rows, row.columns}, weights(row.rows * row.columns, row.awayFromZero));
    const auto outcome = run(tensor, *Choice::parse(row.choice), {});
    if (!outcome) qFatal("%s", outcome.error().message.c_str());
    m_tensor = outcome->quantized;
    m_layer = {"m.weight", m_tensor.get(), std::nullopt};
    auto arrays = m_format->pack(m_layer);
    if (!arrays) qFatal("%s", arrays.error().message.c_str());
    m_arrays = std::move(*arrays);
    if (m_format->info().extension == ".npz") {
      if (!writeNpz(file(), m_arrays)) qFatal("cannot write");
    } else {
      auto out = AtomicFile::create(file());
      const bool gguf = m_format->info().extension == ".gguf";
      if (!out || !(gguf ? writeGguf(*out, m_arrays, {}) : writeSafetensors(*out, m_arrays)) || !out->commit()) qFatal("cannot write");
    }
    m_bytes = test::readWhole(file());
    m_shown = decodeAll(*m_tensor);
  }

  [[nodiscard]] fs::path file() const { return m_scratch.file("w"); }
  [[nodiscard]] const std::string& bytes() const { return m_bytes; }
  // Where array `name`'s data begin and end in the file.
  [[nodiscard]] std::pair<std::size_t, std::size_t> placeOf(const RawTensor& array) const {
    const std::string data(reinterpret_cast<const char*>(array.bytes().data()), array.bytes().size());
    const std::size_t at = m_bytes.rfind(data);
    return {at, at + data.size()};
  }
  [[nodiscard]] const std::vector<RawTensor>& arrays() const { return m_arrays; }

  // In place: rewriting the whole file for each bit would wait for the disk.
  void setByte(std::size_t at, char byte) const {
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(at));
    stream.put(byte);
  }
  [[nodiscard]] bool proofHolds() const {
    const auto largest = proveLayer(*m_format, file(), m_layer, m_arrays, {});
    return largest && *largest == 0;
  }
  [[nodiscard]] bool decoderHolds() const {
    const auto values = m_format->proofDecodeAs(file(), "m.weight", m_tensor->shape);
    return values && *values == m_shown;
  }

 private:
  test::ScratchFolder m_scratch;
  const Format* m_format;
  std::shared_ptr<const QuantizedTensor> m_tensor;
  ExportLayer m_layer;
  std::vector<RawTensor> m_arrays;
  std::string m_bytes;
  std::vector<float> m_shown;
};

}  // namespace

class TestFormatFlips : public QObject {
  Q_OBJECT
 private slots:
  void everyBitOfTheData_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(std::size(cases)); ++i) QTest::newRow(cases[i].name) << i;
  }

  void everyBitOfTheData() {
    QFETCH(int, index);
    const Written written(cases[index]);
    QVERIFY(written.proofHolds());
    QVERIFY(written.decoderHolds());
    // Safetensors data are the end of the file, without holes; the arrays of a zip are found by their bytes.
    std::size_t total = 0;
    for (const RawTensor& array : written.arrays()) total += array.bytes().size();
    std::size_t bits = 0, unseenByProof = 0;
    std::set<std::string> unseen;
    const bool anywhere = written.bytes().starts_with("PK") || written.bytes().starts_with("GGUF");
    for (const RawTensor& array : written.arrays()) {
      if (array.bytes().empty()) continue;
      const auto [begin, end] = written.placeOf(array);
      QVERIFY(begin != std::string::npos);
      QVERIFY(anywhere || begin >= written.bytes().size() - total);
      for (std::size_t bit = begin * 8; bit < end * 8; ++bit, ++bits) {
        const char byte = written.bytes()[bit / 8];
        written.setByte(bit / 8, static_cast<char>(byte ^ (1 << (bit % 8))));
        const bool seen = !written.decoderHolds();
        if (!seen) unseen.insert(array.name + ":" + std::to_string(bit - begin * 8));
        // The whole proof contains the decoder; where that has noticed, every 31st bit is enough to show it.
        if (!seen || bits % 31 == 0) unseenByProof += written.proofHolds() ? 1 : 0;
        written.setByte(bit / 8, byte);
      }
    }
    QVERIFY(bits > 500);
    QCOMPARE(unseenByProof, std::size_t{0});
    QCOMPARE(unseen, cases[index].harmless);
  }
};

QTEST_APPLESS_MAIN(TestFormatFlips)
#include "test_format_flips.moc"
