// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/session_file.h"

#include <QTemporaryDir>
#include <QtTest>

#include <fstream>

using nibble::SessionFile;
namespace fs = std::filesystem;

namespace {

SessionFile full(const fs::path& checkpoint) {
  SessionFile session;
  session.checkpoint = checkpoint;
  session.tensor = "encoder.layer.0.\"odd\" näme.weight";
  session.cell = {4294967296ull, 17};
  session.choice = "hqq:bits=4,group=64,axis=1";
  session.candidates = {"nf4:block=64", "uniform:bits=8", "minmax:bits=3,group=64"};
  session.baseline = 2;
  session.ticked = {0, 2};
  session.tensors = {"a.weight", "b.weight"};
  session.page = "compare";
  session.exporting = {"hqq", "transformers", "out/packed"};
  session.backend = "simd";
  session.view = {{"heatmap", "error"}, {"zoom", "2.5"}};
  return session;
}

void save(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

class TestSessionFile : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  fs::path folder() const { return fs::canonical(m_folder.path().toStdString()); }

 private slots:
  void roundTrip() {
    const SessionFile session = full(folder() / "models" / "m.safetensors");
    QVERIFY(session.write(folder() / "a.nibble"));
    const auto back = SessionFile::read(folder() / "a.nibble");
    QVERIFY2(back, back ? "" : back.error().message.c_str());
    QVERIFY(*back == session);
  }

  void defaultsRoundTrip() {
    QVERIFY(SessionFile{}.write(folder() / "empty.nibble"));
    const auto back = SessionFile::read(folder() / "empty.nibble");
    QVERIFY(back);
    QVERIFY(*back == SessionFile{});
  }

  void pathIsStoredRelative() {
    fs::create_directories(folder() / "one" / "sessions");
    const SessionFile session = full(folder() / "one" / "m.safetensors");
    const auto json = session.toJson(folder() / "one" / "sessions");
    QVERIFY(json);
    QVERIFY(json->find("\"../m.safetensors\"") != std::string::npos);
  }

  void movesTogetherWithItsCheckpoint() {
    fs::create_directories(folder() / "before");
    save(folder() / "before" / "m.safetensors", "x");
    QVERIFY(full(folder() / "before" / "m.safetensors").write(folder() / "before" / "s.nibble"));
    fs::rename(folder() / "before", folder() / "after");
    const auto back = SessionFile::read(folder() / "after" / "s.nibble");
    QVERIFY(back);
    QVERIFY(back->checkpoint == folder() / "after" / "m.safetensors");
  }

  void linkedCheckpointKeepsItsName() {
    fs::create_directories(folder() / "blobs");
    save(folder() / "blobs" / "0123", "x");
    fs::create_symlink(folder() / "blobs" / "0123", folder() / "linked.safetensors");
    const auto json = full(folder() / "linked.safetensors").toJson(folder());
    QVERIFY(json);
    QVERIFY(json->find("\"linked.safetensors\"") != std::string::npos);
  }

  void missingKeysTakeDefaults() {
    const auto session = SessionFile::parse(R"({"version":1,"checkpoint":"m.npy"})", "dir");
    QVERIFY(session);
    SessionFile expected;
    expected.checkpoint = "dir/m.npy";
    QVERIFY(*session == expected);
  }

  void refuses_data() {
    QTest::addColumn<QString>("json");
    QTest::addColumn<QString>("says");
    QTest::newRow("empty") << ""
                           << "not a session file";
    QTest::newRow("cut") << R"({"version":1,)"
                         << "not a session file";
    QTest::newRow("list") << "[1]"
                          << "a session is a JSON object";
    QTest::newRow("no version") << R"({"tensor":"x"})"
                                << "no \"version\"";
    QTest::newRow("later version") << R"({"version":2})"
                                   << "session version 2 is unknown";
    QTest::newRow("negative version") << R"({"version":-1})"
                                      << "session version -1 is unknown";
    QTest::newRow("text version") << R"({"version":"1"})"
                                  << "version must be a whole number";
    QTest::newRow("tensor number") << R"({"version":1,"tensor":3})"
                                   << "tensor must be text, not number";
    QTest::newRow("null choice") << R"({"version":1,"choice":null})"
                                 << "choice must be text, not null";
    QTest::newRow("negative row") << R"({"version":1,"cell":{"row":-1}})"
                                  << "cell.row must be a whole number from 0 on";
    QTest::newRow("fraction") << R"({"version":1,"baseline":0.5})"
                              << "baseline must be a whole number from 0 on";
    QTest::newRow("cell list") << R"({"version":1,"cell":[1,2]})"
                               << "cell must be an object";
    QTest::newRow("candidate") << R"({"version":1,"candidates":["nf4",4]})"
                               << "candidates[1] must be text";
    QTest::newRow("baseline outside") << R"({"version":1,"candidates":["nf4"],"baseline":1})"
                                      << "baseline is candidate 1, but there are 1";
    QTest::newRow("ticked outside") << R"({"version":1,"candidates":["nf4"],"ticked":[1]})"
                                    << "ticked[0] is candidate 1";
    QTest::newRow("ticked twice") << R"({"version":1,"candidates":["nf4"],"ticked":[0,0]})"
                                  << "ticked must ascend";
    QTest::newRow("unknown key") << R"({"version":1,"tensr":"x"})"
                                 << "unknown key tensr";
    QTest::newRow("unknown inner") << R"({"version":1,"export":{"fromat":"x"}})"
                                   << "unknown key export.fromat";
    QTest::newRow("view number") << R"({"version":1,"view":{"zoom":2}})"
                                 << "view.zoom must be text";
    QTest::newRow("broken text") << QString::fromLatin1("{\"version\":1,\"tensor\":\"\\ud800\"}") << "not a session file";
  }
  void refuses() {
    QFETCH(QString, json);
    QFETCH(QString, says);
    const auto session = SessionFile::parse(json.toStdString(), ".");
    QVERIFY(!session);
    QVERIFY2(QString::fromStdString(session.error().message).contains(says), session.error().message.c_str());
    QVERIFY(session.error().message.find('\n') == std::string::npos);
  }

  void errorsNameTheFile() {
    const fs::path missing = folder() / "missing.nibble";
    const auto none = SessionFile::read(missing);
    QVERIFY(!none);
    QVERIFY(none.error().message.find(missing.string()) == 0);
    QVERIFY(!SessionFile::read(folder()));
    save(folder() / "bad.nibble", "{");
    const auto bad = SessionFile::read(folder() / "bad.nibble");
    QVERIFY(!bad);
    QVERIFY(bad.error().message.find((folder() / "bad.nibble").string()) == 0);
  }

  void failedWriteKeepsTheOldFile() {
    const fs::path path = folder() / "kept.nibble";
    QVERIFY(full(folder() / "m.npy").write(path));
    SessionFile broken = full(folder() / "m.npy");
    broken.tensor = "\xff\xfe";
    const auto status = broken.write(path);
    QVERIFY(!status);
    const auto back = SessionFile::read(path);
    QVERIFY(back);
    QVERIFY(*back == full(folder() / "m.npy"));
  }
};

QTEST_APPLESS_MAIN(TestSessionFile)
#include "test_session_file.moc"
