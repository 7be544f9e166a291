// SPDX-License-Identifier: GPL-3.0-or-later
// The scheme diffq against diffq 0.2.4 (data/diffq.json): levels under learned bits out of a file, the true model size; the
// uniform quantizer's values; files of bits that do not fit; the packed format with bits that differ, read back and broken.
#include "core/formats/format.h"
#include "core/io/atomic_file.h"
#include "core/io/safetensors_writer.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/choice.h"
#include "core/run/run.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QTest>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>

using namespace nibble;
using nlohmann::json;

namespace {

Tensor tensorOf(const std::string& name, const json& array) {
  Shape shape;
  for (const json& side : array["shape"]) shape.push_back(side.get<std::uint64_t>());
  return Tensor::fromFloats(name, shape, test::floatsFromJson(array["data"]));
}

Result<Outcome> quantized(const Tensor& tensor, const std::string& text) {
  const auto choice = Choice::parse(text);
  if (!choice) return fail(choice.error());
  return run(tensor, *choice, {});
}

std::string writeBits(const test::ScratchFolder& folder, const std::string& name, const std::vector<float>& bits) {
  const std::filesystem::path path = folder.file("bits.safetensors");
  test::writeWhole(path, test::safetensorsOf({{name, bits}, {"another", {1, 2, 3}}}));
  return "@" + path.string();
}

}  // namespace

class TestDiffqGolden : public QObject {
  Q_OBJECT

 private slots:
  void initTestCase() { m_file = test::loadJson("diffq.json"); }

  void levels() {
    int tensors = 0;
    for (const json& row : m_file["cases"]) {
      if (row["op"] != "diffq") continue;
      const auto group = row["settings"]["group_size"].get<int>();
      for (const auto& [name, expected] : row["expect"]["quantized"].items()) {
        const Tensor tensor = tensorOf(name + ".weight", row["input"][name + "_weight"]);
        const test::ScratchFolder folder;
        const std::string file = writeBits(folder, tensor.name(), test::floatsFromJson(expected["bits"]));
        const auto outcome = quantized(tensor, "diffq:bits=" + file + ",group=" + std::to_string(group));
        QVERIFY2(outcome, outcome ? "" : outcome.error().message.c_str());
        std::set<std::size_t> ambiguous;
        for (const json& index : expected["ambiguous_flat_indices"]) ambiguous.insert(index.get<std::size_t>());
        const json& levels = expected["levels"]["data"];
        QCOMPARE(outcome->quantized->codes.size(), levels.size());
        for (std::size_t i = 0; i < levels.size(); ++i) {
          const auto difference = outcome->quantized->codes.at(i) - levels[i].get<std::int64_t>();
          QVERIFY2(std::abs(difference) <= (ambiguous.contains(i) ? 1 : 0), row["name"].get<std::string>().c_str());
        }
        ++tensors;
      }
    }
    QCOMPARE(tensors, 9);
  }

  void trueModelSize() {
    for (const json& row : m_file["cases"]) {
      if (row["op"] != "diffq" || row["settings"]["float16_small_params"].get<bool>()) continue;
      const auto group = row["settings"]["group_size"].get<int>();
      double bytes = 4.0 * static_cast<double>(row["input"]["fc_bias"].size());
      for (const auto& [name, expected] : row["expect"]["quantized"].items()) {
        const test::ScratchFolder folder;
        const std::string file = writeBits(folder, name + ".weight", test::floatsFromJson(expected["bits"]));
        const auto outcome = quantized(tensorOf(name + ".weight", row["input"][name + "_weight"]),
                                       "diffq:bits=" + file + ",group=" + std::to_string(group));
        QVERIFY(outcome);
        bytes += static_cast<double>(storageSize(*outcome->quantized).total());
      }
      const double expected = row["expect"]["true_model_size_mb"].get<double>() * 1048576;
      // The reference counts bits; ours are whole bytes for each of codes and bits.
      QVERIFY2(bytes >= expected && bytes < expected + 4, row["name"].get<std::string>().c_str());
    }
    // Spec uniform 5.5: 65,536 weights in groups of 8, 8 bits each, are 548,936 bits.
    const auto outcome = quantized(Tensor::fromFloats("w", {256, 256}, std::vector<float>(65536, 0.5f)), "diffq:bits=8,group=8");
    QVERIFY(outcome);
    QCOMPARE(storageSize(*outcome->quantized).total() * 8, std::uint64_t{548936});
  }

  void uniformQuantizer() {
    for (const json& row : m_file["cases"]) {
      if (row["op"] != "uniform") continue;
      const double bits = row["settings"]["bits"].get<double>();
      if (bits != std::floor(bits)) continue;  // the scheme has whole bits
      const auto outcome = quantized(tensorOf("w", row["input"]), "diffq:group=0,bits=" + std::to_string(static_cast<int>(bits)));
      QVERIFY(outcome);
      const json& expected = row["expect"];
      const auto values = decodeAll(*outcome->quantized);
      for (std::size_t i = 0; i < values.size(); ++i) {
        QCOMPARE(outcome->quantized->codes.at(i), expected["levels"][i].get<std::int64_t>());
        QVERIFY(std::fabs(values[i] - expected["dequantized"][i].get<float>()) <= 1.2e-7f);
      }
    }
  }

