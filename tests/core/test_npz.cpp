// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/npy.h"

#include "core/io/checkpoint.h"
#include "core/io/zip_directory.h"
#include "core/io/zip_writer.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QTest>

#include <unistd.h>
#include <zip.h>

#include <atomic>
#include <cstdio>
#include <thread>

using namespace nibble;
using namespace nibble::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string messageOf(const Result<std::shared_ptr<const Checkpoint>>& opened) {
  return opened ? "opened" : opened.error().message;
}

struct Member {
  std::string name, bytes;
  bool deflate = false;
};

// Archives from libzip's own writer.
void writeZip(const std::filesystem::path& path, const std::vector<Member>& members) {
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  QVERIFY(archive != nullptr);
  for (const Member& member : members) {
    const zip_int64_t index =
        zip_file_add(archive, member.name.c_str(), zip_source_buffer(archive, member.bytes.data(), member.bytes.size(), 0),
                     ZIP_FL_ENC_UTF_8);
    QVERIFY(index >= 0);
    QCOMPARE(
        zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), member.deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 9),
        0);
  }
  QCOMPARE(zip_close(archive), 0);
}

std::string imageOf(const Tensor& tensor) {
  const auto image = *npyImage(rawTensor(tensor));
  return {reinterpret_cast<const char*>(image.data()), image.size()};
}

void replaceAll(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

std::string littleEndian(std::uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>((value >> (8 * i)) & 0xFF);
  return bytes;
}

}  // namespace

class TestNpz : public QObject {
  Q_OBJECT
 private slots:
  void archivesOfNumPy() {
    for (const char* name : {"stored.npz", "deflated.npz"}) {
      const auto opened = Checkpoint::open(dataPath(std::string("numpy/") + name));
      QVERIFY2(opened, messageOf(opened).c_str());
      QCOMPARE((*opened)->format(), std::string_view("npz"));
      std::vector<std::string> names;
      for (const TensorEntry& entry : (*opened)->entries()) names.push_back(entry.name);
      QVERIFY((names == std::vector<std::string>{"w", "f", "h", "s", "bf", "e"}));
      const std::vector<float> values{-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6};
      for (const char* array : {"w", "f", "h", "bf"}) {
        const Result<Tensor> tensor = (*opened)->read(array);
        QVERIFY((tensor->shape() == Shape{3, 4}));
        QVERIFY2(*tensor->readAll() == values, array);
      }
      QVERIFY((*opened)->read("bf")->type() == DType::BF16);
      QCOMPARE((*opened)->read("s")->readAll()->front(), 3.0f);
      QVERIFY((*opened)->read("e")->readAll()->empty());
      // The text beside them is told of, not in the way.
      QCOMPARE((*opened)->metadata().size(), std::size_t{1});
      QCOMPARE((*opened)->metadata()[0].first, std::string("skipped: text.npy"));
    }
    QVERIFY((*Checkpoint::open(dataPath("numpy/empty.npz")))->entries().empty());
    QVERIFY(contains(messageOf(Checkpoint::open(dataPath("numpy/only_text.npz"))), "text.npy"));
  }

  void storedArraysLieInTheMap() {
    const auto opened = *Checkpoint::open(dataPath("numpy/stored.npz"));
    const Result<Tensor> first = opened->read("w");
    const Result<Tensor> again = opened->read("w");
    QCOMPARE(first->bytes().data(), again->bytes().data());
    const auto inflated = *Checkpoint::open(dataPath("numpy/deflated.npz"));
    const Result<Tensor> one = inflated->read("w");
    const Result<Tensor> other = inflated->read("w");
    QVERIFY(one->bytes().data() != other->bytes().data());
  }

