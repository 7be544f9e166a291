// SPDX-License-Identifier: GPL-3.0-or-later
// Packed layers on the command line: export without a scheme, and what info, compare and inspect say of EXL2 and MBWQ files.
#include "tests/app/cli_runner.h"

#include <QDir>
#include <QTemporaryDir>
#include <QtTest>

#include <cmath>

using namespace nibble;
using namespace nibble::test;

class TestCliConvert : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }
  QString exl2() const { return file("exl2"); }

 private slots:
  void initTestCase() {
    const Ran made = runCli({"export", samplePath(), "exl2:mix=5b:0.25@64+3b:0.75@64", "--tensor", sampleTensor(), "--format",
                             "exl2", "--out", exl2(), "--json"});
    QVERIFY2(made.status == 0, made.err.constData());
    QVERIFY(made.json()["verified"].get<bool>());
  }

  void withoutASchemeCodesStay() {
    const Ran ran = runCli({"export", exl2(), "--format", "mbwq", "--out", file("mbwq"), "--json"});
    QVERIFY2(ran.status == 0, ran.err.constData());
    const auto json = ran.json();
    QVERIFY(json["verified"].get<bool>());
    QCOMPARE(json["tensors"].size(), std::size_t{1});
    QVERIFY(json["tensors"][0]["exact"].get<bool>());
    QCOMPARE(json["tensors"][0]["maxDifference"].get<double>(), 0.0);
    QCOMPARE(QString::fromStdString(json["tensors"][0]["name"].get<std::string>()), sampleTensor());
    for (const QString& from : {exl2(), file("mbwq")}) {
      const Ran decoded = runCli({"decode", from, "--tensor", sampleTensor(), "--out", from + ".npy", "--json"});
      QVERIFY2(decoded.status == 0, decoded.err.constData());
    }
    QFile a(exl2() + ".npy"), b(file("mbwq.npy"));
    QVERIFY(a.open(QIODevice::ReadOnly) && b.open(QIODevice::ReadOnly));
    QCOMPARE(a.readAll(), b.readAll());
  }

  void whatIsNotPackedNeedsAScheme() {
    const Ran ran = runCli({"export", samplePath(), "--format", "mbwq", "--out", file("none")});
    QCOMPARE(ran.status, 2);
    QVERIFY2(ran.err.contains("no packed layers"), ran.err.constData());
    const Ran refused = runCli({"export", exl2(), "--format", "bnb", "--out", file("none")});
    QCOMPARE(refused.status, 1);
    QVERIFY2(refused.err.contains("cannot hold") && refused.err.count('\n') == 1, refused.err.constData());
    QVERIFY(!QFile::exists(file("none")));
  }

  void packedLayersAreListedComparedAndInspected() {
    const auto info = runCli({"info", exl2(), "--json"}).json();
    QCOMPARE(info["tensors"].size(), std::size_t{1});
    QVERIFY(info["tensors"][0]["quantizedAs"].get<std::string>().starts_with("exl2"));
    // Quantized again to the same mix it is measured against the decoded values.
    const Ran compared = runCli({"compare", exl2(), "mbwq", "--reference", samplePath(), "--json"});
    QVERIFY2(compared.status == 0, compared.err.constData());
    const Ran inspected = runCli({"inspect", exl2(), "--tensor", sampleTensor(), "--row", "7", "--column", "200", "--json"});
    QVERIFY2(inspected.status == 0, inspected.err.constData());
    const auto weight = inspected.json();
    QCOMPARE(weight["codeBits"].get<int>(), 3);
    QCOMPARE(weight["wordBits"].get<int>(), 32);
    QCOMPARE(QString::fromStdString(weight["layout"].get<std::string>()), QString("5/3 bit, words down the input"));
    std::int64_t code = 0;
    for (const auto& place : weight["places"]) {
      const auto word = std::stoull(place["word"].get<std::string>(), nullptr, 16);
      const int first = place["bitRange"][0].get<int>(), last = place["bitRange"][1].get<int>();
      code |= static_cast<std::int64_t>(word >> first & ((1ull << (last - first + 1)) - 1)) << place["codeShift"].get<int>();
    }
    QCOMPARE(code, weight["code"].get<std::int64_t>());
    const float value = weight["value"].get<float>(), scale = weight["scale"].get<float>();
    QVERIFY(std::fabs(value - scale * static_cast<float>(code - 4)) <= std::fabs(value) / 1024);
  }
};

QTEST_GUILESS_MAIN(TestCliConvert)
#include "test_cli_convert.moc"
