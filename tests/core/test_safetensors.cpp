// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/safetensors.h"

#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QTest>

#include <cstring>
#include <map>

using namespace nibble;
using namespace nibble::test;

namespace {

// What each refusal must speak of: a file may be refused for the wrong reason too.
const std::map<std::string, std::string> reasons{{"empty_file", "too short"},
                                                 {"seven_bytes", "too short"},
                                                 {"header_length_past_end", "past the end"},
                                                 {"header_length_over_limit", "above the format's limit"},
                                                 {"header_length_wraps", "above the format's limit"},
                                                 {"header_zero_length", "does not begin with '{'"},
                                                 {"header_not_json", "JSON is broken"},
                                                 {"header_truncated_json", "JSON is broken"},
                                                 {"header_is_array", "does not begin with '{'"},
                                                 {"header_leading_space", "does not begin with '{'"},
                                                 {"header_trailing_nul", "JSON is broken"},
                                                 {"header_bom", "does not begin with '{'"},
                                                 {"header_invalid_utf8", "JSON is broken"},
                                                 {"header_nesting_bomb", "JSON is broken"},
                                                 {"duplicate_key", "\"a\": the name occurs twice"},
                                                 {"duplicate_key_same_range", "\"a\": the name occurs twice"},
                                                 {"metadata_not_strings", "is not a string"},
                                                 {"missing_shape", "\"a\": shape is missing"},
                                                 {"unknown_dtype", "\"a\": unknown dtype \"Q4_0\""},
                                                 {"negative_dim", "\"a\": a dimension"},
                                                 {"fractional_dim", "\"a\": a dimension"},
                                                 {"size_mismatch", "\"a\": shape 15 of F32 takes 60 bytes"},
                                                 {"begin_after_end", "\"a\": its bytes end (0) before they begin (64)"},
                                                 {"offset_past_end", "\"a\": its bytes end at 4096"},
                                                 {"overlapping_tensors", "\"b\": its bytes overlap those of \"a\""},
                                                 {"hole_between_tensors", "\"b\": 8 bytes before it"},
                                                 {"hole_at_start", "\"a\": 8 bytes before it"},
                                                 {"trailing_bytes", "16 bytes after the last tensor"},
                                                 {"dims_product_overflow", "\"a\": shape 4294967296 x 4294967296 x 4"},
                                                 {"dims_bytes_overflow", "\"a\": shape 4611686018427387904"}};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Result<SafetensorsHeader> parse(const std::string& bytes) {
  return parseSafetensorsHeader(std::as_bytes(std::span(bytes)));
}

std::string indexOf(const std::map<std::string, std::string>& weightMap) {
  return nlohmann::json{{"metadata", {{"total_size", 24}, {"note", "x"}}}, {"weight_map", weightMap}}.dump();
}

std::string messageOf(const Result<std::shared_ptr<const Checkpoint>>& opened) {
  return opened ? "opened" : opened.error().message;
}

// Two shards, "a" and "b" in the first, "c" in the second, and their index.
void writeShards(const ScratchFolder& folder) {
  writeWhole(folder.file("model-00001-of-00002.safetensors"), safetensorsOf({{"a", {1, 2}}, {"b", {3}}}));
  writeWhole(folder.file("model-00002-of-00002.safetensors"), safetensorsOf({{"c", {4, 5, 6}}}));
  writeWhole(folder.file("model.safetensors.index.json"), indexOf({{"a", "model-00001-of-00002.safetensors"},
                                                                   {"b", "model-00001-of-00002.safetensors"},
                                                                   {"c", "model-00002-of-00002.safetensors"}}));
}

std::vector<std::string> namesOf(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const TensorEntry& entry : checkpoint.entries()) names.push_back(entry.name);
  return names;
}

}  // namespace