  void writtenArchivesAreReadByLibzip() {
    const ScratchFolder folder;
    const Tensor w = Tensor::fromFloats("層/weight", {2, 2}, {1, 2, 3, 4});
    const std::vector<RawTensor> arrays{
        rawTensor(w), {"codes", DType::U8, {3}, {std::byte{7}, std::byte{8}, std::byte{9}}}, {"none", DType::I32, {0}, {}}};
    QVERIFY(writeNpz(folder.file("a.npz"), arrays));
    QVERIFY(writeNpz(folder.file("b.npz"), arrays));
    QVERIFY(readWhole(folder.file("a.npz")) == readWhole(folder.file("b.npz")));
    QVERIFY(!writeNpz(folder.file("c.npz"), {arrays[1], arrays[1]}));
    QVERIFY((folder.names() == std::vector<std::string>{"a.npz", "b.npz"}));
    zip_t* archive = zip_open(folder.file("a.npz").c_str(), ZIP_RDONLY | ZIP_CHECKCONS, nullptr);
    QVERIFY(archive != nullptr);
    QCOMPARE(zip_get_num_entries(archive, 0), zip_int64_t{3});
    QCOMPARE(zip_name_locate(archive, "層/weight.npy", 0), zip_int64_t{0});
    zip_file_t* member = zip_fopen(archive, "codes.npy", 0);
    std::string bytes(200, '\0');
    const zip_int64_t got = zip_fread(member, bytes.data(), bytes.size());  // reads to the end: the checksum is compared
    QVERIFY(got > 3);
    QCOMPARE(bytes.substr(static_cast<std::size_t>(got) - 3, 3), std::string("\7\10\11"));
    QCOMPARE(zip_fclose(member), 0);
    zip_discard(archive);
    const auto opened = *Checkpoint::open(folder.file("a.npz"));
    QVERIFY(*opened->read("層/weight")->readAll() == *w.readAll());
    QVERIFY(opened->read("層/weight")->floats());
    QCOMPARE(reinterpret_cast<std::uintptr_t>(opened->read("codes")->bytes().data()) % 64, std::uintptr_t{0});
  }

  void checksumIsZips() {
    const std::string digits = "123456789";
    QCOMPARE(crc32(std::as_bytes(std::span(digits))), 0xCBF43926u);
    QCOMPARE(crc32(std::as_bytes(std::span(digits).subspan(5)), crc32(std::as_bytes(std::span(digits).first(5)))), 0xCBF43926u);
    QCOMPARE(crc32({}), 0u);
  }

