// SPDX-License-Identifier: GPL-3.0-or-later
// Hostile and odd GGUF files: each opens or is refused as its list says, and a refusal names the file and a reason.
#include "core/io/checkpoint.h"
#include "core/io/gguf.h"
#include "tests/support/golden.h"

#include <QtTest>
#include <cstring>

using namespace nibble;

class TestGgufMalformed : public QObject {
  Q_OBJECT
 private slots:
  void verdicts_data();
  void verdicts();
  void nestingBomb();
};

void TestGgufMalformed::verdicts_data() {
  QTest::addColumn<QString>("file");
  QTest::addColumn<bool>("valid");
  for (const auto& entry : test::loadJson("gguf/malformed/index.json")) {
    const std::string file = entry["file"];
    QTest::newRow(file.c_str()) << QString::fromStdString(file) << (entry["verdict"] == "valid");
  }
}

void TestGgufMalformed::verdicts() {
  QFETCH(QString, file);
  QFETCH(bool, valid);
  const auto opened = Checkpoint::open(test::dataPath("gguf/malformed/" + file.toStdString()));
  QVERIFY2(opened.has_value() == valid, opened ? "opened" : opened.error().message.c_str());
  if (valid) {
    for (std::size_t i = 0; i < (*opened)->entries().size(); ++i) QVERIFY((*opened)->read(i));
  } else {
    const QString message = QString::fromStdString(opened.error().message);
    QVERIFY2(message.contains(file + ": ") && message.size() > file.size() + 10, qPrintable(message));
  }
}

// 20,000 arrays in one another: refused at the first, without recursion.
void TestGgufMalformed::nestingBomb() {
  std::string bytes = "GGUF";
  const auto put = [&bytes](const auto& number) { bytes.append(reinterpret_cast<const char*>(&number), sizeof number); };
  put(std::uint32_t{3}), put(std::uint64_t{0}), put(std::uint64_t{1}), put(std::uint64_t{1});
  bytes += "x";
  for (int i = 0; i < 20000; ++i) put(std::uint32_t{9}), (i == 0 ? void() : put(std::uint64_t{1}));
  bytes.append(64, '\0');
  const auto header = parseGgufHeader(std::as_bytes(std::span(bytes)));
  QVERIFY(!header);
  QVERIFY(header.error().message.find("arrays of arrays") != std::string::npos);
}

QTEST_GUILESS_MAIN(TestGgufMalformed)
#include "test_gguf_malformed.moc"
