// SPDX-License-Identifier: GPL-3.0-or-later
// Packed layers that the real libraries wrote decode to what those libraries themselves say, bit for bit. tests/data/packed has
// a folder of each, one row of the test; NIBBLE_PACKED names another folder of whole checkpoints, which are then read instead.
#include "core/formats/format.h"
#include "core/io/atomic_file.h"
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/weight_list.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QtTest>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <regex>
#include <set>

using namespace nibble;
namespace fs = std::filesystem;

namespace {

// How some layers are described to people: the first layer found in the folder.
const std::map<std::string, std::string>& descriptions() {
  static const std::map<std::string, std::string> known = {
      {"hqq-4b-g64-ax1", "hqq 4 bit group 64 axis 1"},
      {"hqq-3b-g64-ax1", "hqq 3 bit group 64 axis 1"},
      {"hqq-2b-g16-ax0", "hqq 2 bit group 16 axis 0"},
      {"hqq-8b-g32-ax1", "hqq 8 bit group 32 axis 1"},
      {"bnb-nf4", "nf4 block 64"},
      {"bnb-nf4-dq", "nf4 block 64 nested"},
      {"bnb-nf4-storage-bf16", "nf4 block 64"},
      {"bnb-fp4", "fp4 block 64"},
      {"bnb-fp4-dq", "fp4 block 64 nested"},
      {"bnb-int8", "LLM.int8"},
      {"gptq-3b-g32-asym", "gptq 3 bit group 32"},
      {"gptq-2b-g32-asym", "gptq 2 bit group 32"},
      {"gptq-8b-g64-sym", "gptq 8 bit group 64"},
      {"gptq-4b-g32-desc_act", "gptq 4 bit group 32"},
      {"gptq-4b-perchannel", "gptq 4 bit group 64"},
      {"gptq_v2-4b-g64-asym", "gptq_v2 4 bit group 64"},
      {"gptq-autogptq-4b-g32", "gptq 4 bit group 32"},
      {"ar-auto_round-W2A16-g32-asym", "gptq_v2 2 bit group 32"},
      {"ar-auto_round-W4A16-g32", "gptq 4 bit group 32"},
      {"ct-W4A16_ASYM-g32", "pack-quantized 4 bit, 32 along the row"},
      {"ct-W8A8", "int-quantized, one per row"},
      {"mlx-5b-g32", "mlx affine 5 bit group 32"},
      {"mlx-mxfp8", "mlx mxfp8 8 bit group 32"},
      {"mlx-nvfp4", "mlx nvfp4 4 bit group 16"},
      {"quanto-qint4", "quanto qint4 group 96"},
      {"torchao-int8wo", "torchao int8 group 64"},
      {"fp8-block32", "fp8 e4m3, tiles of 32 x 32"},
      {"fp8-block32-ue8m0", "fp8 e4m3, tiles of 32 x 32, scales powers of two"},
      {"gptoss-mxfp4", "gpt-oss mxfp4"},
  };
  return known;
}

void note(const std::string& what) {
  QTest::qFail(what.c_str(), __FILE__, __LINE__);
}

void compareLayer(const Checkpoint& model, const DetectedLayer& found, const Tensor& weight) {
  const auto tensor = found.format->read(model, found.layer);
  if (!tensor) return note(tensor.error().message);
  if (tensor->shape != weight.shape() || found.layer.shape != weight.shape())
    note(found.layer.name + ": shape " + toText(tensor->shape) + ", not " + toText(weight.shape()));
  const std::vector<float> theirs = *weight.readAll(), ours = decodeAll(*tensor);
  std::size_t differing = ours.size() == theirs.size() ? 0 : ours.size();
  for (std::size_t i = 0; i < ours.size() && differing == 0; ++i) differing += ours[i] == theirs[i] ? 0 : 1;
  if (differing != 0) note(found.layer.name + " (" + found.layer.description + ") decodes differently");
  std::vector<float> literal(ours.size());
  decodeLiterally(*tensor, 0, literal);
  if (literal != ours) note(found.layer.name + ": the literal decoder differs");
  if (!(bitsPerWeight(*tensor) > 0.9 && bitsPerWeight(*tensor) < 12)) note("impossible size");
}

// Every layer that the folder's library decoded is found once and gives the same floats, and nothing else is claimed. Returns
// how many there were.
int compareFolder(const fs::path& folder) {
  const auto model = Checkpoint::open(folder / "model.safetensors"), expected = Checkpoint::open(folder / "expected.safetensors");
  if (!model || !expected) {
    note(folder.string() + ": cannot be opened");
    return 0;
  }
  const std::vector<DetectedLayer> layers = detectPacked(**model);
  std::set<std::string> missing;
  for (const TensorEntry& entry : (*expected)->entries()) missing.insert(entry.name);
  for (const DetectedLayer& found : layers) {
    if (missing.erase(found.layer.name) == 0) {
      note(found.layer.name + " (" + found.layer.description + ") is claimed, twice or although it is not packed");
      continue;
    }
    compareLayer(**model, found, *(*expected)->read(std::string_view(found.layer.name)));
  }
  for (const std::string& name : missing) note(name + " is not found");
  const auto known = descriptions().find(folder.filename().string());
  const bool whole = std::getenv("NIBBLE_PACKED") != nullptr;
  if (!whole && known != descriptions().end() && (layers.empty() || layers[0].layer.description != known->second))
    note(layers.empty() ? "no layer" : layers[0].layer.description);
  return static_cast<int>(layers.size());
}

std::vector<fs::path> folders() {
  const char* const whole = std::getenv("NIBBLE_PACKED");
  std::vector<fs::path> found;
  for (const auto& folder : fs::directory_iterator(whole != nullptr ? fs::path(whole) : test::dataPath("packed")))
    if (fs::exists(folder.path() / "model.safetensors") && fs::exists(folder.path() / "expected.safetensors"))
      found.push_back(folder.path());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

class TestPackedRead : public QObject {
  Q_OBJECT
 private slots:
  void folderDecodesAsItsLibrarySays_data() {
    QTest::addColumn<QString>("folder");
    for (const fs::path& folder : folders()) QTest::newRow(folder.filename().c_str()) << QString::fromStdString(folder.string());
    QVERIFY(folders().size() >= 50);
  }

  void folderDecodesAsItsLibrarySays() {
    QFETCH(QString, folder);
    const fs::path path = folder.toStdString();
    const int compared = compareFolder(path);
    QVERIFY(compared > 0);
  }

  // A matrix of a stack is read alone, under the stack's name with or without ".weight".
  void matrixOfAStackIsReadAlone() {
    const fs::path folder = test::dataPath("packed") / "gptoss-mxfp4";
    const auto model = Checkpoint::open(folder / "model.safetensors"), expected = Checkpoint::open(folder / "expected.safetensors");
    QVERIFY(model && expected);
    const WeightList weights(*model), wanted(*expected);
    const std::string name = "model.layers.0.mlp.experts.down_proj";
    for (const char* const suffix : {"[0]", "[2]"}) {
      const auto theirs = wanted.read(name + suffix);
      QVERIFY2(theirs.has_value(), theirs ? "" : theirs.error().message.c_str());
      for (const std::string& spelled : {name + suffix, name + ".weight" + suffix}) {
        const auto ours = weights.read(spelled);
        QVERIFY2(ours.has_value(), ours ? "" : ours.error().message.c_str());
        QCOMPARE(ours->shape(), (Shape{64, 96}));
        QVERIFY(*ours->readAll() == *theirs->readAll());
        const auto item = weights.packedItem(spelled);
        QVERIFY(item && item->shape == ours->shape() && item->bitsPerWeight() == 4.25);
        const auto packed = weights.readPacked(*item);
        QVERIFY(packed && decodeAll(*packed) == *theirs->readAll());
      }
    }
    QVERIFY(!weights.read(name + "[3]").has_value());
    QVERIFY(!weights.read("model.layers.0.self_attn.k_proj").has_value());  // stored tensors go by their own name
    const auto all = weights.select({}, {});
    QVERIFY(all && std::find(all->begin(), all->end(), name + "[1]") != all->end());
  }

  // Packing what was read gives the file's own arrays back.
  void readThenPackedAgainIsTheSame_data() {
    QTest::addColumn<QString>("folder");
    static const std::regex written("^(hqq-[0-9]|bnb-(nf4|fp4)|ct-(W|FP8|MX)|ar-auto_round-MX|mlx-|fp8-block32-|fp8-block128).*");
    for (const fs::path& folder : folders())
      if (std::regex_match(folder.filename().string(), written))
        QTest::newRow(folder.filename().c_str()) << QString::fromStdString(folder.string());
  }

  void readThenPackedAgainIsTheSame() {
    QFETCH(QString, folder);
    const auto model = Checkpoint::open(fs::path(folder.toStdString()) / "model.safetensors");
    QVERIFY(model.has_value());
    const auto layers = detectPacked(**model);
    QVERIFY(!layers.empty());
    for (const DetectedLayer& found : layers) {
      const auto tensor = found.format->read(**model, found.layer);
      QVERIFY(tensor.has_value());
      const auto arrays = found.format->pack({found.layer.name, &*tensor, std::nullopt});
      QVERIFY2(arrays.has_value(), arrays ? "" : arrays.error().message.c_str());
      QCOMPARE(arrays->size(), found.layer.parts.size());
      for (const RawTensor& array : *arrays) {
        const auto theirs = (*model)->read(std::string_view(array.name));
        QVERIFY2(theirs.has_value(), array.name.c_str());
        const bool otherStorage = theirs->type() != array.type;  // bnb_4bit_quant_storage: the same bytes under another type
        QVERIFY2(otherStorage || theirs->shape() == array.shape || elementCount(theirs->shape()) == 1, array.name.c_str());
        QVERIFY2(std::ranges::equal(theirs->bytes(), array.bytes()), array.name.c_str());
      }
      // And the independent decoder, which has only that file, agrees.
      const test::ScratchFolder scratch;
      auto file = AtomicFile::create(scratch.file("w"));
      QVERIFY(file.has_value() && writeSafetensors(*file, *arrays) && file->commit());
      const auto proven = found.format->proofDecodeAs(scratch.file("w"), found.layer.name, tensor->shape);
      QVERIFY2(proven.has_value(), proven ? "" : proven.error().message.c_str());
      QVERIFY2(*proven == decodeAll(*tensor), found.layer.name.c_str());
    }
  }

  // What the files say of their zero points agrees with what the zero points look like, save where nothing is said.
  void readingsAreTold_data() {
    QTest::addColumn<QString>("folder");
    for (const fs::path& folder : folders())
      if (const auto model = Checkpoint::open(folder / "model.safetensors"))
        if (const auto found = detectPacked(**model); !found.empty() && !found[0].layer.readings.empty())
          QTest::newRow(folder.filename().c_str()) << QString::fromStdString(folder.string());
  }

  void readingsAreTold() {
    QFETCH(QString, folder);
    const auto model = Checkpoint::open(fs::path(folder.toStdString()) / "model.safetensors");
    QVERIFY(model.has_value());
    const bool silent = folder.endsWith("ar-auto_gptq-W4A16-g32");
    for (const DetectedLayer& found : detectPacked(**model)) {
      const PackedLayer& layer = found.layer;
      const std::vector<std::string> first{"v1", "v2"}, second{"v2", "v1"};
      QCOMPARE(layer.readings, found.format->info().id == "gptq" ? first : second);
      QVERIFY2(layer.doubt.empty() != silent, layer.doubt.c_str());
      if (silent)
        QVERIFY(layer.doubt.find("the config does not name the version; read as v1 because every stored zero point is") !=
                std::string::npos);
      const auto taken = found.format->read(**model, layer), same = found.format->readAs(**model, layer, layer.readings[0]),
                 other = found.format->readAs(**model, layer, layer.readings[1]);
      QVERIFY(taken && same && other);
      QCOMPARE(decodeAll(*taken), decodeAll(*same));
      // One zero point less or more: one scale apart.
      QVERIFY(decodeAll(*taken) != decodeAll(*other));
      QVERIFY(!found.format->readAs(**model, layer, "v3").has_value());
    }
  }
};

QTEST_APPLESS_MAIN(TestPackedRead)
#include "test_packed_read.moc"
