// SPDX-License-Identifier: GPL-3.0-or-later
// Packed layers that the real libraries wrote decode to what those libraries themselves say, bit for bit. tests/data/packed has
// one layer of each; NIBBLE_PACKED names a folder with whole checkpoints of the same kind, which are then read too.
#include "core/formats/format.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <cmath>
#include <cstdlib>

using namespace nibble;
namespace fs = std::filesystem;

namespace {

struct Known {
  const char* folder;
  const char* format;  // nullptr: none of ours
  const char* description;
  int layers = 1;
};

constexpr Known known[] = {
    {"hqq-4b-g64-ax1", "hqq", "hqq 4 bit group 64 axis 1"},
    {"hqq-3b-g64-ax1", "hqq", "hqq 3 bit group 64 axis 1"},
    {"hqq-2b-g16-ax0", "hqq", "hqq 2 bit group 16 axis 0"},
    {"hqq-8b-g32-ax1", "hqq", "hqq 8 bit group 32 axis 1"},
    {"bnb-nf4", "bnb", "nf4 block 64"},
    {"bnb-nf4-dq", "bnb", "nf4 block 64 nested"},
    {"bnb-nf4-storage-bf16", "bnb", "nf4 block 64"},
    {"bnb-fp4", "bnb", "fp4 block 64"},
    {"bnb-fp4-dq", "bnb", "fp4 block 64 nested"},
    {"gptq-3b-g32-asym", "gptq", "gptq 3 bit group 32"},
    {"gptq-2b-g32-asym", "gptq", "gptq 2 bit group 32"},
    {"gptq-8b-g64-sym", "gptq", "gptq 8 bit group 64"},
    {"gptq-4b-g32-desc_act", "gptq", "gptq 4 bit group 32"},
    {"gptq-4b-perchannel", "gptq", "gptq 4 bit group 64"},
    {"gptq_v2-4b-g64-asym", "gptq_v2", "gptq_v2 4 bit group 64"},
    {"gptq-autogptq-4b-g32", "gptq", "gptq 4 bit group 32"},
    {"ar-auto_round-W2A16-g32-asym", "gptq_v2", "gptq_v2 2 bit group 32"},
    {"ar-auto_round-W4A16-g32", "gptq", "gptq 4 bit group 32"},
    {"ar-auto_round-W3A16-g64", "gptq", "gptq 3 bit group 64"},
    {"ar-auto_gptq-W4A16-g32", "gptq", "gptq 4 bit group 32"},
    {"gptq-4b-g128-sym", "gptq", "gptq 4 bit group 128"},
    {"gptq-4b-g32-asym", "gptq", "gptq 4 bit group 32"},
    {"gptq-dynamic", "gptq", nullptr, 2},  // q_proj 4 bits, down_proj 8 bits, k_proj left float
    {"gptq_p-6b-g32", "gptq_p", "gptq_p 6 bit group 32"},
    {"awq-autoawq-4b-g32", "awq", "awq 4 bit group 32"},
    {"awq-gptqmodel-4b-g128", "awq", "awq 4 bit group 128"},
    {"ar-auto_awq-W4A16-g32", "awq", "awq 4 bit group 32"},
};

// Every layer of the folder's model against its expected weights; the number of layers that were ours.
int compareFolder(const fs::path& folder, const char* format, const char* description) {
  const auto model = Checkpoint::open(folder / "model.safetensors"),
             expected = Checkpoint::open(folder / "expected.safetensors");
  if (!model || !expected) {
    QTest::qFail("cannot open the test data", __FILE__, __LINE__);
    return 0;
  }
  int compared = 0;
  for (const DetectedLayer& found : detectPacked(**model)) {
    if (format != nullptr && found.format->info().id != format)
      QTest::qFail(found.layer.description.c_str(), __FILE__, __LINE__);
    if (description != nullptr && found.layer.description != description)
      QTest::qFail(found.layer.description.c_str(), __FILE__, __LINE__);
    const auto tensor = found.format->read(**model, found.layer);
    if (!tensor) {
      QTest::qFail(tensor.error().message.c_str(), __FILE__, __LINE__);
      continue;
    }
    const auto weight = (*expected)->read(std::string_view(found.layer.name));
    if (!weight) {
      QTest::qFail(weight.error().message.c_str(), __FILE__, __LINE__);
      continue;
    }
    const std::vector<float> theirs = *weight->readAll(), ours = decodeAll(*tensor);
    std::size_t differing = ours.size() == theirs.size() ? 0 : ours.size();
    for (std::size_t i = 0; i < ours.size() && differing == 0; ++i) differing += ours[i] == theirs[i] ? 0 : 1;
    if (differing != 0)
      QTest::qFail(qPrintable(QString("%1 decodes differently").arg(found.layer.name.c_str())), __FILE__, __LINE__);
    if (!(bitsPerWeight(*tensor) > 0.9 && bitsPerWeight(*tensor) < 12)) QTest::qFail("impossible size", __FILE__, __LINE__);
    ++compared;
  }
  return compared;
}

}  // namespace

