// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/npy.h"

#include "core/io/checkpoint.h"
#include "tests/support/files.h"
#include "tests/support/golden.h"

#include <QTest>

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace nibble;
using namespace nibble::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A version 1.0 array with the header as it is given.
std::string npyWith(const std::string& header, const std::string& data) {
  std::string bytes("\x93NUMPY\x01\x00", 8);
  bytes += static_cast<char>(header.size() & 0xFF);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

Result<NpyHeader> parse(const std::string& bytes) {
  return parseNpyHeader(std::as_bytes(std::span(bytes)));
}

}  // namespace

class TestNpy : public QObject {
  Q_OBJECT
 private slots:
  void arraysOfNumPy_data() {
    QTest::addColumn<QString>("name");
    const nlohmann::json cases = loadJson("numpy/cases.json");
    for (const auto& [name, expected] : cases.items()) QTest::newRow(name.c_str()) << QString::fromStdString(name);
  }
  void arraysOfNumPy() {
    QFETCH(QString, name);
    const nlohmann::json expected = loadJson("numpy/cases.json")[name.toStdString()];
    const auto opened = Checkpoint::open(dataPath("numpy/" + name.toStdString() + ".npy"));
    QVERIFY2(opened, opened ? "" : opened.error().message.c_str());
    QCOMPARE((*opened)->format(), std::string_view("npy"));
    QCOMPARE((*opened)->entries().size(), std::size_t{1});
    QCOMPARE((*opened)->entries()[0].name, name.toStdString());
    QVERIFY((*opened)->entries()[0].shape == expected["shape"].get<Shape>());
    const auto values = (*opened)->read(0)->readAll();
    const std::vector<float> wanted = floatsFromJson(expected["values"]);
    QCOMPARE(values->size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      QVERIFY2(std::isnan(wanted[i]) ? std::isnan((*values)[i])
                                     : (*values)[i] == wanted[i] && std::signbit((*values)[i]) == std::signbit(wanted[i]),
               qPrintable(QString::number(i)));
  }

  void whatIsNoWeightIsRefused_data() {
    QTest::addColumn<QString>("file");
    for (const char* name : {"object", "string", "bytes", "date", "record", "e4m3_without_name"})
      QTest::newRow(name) << QString(name);
  }
  void whatIsNoWeightIsRefused() {
    QFETCH(QString, file);
    const auto path = dataPath("numpy/refused_" + file.toStdString() + ".npy");
    const auto opened = Checkpoint::open(path);
    QVERIFY(!opened);
    QVERIFY2(opened.error().message.starts_with(path.string() + ": "), opened.error().message.c_str());
    QVERIFY(contains(opened.error().message, file == "record" ? "records" : "type "));
  }

  void headersAreReadAsPythonWritesThem() {
    const auto ok = parse(npyWith("{ \"shape\" : ( 2L , 3L ) , 'descr':\"<f4\",'fortran_order':True }\n", ""));
    QVERIFY2(ok, ok ? "" : ok.error().message.c_str());
    QVERIFY((ok->shape == Shape{2, 3}) && ok->fortranOrder && ok->type == DType::F32);
    QVERIFY(parse(npyWith("{'descr': 'bfloat16', 'fortran_order': False, 'shape': (), }", ""))->type == DType::BF16);
    QVERIFY(parse(npyWith("{'descr': 'float8_e4m3fn', 'fortran_order': False, 'shape': (4,)}", ""))->type == DType::F8E4M3);
    QVERIFY(!parse(npyWith("{'descr': '>i1', 'fortran_order': False, 'shape': ()}", ""))->bigEndian);
    QVERIFY(parse(npyWith("{'descr': '>i2', 'fortran_order': False, 'shape': ()}", ""))->bigEndian);
  }

  void brokenHeadersAreRefused() {
    const std::string rest = "'fortran_order': False, 'shape': (2,)}";
    const std::vector<std::string> headers{"",
                                           "[]",
                                           "{" + rest,
                                           "{'descr': '<f4', 'shape': (2,)}",
                                           "{'descr': '<f4', 'fortran_order': False}",
                                           "{'descr': '<f4', 'descr': '<f4', " + rest,
                                           "{'descr': '<f4', 'more': 1, " + rest,
                                           "{'descr': '<f4', " + rest + " x",
                                           "{'descr': '<f4', 'fortran_order': 0, 'shape': (2,)}",
                                           "{'descr': '<f4', 'fortran_order': False, 'shape': (2)}",
                                           "{'descr': '<f4', 'fortran_order': False, 'shape': [2]}",
                                           "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
                                           "{'descr': '<f4', 'fortran_order': False, 'shape': (2,",
                                           "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                                           "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
                                           "{'descr': '<f16', " + rest,
                                           "{'descr': 'f4', " + rest,
                                           "{'descr': '', " + rest,
                                           "{'descr': '>V2', " + rest,
                                           "{'descr': '<f4",
                                           "{'descr': '<f4', " + rest.substr(0, rest.size() - 1)};
    for (const std::string& header : headers) QVERIFY2(!parse(npyWith(header, "")), header.c_str());
    QVERIFY(!parse(""));
    QVERIFY(!parse("\x93NUMPY"));
    QVERIFY(!parse(std::string("\x93NUMPY\x04\x00\x02\x00{}", 12)));
    QVERIFY(!parse(std::string("\x93NUMPY\x01\x01\x02\x00{}", 12)));
    QVERIFY(!parse(std::string("\x93NUMPY\x01\x00\xFF\x00{}", 12)));
    QVERIFY(!parse(std::string("\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", 12)));
  }

  void theFileMustHoldWhatTheShapeTakes() {
    const ScratchFolder folder;
    const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
    for (const std::size_t bytes : {0, 7, 9, 12}) {
      writeWhole(folder.file("a.npy"), npyWith(header, std::string(bytes, 'x')));
      const auto opened = Checkpoint::open(folder.file("a.npy"));
      QVERIFY(!opened);
      QVERIFY2(contains(opened.error().message, "takes 8 bytes, the file holds " + std::to_string(bytes)),
               opened.error().message.c_str());
    }
  }

  void aTransposedFileThatShrinksIsAnError() {
    const ScratchFolder folder;
    const std::string header = "{'descr': '<f4', 'fortran_order': True, 'shape': (256, 256), }\n";
    writeWhole(folder.file("a.npy"), npyWith(header, std::string(256 * 256 * 4, 'x')));
    const auto opened = *Checkpoint::open(folder.file("a.npy"));
    QVERIFY(opened->read(0));
    QCOMPARE(::truncate(folder.file("a.npy").c_str(), 4096), 0);
    QVERIFY(contains(opened->read(0).error().message, "shrank"));
  }

  // Byte for byte what numpy.save writes.
  void imagesEqualNumPys() {
    for (const char* name : {"c_f4", "c_f8", "c_f2", "c_i1", "c_u1", "c_i2", "c_u2", "c_i4", "c_u4", "c_i8", "c_u8", "c_b1",
                             "scalar", "one_dimension", "empty"}) {
      const auto path = dataPath(std::string("numpy/") + name + ".npy");
      const auto image = npyImage(rawTensor(*(*Checkpoint::open(path))->read(0)));
      QVERIFY(image);
      const std::string bytes(reinterpret_cast<const char*>(image->data()), image->size());
      QVERIFY2(bytes == readWhole(path), name);
    }
    const auto bfloat = npyImage({"b", DType::BF16, {1}, {std::byte{0}, std::byte{0}}});
    QVERIFY(!bfloat);
    QVERIFY(contains(bfloat.error().message, "NumPy has no name for BF16"));
    QVERIFY(!npyImage({"b", DType::U8, {2}, {std::byte{0}}}));
  }

  void writtenFilesReadBack() {
    const ScratchFolder folder;
    const Tensor tensor = Tensor::fromFloats("w", {2, 3}, {1, 2, 3, 4, 5, -6});
    QVERIFY(writeNpy(folder.file("w.npy"), rawTensor(tensor)));
    const auto opened = *Checkpoint::open(folder.file("w.npy"));
    QVERIFY(*opened->read("w")->readAll() == *tensor.readAll());
  }
};

QTEST_APPLESS_MAIN(TestNpy)
#include "test_npy.moc"