  void constantTensor() {
    const auto outcome = quantized(Tensor::fromFloats("w", {2, 8}, std::vector<float>(16, -0.25f)), "diffq");
    QVERIFY(outcome);
    QCOMPARE(outcome->report.maxError(), 0.0);
  }

  void refusals() {
    const Tensor tensor = Tensor::fromFloats("w", {3, 8}, std::vector<float>(24, 0.5f));
    const test::ScratchFolder folder;
    const auto message = [&](const std::string& text) {
      const auto outcome = quantized(tensor, text);
      return outcome ? QString("accepted") : QString::fromStdString(outcome.error().message);
    };
    QVERIFY(message("diffq:bits=16").contains("2..15"));
    QVERIFY(message("diffq:bits=1").contains("2..15"));
    QVERIFY(message("diffq:bits=many").contains("2..15"));
    QVERIFY(message("diffq:group=7").contains("24 weights"));
    QVERIFY(message("diffq:bits=@" + folder.file("none.npy").string()).contains("none.npy"));
    QVERIFY(message("diffq:bits=" + writeBits(folder, "w", {8, 8})).contains("2 numbers of bits for the 3 groups"));
    QVERIFY(message("diffq:bits=" + writeBits(folder, "other", {8, 8, 8})).contains("holds no bits for w"));
    QVERIFY(message("diffq:bits=" + writeBits(folder, "w", {8, NAN, 8})).contains("group 1"));
  }

  void textForm() {
    const auto choice = Choice::parse("clip/diffq:bits=@/a/b.c/bits.npy,group=16");
    QVERIFY2(choice, choice ? "" : choice.error().message.c_str());
    QVERIFY(choice->text().find("diffq:bits=@/a/b.c/bits.npy,group=16,extra=0") != std::string::npos);
    QVERIFY(Choice::parse(choice->text()) == *choice);
  }

  void packedAndBack() {
    const json& row = m_file["cases"][0];
    const test::ScratchFolder folder;
    const Tensor tensor = tensorOf("fc.weight", row["input"]["fc_weight"]);
    const auto bits = test::floatsFromJson(row["expect"]["quantized"]["fc"]["bits"]);
    const auto outcome = quantized(tensor, "diffq:bits=" + writeBits(folder, "fc.weight", bits));
    QVERIFY(outcome);
    const Format& format = *findFormat("diffq");
    const auto arrays = format.pack({"fc.weight", outcome->quantized.get(), {}});
    QVERIFY(arrays);
    QCOMPARE(format.payloadBytes({"fc.weight", outcome->quantized.get(), {}}, *arrays), storageSize(*outcome->quantized).total());
    const std::filesystem::path path = folder.file("packed.safetensors");
    const auto write = [&](const std::vector<RawTensor>& list) {
      std::filesystem::remove(path);
      auto out = AtomicFile::create(path);
      QVERIFY(out && writeSafetensors(*out, list) && out->commit());
    };
    write(*arrays);
    const auto expected = decodeAll(*outcome->quantized);
    const auto file = Checkpoint::open(path);
    QVERIFY(file);
    const auto layers = format.detect(**file);
    QCOMPARE(layers.size(), std::size_t{1});
    const auto back = format.read(**file, layers.front());
    QVERIFY2(back, back ? "" : back.error().message.c_str());
    QCOMPARE(decodeAll(*back), expected);
    QCOMPARE(*format.proofDecode(path, "fc.weight"), expected);

    // Broken files are refused by reader and proof, naming the part.
    const auto broken = [&](const char* part, const std::function<void(RawTensor&)>& change) {
      std::vector<RawTensor> list = *arrays;
      for (RawTensor& array : list)
        if (array.name == std::string("fc.") + part) change(array);
      write(list);
      const auto opened = Checkpoint::open(path);
      QVERIFY(opened);
      const auto found = format.detect(**opened);
      if (!found.empty()) {
        const auto read = format.read(**opened, found.front());
        QVERIFY2(!read, part);
        QVERIFY2(read.error().message.find("fc.") != std::string::npos, read.error().message.c_str());
      }
      QVERIFY2(!format.proofDecode(path, "fc.weight"), part);
    };
    const auto number = [](std::int64_t value) {
      return [value](RawTensor& array) { std::memcpy(array.owned.data(), &value, sizeof value); };
    };
    broken("group_size", number(7));
    broken("group_size", number(0));
    broken("group_size", number(16));
    broken("min_bits", number(3));
    broken("min_bits", number(1));
    broken("bits_width", [](RawTensor& array) { array.owned[0] = std::byte{9}; });
    broken("range", [](RawTensor& array) { array.owned[3] = std::byte{0x7F}, array.owned[2] = std::byte{0xC0}; });
    broken("bits", [](RawTensor& array) { array.owned[0] = static_cast<std::byte>(~static_cast<unsigned>(array.owned[0])); });
  }

 private:
  json m_file;
};

QTEST_MAIN(TestDiffqGolden)
#include "test_diffq_golden.moc"