class TestSafetensors : public QObject {
  Q_OBJECT
 private slots:
  void hostileAndValidFiles_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<bool>("valid");
    QTest::addColumn<QString>("answer");
    const nlohmann::json index = loadJson("malformed/index.json");
    for (const auto& entry : index["files"]) {
      if (entry["format"] != "safetensors") continue;
      const std::string file = entry["file"];
      QTest::newRow(file.c_str()) << QString::fromStdString(file) << (entry["verdict"] == "valid")
                                  << QString::fromStdString(entry["safetensors_rust"]);
    }
  }
  void hostileAndValidFiles() {
    QFETCH(QString, file);
    QFETCH(bool, valid);
    QFETCH(QString, answer);
    const auto path = dataPath("malformed/" + file.toStdString());
    const auto opened = Checkpoint::open(path);
    QVERIFY2(opened.has_value() == valid, messageOf(opened).c_str());
    if (!valid) {
      const auto reason = reasons.find(path.stem().string());
      QVERIFY(reason != reasons.end());
      QVERIFY2(contains(opened.error().message, reason->second), opened.error().message.c_str());
      QVERIFY(opened.error().message.starts_with(path.string() + ": "));
      QVERIFY(!contains(opened.error().message, "\n"));
      return;
    }
    // The reference reader's own list of names and shapes.
    const std::string list = answer.mid(static_cast<int>(std::strlen("accepts "))).section("; ", 0, 0).toStdString();
    const auto expected = nlohmann::json::parse(list);
    QCOMPARE((*opened)->entries().size(), expected.size());
    for (const TensorEntry& entry : (*opened)->entries()) {
      QVERIFY2(expected.contains(entry.name), entry.name.c_str());
      QVERIFY(expected[entry.name].get<Shape>() == entry.shape);
      QCOMPARE((*opened)->read(entry.name)->readAll()->size(), static_cast<std::size_t>(elementCount(entry.shape)));
    }
  }

  void offsetsDecideTheOrder() {
    const auto checkpoint = *Checkpoint::open(dataPath("malformed/ok_order_differs.safetensors"));
    QVERIFY((namesOf(*checkpoint) == std::vector<std::string>{"a", "b"}));
    QCOMPARE(checkpoint->format(), std::string_view("safetensors"));
  }

  void metadataIsKept() {
    const auto checkpoint = *Checkpoint::open(dataPath("malformed/ok_metadata_padding.safetensors"));
    QVERIFY(!checkpoint->metadata().empty());
  }

  void duplicatesWithinAnEntryAreRefused() {
    const std::string data(16, '\1');
    const auto twice =
        parse(safetensorsHead(R"({"a":{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}})") + data);
    QCOMPARE(twice.error().message, std::string("tensor \"a\": dtype occurs twice"));
    const auto metadata = parse(safetensorsHead(R"({"__metadata__":{"x":"1","x":"2"}})"));
    QVERIFY(contains(metadata.error().message, "\"x\" occurs twice"));
    QVERIFY(!parse(safetensorsHead(R"({"__metadata__":{},"__metadata__":{}})")));
    QVERIFY(!parse(safetensorsHead(R"({"__metadata__":null})")));
    QVERIFY(!parse(safetensorsHead(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16,16]}})") + data));
    QVERIFY(!parse(safetensorsHead(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})") + "x"));
    QVERIFY(parse(safetensorsHead(R"({"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}})") + "xx"));
  }

  void shapesFromNoneToFive() {
    const auto header = parse(safetensorsHead(R"({"s":{"dtype":"F16","shape":[],"data_offsets":[0,2]},)"
                                              R"("five":{"dtype":"U8","shape":[2,1,3,1,2],"data_offsets":[2,14]},)"
                                              R"("none":{"dtype":"F64","shape":[0,7],"data_offsets":[14,14]}})") +
                              std::string(14, 'x'));
    QVERIFY(header);
    QCOMPARE(header->entries.size(), std::size_t{3});
    QVERIFY((header->entries[1].shape == Shape{2, 1, 3, 1, 2}));
    QCOMPARE(header->entries[2].sizeBytes, std::uint64_t{0});
  }

  // Loaders look for model.safetensors alone; other files beside it are not part of the model.
  void wholeModelAloneBesideOthers() {
    const ScratchFolder folder;
    writeWhole(folder.file("model.safetensors"), safetensorsOf({{"a", {1, 2}}}));
    writeWhole(folder.file("expected.safetensors"), safetensorsOf({{"a", {3, 4}}, {"b", {5}}}));
    const auto opened = Checkpoint::open(folder.path());
    QVERIFY2(opened.has_value(), opened ? "" : opened.error().message.c_str());
    QCOMPARE((*opened)->files().size(), std::size_t{1});
    QCOMPARE((*opened)->entries().size(), std::size_t{1});
    QVERIFY(*(*opened)->read(std::string_view("a"))->readAll() == (std::vector<float>{1, 2}));
  }

  void shardsComeByTheirIndex() {
    const ScratchFolder folder;
    writeShards(folder);
    writeWhole(folder.file("config.json"), R"({"model_type":"x"})");
    // Neither of these is in the index, so neither is looked at.
    writeWhole(folder.file("consolidated.safetensors"), "broken");
    for (const auto& path : {folder.path(), folder.file("model.safetensors.index.json")}) {
      const auto opened = Checkpoint::open(path);
      QVERIFY2(opened, messageOf(opened).c_str());
      QVERIFY((namesOf(**opened) == std::vector<std::string>{"a", "b", "c"}));
      QCOMPARE((*opened)->path(), path);
      QCOMPARE((*opened)->files().size(), std::size_t{2});
      QCOMPARE((*opened)->entries()[2].file, 1u);
      QVERIFY((*(*opened)->read("c")->readAll() == std::vector<float>{4, 5, 6}));
      QCOMPARE((*opened)->configText(), std::string(R"({"model_type":"x"})"));
      QVERIFY(((*opened)->metadata() == std::vector<std::pair<std::string, std::string>>{{"note", "x"}, {"total_size", "24"}}));
      QVERIFY((*opened)->mappedBytes() > 0);
    }
    const auto single = Checkpoint::open(folder.file("model-00002-of-00002.safetensors"));
    QVERIFY((namesOf(**single) == std::vector<std::string>{"c"}));
  }

  void whatTheIndexPromisesMustBeThere() {
    const ScratchFolder folder;
    writeShards(folder);
    std::filesystem::remove(folder.file("model-00002-of-00002.safetensors"));
    const std::string missing = messageOf(Checkpoint::open(folder.path()));
    QVERIFY2(contains(missing, folder.file("model-00002-of-00002.safetensors").string()) && contains(missing, "\"c\""),
             missing.c_str());
    writeWhole(folder.file("model-00002-of-00002.safetensors"), safetensorsOf({{"d", {4}}}));
    const std::string absent = messageOf(Checkpoint::open(folder.path()));
    QVERIFY2(contains(absent, "model-00002-of-00002.safetensors: tensor \"c\": is not in this file"), absent.c_str());
    // One more than the index knows is listed; a name the index gives to the other shard is that shard's.
    writeWhole(folder.file("model-00002-of-00002.safetensors"), safetensorsOf({{"c", {4}}, {"a", {9, 9}}, {"extra", {7}}}));
    const auto opened = Checkpoint::open(folder.path());
    QVERIFY2(opened, messageOf(opened).c_str());
    QVERIFY((namesOf(**opened) == std::vector<std::string>{"a", "b", "c", "extra"}));
    QVERIFY((*(*opened)->read("a")->readAll() == std::vector<float>{1, 2}));
  }

  void brokenIndexesAreRefused() {
    const ScratchFolder folder;
    const auto index = folder.file("model.safetensors.index.json");
    const std::map<std::string, std::string> cases{{"", "JSON is broken"},
                                                   {"[]", "not an object"},
                                                   {"{}", "no object weight_map"},
                                                   {R"({"weight_map":[]})", "no object weight_map"},
                                                   {R"({"weight_map":{"a":3}})", "\"a\""},
                                                   {R"({"weight_map":{"a":"x","a":"x"}})", "twice"},
                                                   {R"({"weight_map":{"a":"../x.safetensors"}})", "../x.safetensors"},
                                                   {R"({"weight_map":{"a":"/etc/passwd"}})", "/etc/passwd"},
                                                   {R"({"weight_map":{"a":".."}})", "not the name of a file"},
                                                   {std::string(200'000, '['), "JSON is broken"}};
    for (const auto& [text, reason] : cases) {
      writeWhole(index, text);
      const std::string message = messageOf(Checkpoint::open(index));
      QVERIFY2(message.starts_with(index.string() + ": ") && contains(message, reason), message.c_str());
    }
  }

  void foldersWithoutIndex() {
    const ScratchFolder folder;
    QVERIFY(contains(messageOf(Checkpoint::open(folder.path())), "holds no weights"));
    writeWhole(folder.file("b.safetensors"), safetensorsOf({{"b", {2}}}));
    writeWhole(folder.file("a.safetensors"), safetensorsOf({{"a", {1}}}));
    const auto both = Checkpoint::open(folder.path());
    QVERIFY((namesOf(**both) == std::vector<std::string>{"a", "b"}));
    writeWhole(folder.file("c.safetensors"), safetensorsOf({{"a", {1}}}));
    const std::string twice = messageOf(Checkpoint::open(folder.path()));
    QVERIFY2(contains(twice, "tensor \"a\": is in two files, a.safetensors and c.safetensors"), twice.c_str());
    std::filesystem::remove(folder.file("c.safetensors"));
    writeWhole(folder.file("m-00001-of-00002.safetensors"), safetensorsOf({{"m", {1}}}));
    const std::string part = messageOf(Checkpoint::open(folder.path()));
    QVERIFY2(contains(part, "m-00002-of-00002.safetensors: this shard is missing"), part.c_str());
    writeWhole(folder.file("x.safetensors.index.json"), indexOf({{"a", "a.safetensors"}}));
    QVERIFY((namesOf(**Checkpoint::open(folder.path())) == std::vector<std::string>{"a"}));
    writeWhole(folder.file("y.safetensors.index.json"), indexOf({{"b", "b.safetensors"}}));
    QVERIFY(contains(messageOf(Checkpoint::open(folder.path())), "several indexes"));
  }
};

QTEST_APPLESS_MAIN(TestSafetensors)
#include "test_safetensors.moc"
