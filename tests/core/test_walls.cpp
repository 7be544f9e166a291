// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the whole source tree for crossed walls, and proves on bad snippets that the reading finds them.
#include "tests/support/golden.h"
#include "tests/support/walls.h"

#include <QtTest>

#include <fstream>
#include <iterator>
#include <regex>

namespace {

namespace fs = std::filesystem;
using namespace nibble::test;

const std::string spdx = "// SPDX-License-Identifier: GPL-3.0-or-later\n";

std::string readFile(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

SourceTree readTree() {
  const fs::path top = fs::canonical(resourcePath("") / "..");
  SourceTree tree;
  for (const char* folder : {"app", "core", "kernels", "ui", "tests"})
    for (const auto& entry : fs::recursive_directory_iterator(top / folder))
      if (entry.is_regular_file() && std::regex_search(entry.path().string(), std::regex(R"(\.(cpp|h|cu|cuh)$)")))
        tree[entry.path().lexically_relative(top).generic_string()] = readFile(entry.path());
  return tree;
}

WallFacts readFacts() {
  const fs::path top = resourcePath("") / "..";
  WallFacts facts;
  const std::string list = readFile(top / "core/schemes/CMakeLists.txt");
  std::smatch match;
  if (std::regex_search(list, match, std::regex(R"(set\(schemes([^)]*)\))"))) {
    std::istringstream words(match[1].str());
    for (std::string word; words >> word;) facts.schemes.push_back(word);
  }
  for (const auto& entry : fs::directory_iterator(top / "core/formats"))
    if (entry.is_directory()) facts.formats.push_back(entry.path().filename().string());
  return facts;
}

QByteArray listed(const std::vector<WallFinding>& findings) {
  QByteArray text;
  for (const WallFinding& finding : findings)
    text += "\n" + QByteArray::fromStdString(finding.file + ":" + std::to_string(finding.line) + ": " + finding.what);
  return text;
}

}  // namespace

class TestWalls : public QObject {
  Q_OBJECT
 private slots:
  void theTreeKeepsItsWalls() {
    const SourceTree tree = readTree();
    QVERIFY(tree.size() > 50);
    const WallFacts facts = readFacts();
    std::vector<WallFinding> findings = proofFindings(tree);
    for (const auto& [path, text] : tree) {
      const auto more = wallFindings(path, text, facts);
      findings.insert(findings.end(), more.begin(), more.end());
    }
    QVERIFY2(findings.empty(), listed(findings).constData());
  }

  void badSnippetsAreFound_data() {
    QTest::addColumn<QString>("path");
    QTest::addColumn<QString>("code");
    QTest::newRow("core includes ui") << "core/run/a.cpp"
                                      << "#include \"ui/session/session.h\"";
    QTest::newRow("kernels includes core") << "kernels/host/a.cpp"
                                           << "#include \"core/base/result.h\"";
    QTest::newRow("ui includes app") << "ui/pages/a.cpp"
                                     << "#include \"app/program.h\"";
    QTest::newRow("core includes tests") << "core/run/a.cpp"
                                         << "#include \"tests/support/golden.h\"";
    QTest::newRow("spaces in the include") << "core/run/a.h"
                                           << "  #  include  <ui/pages/a.h>";
    QTest::newRow("Qt in core") << "core/run/a.cpp"
                                << "#include <QString>";
    QTest::newRow("Qt module in core") << "core/run/a.cpp"
                                       << "#include <QtCore/QString>";
    QTest::newRow("Qt in kernels") << "kernels/a.h"
                                   << "#include <QtGlobal>";
    QTest::newRow("Qt in the command line") << "app/commands/a.cpp"
                                            << "#include <QImage>";
    QTest::newRow("plot library in a page") << "ui/pages/a.cpp"
                                            << "#include <qcustomplot.h>";
    QTest::newRow("plot library in a header") << "ui/plots/a.h"
                                              << "#include <qcustomplot.h>";
    QTest::newRow("CUDA in core") << "core/run/a.cpp"
                                  << "#include <cuda_runtime.h>";
    QTest::newRow("CUDA in another backend") << "kernels/simd/a.cpp"
                                             << "#include <cuda_runtime.h>";
    QTest::newRow("format's folder") << "core/run/a.cpp"
                                     << "#include \"core/formats/hqq/plan.h\"";
    QTest::newRow("format by format") << "core/formats/gptq/a.cpp"
                                      << "#include \"core/formats/hqq/plan.h\"";
    QTest::newRow("scheme named") << "ui/session/a.cpp"
                                  << "auto c = Choice::parse(\"hqq:bits=4\");";
    QTest::newRow("scheme compared") << "core/run/a.cpp"
                                     << "if (scheme.info().id == \"hqq\") return;";
    QTest::newRow("format named") << "ui/pages/a.cpp"
                                  << "findFormat(\"bnb\");";
    QTest::newRow("scheme calls scheme") << "core/schemes/minmax.cpp"
                                         << "return hqqScheme().quantize(t, v, c);";
    QTest::newRow("std::round") << "core/schemes/hqq.cpp"
                                << "x = std::round(y);";
    QTest::newRow("roundf") << "kernels/math/a.h"
                            << "x = roundf(y);";
    QTest::newRow("lround") << "kernels/math/a.h"
                            << "n = std::lround(y);";
    QTest::newRow("GUI test includes the session") << "tests/ui/test_gui_a.cpp"
                                                   << "#include \"ui/session/session.h\"";
    QTest::newRow("GUI test sets a value") << "tests/ui/gui_a.cpp"
                                           << "slider->setValue(3);";
    QTest::newRow("GUI test clicks by slot") << "tests/ui/gui_a.cpp"
                                             << "button->click();";
    QTest::newRow("GUI test triggers") << "tests/ui/gui_a.cpp"
                                       << "action->trigger();";
    QTest::newRow("GUI test opens by call") << "tests/ui/gui_a.cpp" << "window.open(path);";
    QTest::newRow("GUI test invokes") << "tests/ui/gui_a.cpp"
                                      << "QMetaObject::invokeMethod(page, \"go\");";
  }
  void badSnippetsAreFound() {
    QFETCH(QString, path);
    QFETCH(QString, code);
    const auto findings =
        wallFindings(path.toStdString(), spdx + code.toStdString() + "\n", {{"hqq", "minmax"}, {"hqq", "bnb"}});
    QCOMPARE(findings.size(), std::size_t{1});
    QCOMPARE(findings.front().line, 2);
  }