  void manyThreadsInflate() {
    const ScratchFolder folder;
    std::vector<Member> members;
    for (int i = 0; i < 8; ++i)
      members.push_back({"a" + std::to_string(i) + ".npy",
                         imageOf(Tensor::fromFloats("a", {20'000}, std::vector<float>(20'000, static_cast<float>(i)))), true});
    writeZip(folder.file("a.npz"), members);
    const auto opened = *Checkpoint::open(folder.file("a.npz"));
    std::atomic<int> right{0};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
          for (std::size_t i = 0; i < 8; ++i)
            if (opened->read(i)->readAll()->back() == static_cast<float>(i)) ++right;
        });
    }
    QCOMPARE(right.load(), 32);
  }

  void lyingSizesAndDamageAreRefused() {
    const ScratchFolder folder;
    const auto path = folder.file("a.npz");
    const std::string image = imageOf(Tensor::fromFloats("w", {1000}, std::vector<float>(1000, 1.25f)));
    const std::string size = littleEndian(static_cast<std::uint32_t>(image.size()));
    const std::string most = littleEndian(0xFFFFFFF0u);
    writeZip(path, {{"w.npy", image, true}});
    const std::string deflated = readWhole(path);
    QVERIFY((*Checkpoint::open(path))->read(0));
    std::string bomb = deflated;
    replaceAll(bomb, size, most);
    writeWhole(path, bomb);
    QVERIFY2(contains(messageOf(Checkpoint::open(path)), "can inflate to"), messageOf(Checkpoint::open(path)).c_str());
    writeZip(path, {{"w.npy", image.substr(0, image.size() - 4), true}});
    QVERIFY2(contains(messageOf(Checkpoint::open(path)), "takes 4000 bytes, the member holds 3996"),
             messageOf(Checkpoint::open(path)).c_str());
    writeZip(path, {{"w.npy", image + "more", false}});
    QVERIFY(contains(messageOf(Checkpoint::open(path)), "the member holds 4004"));
    // The header is whole, values are not: found when they are read.
    std::string damaged = deflated;
    damaged[damaged.find("w.npy") + 5 + 40] ^= 0x10;
    writeWhole(path, damaged);
    const auto opened = Checkpoint::open(path);
    if (opened) QVERIFY(!(*opened)->read(0));
    writeZip(path, {{"w.npy", image, false}});
    std::string stored = readWhole(path);
    replaceAll(stored, size, most);
    writeWhole(path, stored);
    QVERIFY2(contains(messageOf(Checkpoint::open(path)), "past the end of the file"),
             messageOf(Checkpoint::open(path)).c_str());
  }

  void brokenArchivesAreRefused() {
    const ScratchFolder folder;
    const auto path = folder.file("a.npz");
    const std::string image = imageOf(Tensor::fromFloats("w", {4}, {1, 2, 3, 4}));
    writeZip(path, {{"w.npy", image}, {"b.npy", image, true}});
    const std::string whole = readWhole(path);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      writeWhole(path, whole.substr(0, length));
      QVERIFY2(!Checkpoint::open(path), qPrintable(QString::number(length)));
    }
    writeZip(path, {{"w.npy", "no array"}});
    QVERIFY(contains(messageOf(Checkpoint::open(path)), "\"w.npy\""));
    writeZip(path, {{"w.npy", image.substr(0, 50)}});
    QVERIFY(contains(messageOf(Checkpoint::open(path)), "\"w.npy\""));
    writeZip(path, {{"w.npy", image}, {"v.npy", image}});
    std::string twice = readWhole(path);
    replaceAll(twice, "v.npy", "w.npy");
    writeWhole(path, twice);
    QVERIFY2(contains(messageOf(Checkpoint::open(path)), "there twice"), messageOf(Checkpoint::open(path)).c_str());
    std::string renamed = whole;
    renamed[renamed.find("w.npy")] = 'x';
    writeWhole(path, renamed);
    QVERIFY(contains(messageOf(Checkpoint::open(path)), "another name"));
  }

  // 5 GB of zeros in one stored member take zip64 sizes, and a directory behind 4 GB its own record.
  void archivesAboveFourGigabytes() {
    const ScratchFolder folder;
    const auto path = folder.file("large.npz");
    constexpr std::uint64_t elements = std::uint64_t{5} << 30;
    const auto put16 = [](std::uint16_t v) { return littleEndian(v).substr(0, 2); };
    const auto put64 = [](std::uint64_t v) {
      return littleEndian(static_cast<std::uint32_t>(v)) + littleEndian(static_cast<std::uint32_t>(v >> 32));
    };
    std::string dict = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + std::to_string(elements) + ",), }\n";
    const std::string head = std::string("\x93NUMPY\x01\x00", 8) + put16(static_cast<std::uint16_t>(dict.size())) + dict;
    const std::uint64_t size = head.size() + elements;
    const std::string extra = put16(1) + put16(16) + put64(size) + put64(size);
    const std::string facts = put16(45) + put16(0) + put16(0) + put16(0) + put16(33) + littleEndian(0) + littleEndian(~0u) +
                              littleEndian(~0u) + put16(5);
    const std::string local =
        littleEndian(0x04034b50) + facts + put16(static_cast<std::uint16_t>(extra.size())) + "w.npy" + extra;
    writeWhole(path, local + head);
    const std::uint64_t begin = local.size() + size;
    const std::string record = littleEndian(0x02014b50) + put16(45) + facts + put16(static_cast<std::uint16_t>(extra.size())) +
                               std::string(10, '\0') + littleEndian(0) + "w.npy" + extra;
    const std::string end64 = littleEndian(0x06064b50) + put64(44) + put16(45) + put16(45) + put64(0) + put64(1) + put64(1) +
                              put64(record.size()) + put64(begin);
    const std::string locator = littleEndian(0x07064b50) + littleEndian(0) + put64(begin + record.size()) + littleEndian(1);
    const std::string end = littleEndian(0x06054b50) + littleEndian(0) + put16(1) + put16(1) +
                            littleEndian(static_cast<std::uint32_t>(record.size())) + littleEndian(~0u) + put16(0);
    if (::truncate(path.c_str(), static_cast<off_t>(begin)) != 0) QSKIP("the file system holds no sparse file of 5 GB");
    FILE* file = std::fopen(path.c_str(), "ab");
    for (const std::string& part : {record, end64, locator, end}) std::fwrite(part.data(), 1, part.size(), file);
    std::fclose(file);
    const auto opened = Checkpoint::open(path);
    QVERIFY2(opened, messageOf(opened).c_str());
    QCOMPARE((*opened)->entries()[0].sizeBytes, elements);
    float last = 1;
    QVERIFY((*opened)->read(0)->read(elements - 1, {&last, 1}));
    QCOMPARE(last, 0.0f);
  }
};

QTEST_APPLESS_MAIN(TestNpz)
#include "test_npz.moc"