class TestPackedRead : public QObject {
  Q_OBJECT
 private slots:
  void layerDecodesAsItsLibrarySays_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(std::size(known)); ++i) QTest::newRow(known[i].folder) << i;
  }

  void layerDecodesAsItsLibrarySays() {
    QFETCH(int, index);
    const Known& row = known[index];
    const int compared = compareFolder(test::dataPath("packed") / row.folder, row.format, row.description);
    QCOMPARE(compared, row.format == nullptr ? 0 : row.layers);
  }

  // Packing what was read gives the file's own arrays back.
  void readThenPackedAgainIsTheSame_data() {
    QTest::addColumn<int>("index");
    for (int i = 0; i < static_cast<int>(std::size(known)); ++i)
      if (const std::string format = known[i].format == nullptr ? "" : known[i].format; format == "hqq" || format == "bnb")
        QTest::newRow(known[i].folder) << i;
  }

  void readThenPackedAgainIsTheSame() {
    QFETCH(int, index);
    const auto model = Checkpoint::open(test::dataPath("packed") / known[index].folder / "model.safetensors");
    QVERIFY(model.has_value());
    const auto found = detectPacked(**model);
    QCOMPARE(found.size(), std::size_t{1});
    const auto tensor = found[0].format->read(**model, found[0].layer);
    QVERIFY(tensor.has_value());
    const auto arrays = found[0].format->pack({found[0].layer.name, &*tensor, std::nullopt});
    QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
    QCOMPARE(arrays->size(), (*model)->entries().size());
    for (const RawTensor& array : *arrays) {
      const auto theirs = (*model)->read(std::string_view(array.name));
      QVERIFY2(theirs.has_value(), array.name.c_str());
      const bool otherStorage = theirs->type() != array.type;  // bnb_4bit_quant_storage: the same bytes under another type
      QVERIFY2(otherStorage || theirs->shape() == array.shape, array.name.c_str());
      QVERIFY2(std::ranges::equal(theirs->bytes(), array.bytes()), array.name.c_str());
    }
  }

  // What the files say of their zero points agrees with what the zero points look like, save where nothing is said.
  void readingsAreTold_data() {
    QTest::addColumn<QString>("folder");
    QTest::addColumn<QString>("doubt");  // part of it; empty: none
    for (const Known& row : known)
      if (const std::string format = row.format == nullptr ? "" : row.format; format == "gptq" || format == "gptq_v2")
        QTest::newRow(row.folder) << row.folder
                                  << (std::string_view(row.folder) == "ar-auto_gptq-W4A16-g32"
                                          ? "the config does not name the version; read as v1 because every stored zero point is"
                                          : "");
  }

  void readingsAreTold() {
    QFETCH(QString, folder);
    QFETCH(QString, doubt);
    const auto model = Checkpoint::open(test::dataPath("packed") / folder.toStdString() / "model.safetensors");
    QVERIFY(model.has_value());
    for (const DetectedLayer& found : detectPacked(**model)) {
      const PackedLayer& layer = found.layer;
      const std::vector<std::string> first{"v1", "v2"}, second{"v2", "v1"};
      QCOMPARE(layer.readings, found.format->info().id == "gptq" ? first : second);
      QVERIFY2(layer.doubt.empty() == doubt.isEmpty() && layer.doubt.find(doubt.toStdString()) != std::string::npos,
               layer.doubt.c_str());
      const auto taken = found.format->read(**model, layer), same = found.format->readAs(**model, layer, layer.readings[0]),
                 other = found.format->readAs(**model, layer, layer.readings[1]);
      QVERIFY(taken && same && other);
      QCOMPARE(decodeAll(*taken), decodeAll(*same));
      // One zero point less or more: one scale apart.
      QVERIFY(decodeAll(*taken) != decodeAll(*other));
      QVERIFY(!found.format->readAs(**model, layer, "v3").has_value());
    }
  }

  void everyFolder() {
    const char* const whole = std::getenv("NIBBLE_PACKED");
    const fs::path root = whole != nullptr ? fs::path(whole) : test::dataPath("packed");
    int compared = 0;
    for (const auto& folder : fs::directory_iterator(root))
      if (fs::exists(folder.path() / "model.safetensors") && fs::exists(folder.path() / "expected.safetensors"))
        compared += compareFolder(folder.path(), nullptr, nullptr);
    QVERIFY(compared >= (whole != nullptr ? 100 : 18));
  }
};

QTEST_APPLESS_MAIN(TestPackedRead)
#include "test_packed_read.moc"