  void goodSnippetsPass_data() {
    QTest::addColumn<QString>("path");
    QTest::addColumn<QString>("code");
    QTest::newRow("core includes kernels") << "core/run/a.cpp"
                                           << "#include \"kernels/backend.h\"";
    QTest::newRow("a comment") << "core/run/a.cpp"
                               << "// as \"hqq\" with std::round(x) does\n/* #include <QString>\n*/ int a;";
    QTest::newRow("nearbyint") << "core/schemes/hqq.cpp"
                               << "x = std::nearbyint(y); background(1); ground(2);";
    QTest::newRow("a longer word") << "ui/pages/a.cpp"
                                   << "call(\"hqqish\");";
    QTest::newRow("format's own folder") << "core/formats/hqq/a.cpp"
                                         << "#include \"core/formats/hqq/plan.h\"";
    QTest::newRow("list of formats") << "core/formats/formats.cpp"
                                     << "#include \"core/formats/hqq/hqq.h\"";
    QTest::newRow("plot source") << "ui/plots/a.cpp"
                                 << "#include <qcustomplot.h>";
    QTest::newRow("GUI test by events") << "tests/ui/gui_a.cpp"
                                        << "QTest::mouseClick(button, Qt::LeftButton); QTest::keyClicks(edit, \"4\");";
    QTest::newRow("GUI test writes a file") << "tests/ui/gui_a.cpp" << "QVERIFY(file.open(QIODevice::WriteOnly));";
    QTest::newRow("model test may set") << "tests/ui/test_model.cpp"
                                        << "model.setValue(3);";
  }
  void goodSnippetsPass() {
    QFETCH(QString, path);
    QFETCH(QString, code);
    const auto findings =
        wallFindings(path.toStdString(), spdx + code.toStdString() + "\n", {{"hqq", "minmax"}, {"hqq", "bnb"}});
    QVERIFY2(findings.empty(), listed(findings).constData());
  }

  void missingLicenceLineIsFound() {
    QCOMPARE(wallFindings("core/run/a.cpp", "int a;\n", {}).size(), std::size_t{1});
    QVERIFY(wallFindings("core/run/a.cpp", spdx, {}).empty());
  }

  void proofMustNotReachTheReader() {
    SourceTree tree{{"core/formats/hqq/proof.cpp", "#include \"core/formats/hqq/proof.h\"\n#include \"core/base/result.h\"\n"},
                    {"core/formats/hqq/proof.h", "#include \"core/formats/proof_container.h\"\n"},
                    {"core/formats/proof_container.h", "#include <vector>\n"},
                    {"core/base/result.h", ""},
                    {"core/quant/layout.h", ""},
                    {"core/io/npy.h", ""},
                    {"core/formats/hqq/plan.h", ""}};
    QVERIFY2(proofFindings(tree).empty(), listed(proofFindings(tree)).constData());
    for (const char* reached : {"core/quant/layout.h", "core/io/npy.h", "core/formats/hqq/plan.h"}) {
      SourceTree direct = tree;
      direct["core/formats/hqq/proof.cpp"] += std::string("#include \"") + reached + "\"\n";
      QCOMPARE(proofFindings(direct).size(), std::size_t{1});
      SourceTree indirect = tree;
      indirect["core/formats/proof_container.h"] += std::string("#include \"") + reached + "\"\n";
      QVERIFY(!proofFindings(indirect).empty());
    }
  }
};

QTEST_APPLESS_MAIN(TestWalls)
#include "test_walls.moc"
