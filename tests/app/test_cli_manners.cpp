// SPDX-License-Identifier: GPL-3.0-or-later
// How nibblescope-cli fails: exit statuses, one line that says what and where, nothing on standard output, nothing
// half-written.
#include "tests/app/cli_runner.h"

#include <QDir>
#include <QElapsedTimer>
#include <QTemporaryDir>
#include <QtTest>

#include <cmath>
#include <csignal>

using namespace nibble;
using namespace nibble::test;

class TestCliManners : public QObject {
  Q_OBJECT
  QTemporaryDir m_folder;
  QString file(const QString& name) const { return m_folder.filePath(name); }

  // Whether the program waits for SIGINT by itself: until then the signal would just end it.
  static bool listens(qint64 process) {
    QFile status(QString("/proc/%1/status").arg(process));
    if (!status.open(QIODevice::ReadOnly)) return false;
    const QByteArray text = status.readAll();
    const QByteArray blocked = text.mid(text.indexOf("SigBlk:") + 7, 18).trimmed();
    return (blocked.toULongLong(nullptr, 16) >> (SIGINT - 1) & 1) != 0;
  }

  // Sends SIGINT once the program works, and says how it ended and how long that took.
  static std::pair<int, qint64> interrupted(const QStringList& arguments, int afterMilliseconds) {
    QProcess process;
    process.start(NIBBLE_CLI, arguments);
    if (!process.waitForStarted() || !QTest::qWaitFor([&] { return listens(process.processId()); })) return {-2, 0};
    if (process.waitForFinished(afterMilliseconds)) return {process.exitCode(), 0};
    QElapsedTimer timer;
    timer.start();
    ::kill(static_cast<pid_t>(process.processId()), SIGINT);
    process.waitForFinished(60000);
    const qint64 took = timer.elapsed();
    return {process.exitStatus() == QProcess::NormalExit ? process.exitCode() : -1, took};
  }

 private slots:
  void initTestCase() {
    std::vector<float> bad = someWeights(64 * 64);
    bad[65] = NAN;
    QVERIFY(writeNpz(file("bad.npz").toStdString(), {floatArray("w", {64, 64}, bad)}));
    QVERIFY(writeNpz(file("good.npz").toStdString(), {floatArray("w", {64, 64}, someWeights(64 * 64)),
                                                      floatArray("empty", {0, 64}, {}), floatArray("scalar", {}, {1})}));
    QVERIFY(writeNpy(file("large.npy").toStdString(), floatArray("large", {4096, 2048}, someWeights(4096 * 2048))));
    QVERIFY(writeNpy(file("short.npy").toStdString(), floatArray("short", {3}, {1, 2, 3})));
    QVERIFY(writeNpy(file("negative.npy").toStdString(), floatArray("negative", {64}, std::vector<float>(64, -1.0f))));
    QFile garbage(file("garbage.safetensors"));
    QVERIFY(garbage.open(QIODevice::WriteOnly));
    garbage.write("this is not a checkpoint");
    QFile later(file("later.nibble"));
    QVERIFY(later.open(QIODevice::WriteOnly));
    later.write("{\"version\":7}");
  }

  // Every command names the file once, the tensor that is not there and the one that was probably meant.
  void unknownTensorsAreNamedOnce() {
    const QString path = file("good.npz");
    const QStringList commands[] = {{"compare", path, "uniform"},
                                    {"export", path, "uniform", "--format", "npz", "--out", file("o.npz")},
                                    {"inspect", path, "--row", "0", "--column", "0"},
                                    {"inspect", path, "--row", "0", "--column", "0", "--scheme", "uniform"},
                                    {"decode", path, "--out", file("o.npy")},
                                    {"train", path, "--method", "dora"}};
    for (const QStringList& command : commands) {
      const Ran ran = runCli(command + QStringList{"--tensor", "emty"});
      QCOMPARE(ran.status, 1);
      QVERIFY2(ran.err.count(path.toUtf8()) == 1 && ran.err.contains("no tensor named \"emty\", did you mean \"empty\"?"), ran.err.constData());
    }
  }

  void wrongCommandLineIsStatusTwo_data() {
    QTest::addColumn<QStringList>("arguments");
    const QString path = file("good.npz");
    QTest::newRow("nothing") << QStringList{};
    QTest::newRow("unknown command") << QStringList{"frobnicate"};
    for (const char* command : {"diff", "sweep", "allocate", "recipe", "train", "linear", "forward"})
      QTest::newRow(command) << QStringList{command, path};
    QTest::newRow("no path") << QStringList{"info"};
    QTest::newRow("no module tree") << QStringList{"modules"};
    QTest::newRow("no scheme") << QStringList{"compare", path};
    QTest::newRow("unknown option") << QStringList{"info", path, "--frobnicate"};
    QTest::newRow("unknown backend") << QStringList{"--backend", "abacus", "info", path};
    QTest::newRow("threads are a number") << QStringList{"--threads", "many", "info", path};
    QTest::newRow("two outputs") << QStringList{"compare", path, "uniform", "--json", "--csv"};
    QTest::newRow("histogram of nothing") << QStringList{"compare", path, "uniform", "--histogram", "0"};
    QTest::newRow("unknown format") << QStringList{"export", path, "uniform", "--format", "zip", "--out", file("o")};
    QTest::newRow("unknown target") << QStringList{"export",   path,     "uniform", "--format", "npz",
                                                   "--target", "abacus", "--out",   file("o")};
    QTest::newRow("no out") << QStringList{"export", path, "uniform", "--format", "npz"};
    QTest::newRow("broken regex") << QStringList{"compare", path, "uniform", "--select", "("};
    QTest::newRow("broken variation") << QStringList{"compare", path, "uniform", "--vary", "bits"};
    QTest::newRow("row is a number") << QStringList{"inspect", path, "--tensor", "w", "--row", "x", "--column", "0"};
  }
  void wrongCommandLineIsStatusTwo() {
    QFETCH(QStringList, arguments);
    const Ran ran = runCli(arguments);
    QCOMPARE(ran.status, 2);
    QCOMPARE(ran.out, QByteArray());
    QVERIFY(!ran.err.isEmpty());
  }

  void wrongInputIsStatusOne_data() {
    QTest::addColumn<QStringList>("arguments");
    QTest::addColumn<QByteArray>("says");
    const QString path = file("good.npz");
    QTest::newRow("missing file") << QStringList{"info", file("none.npz")} << QByteArray("none.npz");
    QTest::newRow("garbage") << QStringList{"info", file("garbage.safetensors")} << QByteArray("garbage.safetensors");
    QTest::newRow("empty folder") << QStringList{"info", m_folder.filePath("nowhere/")} << QByteArray("nowhere");
    QTest::newRow("unknown tensor") << QStringList{"compare", path, "uniform", "--tensor", "v"} << QByteArray("v");
    QTest::newRow("expert outside") << QStringList{"compare", path, "uniform", "--tensor", "w[0]"} << QByteArray("w[0]");
    QTest::newRow("nothing matches") << QStringList{"compare", path, "uniform", "--select", "zzz"} << QByteArray("zzz");
    QTest::newRow("nothing worth it") << QStringList{"compare", file("short.npy"), "uniform"} << QByteArray("worth");
    QTest::newRow("unknown scheme") << QStringList{"compare", path, "abacus"} << QByteArray("uniform");
    QTest::newRow("unknown key") << QStringList{"compare", path, "hqq:beads=3"} << QByteArray("group");
    QTest::newRow("illegal value") << QStringList{"compare", path, "hqq:bits=7"} << QByteArray("1.58");
    QTest::newRow("key twice") << QStringList{"compare", path, "hqq:bits=4,bits=4"} << QByteArray("twice");
    QTest::newRow("vary unknown key") << QStringList{"compare", path, "nf4", "--vary", "beads=1|2"} << QByteArray("beads");
    QTest::newRow("does not divide") << QStringList{"compare", path, "hqq:group=24", "--tensor", "w"} << QByteArray("24");
    QTest::newRow("not finite") << QStringList{"compare", file("bad.npz"), "uniform"} << QByteArray("[1, 1]");
    QTest::newRow("empty tensor") << QStringList{"compare", path, "uniform", "--tensor", "empty"} << QByteArray("empty");
    QTest::newRow("weights too short") << QStringList{"compare",        path, "uniform", "--tensor", "w", "--input-weights",
                                                      file("short.npy")}
                                       << QByteArray("64 columns");
    QTest::newRow("negative weights") << QStringList{"compare",           path, "uniform", "--tensor", "w", "--input-weights",
                                                     file("negative.npy")}
                                      << QByteArray("negative");
    QTest::newRow("imatrix") << QStringList{"compare", path, "uniform", "--tensor", "w", "--input-weights", file("x.dat")}
                             << QByteArray("x.dat");
    QTest::newRow("reference lacks it") << QStringList{"compare", path,          "uniform",        "--tensor",
                                                       "w",       "--reference", file("large.npy")}
                                        << QByteArray("reference");
    QTest::newRow("row outside") << QStringList{"inspect", path,       "--tensor", "w",        "--row",
                                                "64",      "--column", "0",        "--scheme", "uniform"}
                                 << QByteArray("64");
    QTest::newRow("inspect without scheme")
        << QStringList{"inspect", path, "--tensor", "w", "--row", "0", "--column", "0"} << QByteArray("--scheme");
    QTest::newRow("decode to other name") << QStringList{"decode", path, "--tensor", "w", "--out", file("x.txt")}
                                          << QByteArray(".npy");
    QTest::newRow("decode over the source")
        << QStringList{"decode", file("large.npy"), "--tensor", "large", "--out", file("large.npy")} << QByteArray("source");
    QTest::newRow("read-only place") << QStringList{"decode", path, "--tensor", "w", "--out", "/proc/nibblescope/x.npy"}
                                     << QByteArray("/proc");
    QTest::newRow("later session") << QStringList{"run", file("later.nibble")} << QByteArray("version 7");
    QTest::newRow("no session") << QStringList{"run", file("none.nibble")} << QByteArray("none.nibble");
  }
  void wrongInputIsStatusOne() {
    QFETCH(QStringList, arguments);
    QFETCH(QByteArray, says);
    const Ran ran = runCli(arguments);
    QVERIFY2(ran.status == 1, (QByteArray::number(ran.status) + ": " + ran.err).constData());
    QCOMPARE(ran.out, QByteArray());
    QVERIFY2(ran.err.count('\n') == 1 && ran.err.endsWith('\n'), ran.err.constData());
    QVERIFY2(ran.err.contains(says), ran.err.constData());
  }

  void failedExportsLeaveNothing() {
    const QString out = file("bad-out");
    const Ran ran = runCli({"export", file("bad.npz"), "uniform", "--tensor", "w", "--format", "npz", "--out", out + ".npz"});
    QCOMPARE(ran.status, 1);
    QVERIFY(!QFileInfo::exists(out + ".npz"));
  }

  void fullDestination() {
    QDir().mkdir(file("full"));
    const QString command = QString("ulimit -f 64; exec '%1' decode '%2' --tensor large --out '%3'")
                                .arg(NIBBLE_CLI, file("large.npy"), file("full/x.npy"));
    const Ran ran = runProgram("/bin/sh", {"-c", command});
    QVERIFY2(ran.status == 1, (QByteArray::number(ran.status) + ": " + ran.err).constData());
    QVERIFY(ran.err.contains("x.npy"));
    QVERIFY(QDir(file("full")).isEmpty(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot));
  }

  void fullStandardOutput() {
    const Ran ran = runProgram("/bin/sh", {"-c", QString("exec '%1' info '%2' > /dev/full").arg(NIBBLE_CLI, samplePath())});
    QCOMPARE(ran.status, 1);
    QVERIFY(ran.err.contains("standard output"));
  }

  void interruptIsStatus130() {
    QStringList arguments{"compare", file("large.npy"),        "hqq",   "--vary", "bits=2|3|4|8",
                          "--vary",  "group=16|32|64|128|256", "--json"};
    const auto [status, took] = interrupted(arguments, 400);
    QCOMPARE(status, 130);
    QVERIFY2(took < 2000, QByteArray::number(took).constData());
  }

  void interruptedExportLeavesNothing() {
    QDir().mkdir(file("cut"));
    for (const int after : {60, 120, 250}) {
      const auto [status, took] = interrupted(
          {"export", file("large.npy"), "codebook:bits=8", "--tensor", "large", "--format", "npz", "--out", file("cut/x.npz")},
          after);
      QCOMPARE(status, 130);
      QVERIFY(QDir(file("cut")).isEmpty(QDir::AllEntries | QDir::Hidden | QDir::NoDotAndDotDot));
    }
  }

  void globalOptionsWorkOnBothSides() {
    const QString path = file("good.npz");
    const QByteArray before =
        runCli({"--threads", "1", "--backend", "host", "compare", path, "uniform", "--tensor", "w", "--json"}).out;
    const QByteArray after =
        runCli({"compare", path, "uniform", "--tensor", "w", "--json", "--threads", "1", "--backend", "host"}).out;
    QVERIFY(before.contains("\"backend\":\"host\""));
    QVERIFY(after.contains("\"backend\":\"host\""));
    for (const QStringList& arguments : {QStringList{"--version"}, QStringList{"info", "--version"}}) {
      const Ran ran = runCli(arguments);
      QCOMPARE(ran.status, 0);
      QVERIFY(ran.out.startsWith("nibblescope-cli "));
    }
    QVERIFY(runCli({"--help"}).out.contains("compare"));
    QVERIFY(runCli({"compare", "--help"}).out.contains("--vary"));
  }

  void backendsGiveTheSameCodes() {
    nlohmann::json first;
    for (const char* backend : {"host", "simd"}) {
      const Ran ran = runCli({"--backend", backend, "compare", samplePath(), "uniform", "hqq", "nf4", "minmax", "--tensor",
                              sampleTensor(), "--json"});
      QVERIFY2(ran.status == 0, ran.err.constData());
      nlohmann::json candidates = ran.json()["candidates"];
      if (first.is_null()) first = candidates;
      for (std::size_t i = 0; i < candidates.size(); ++i) {
        QCOMPARE(candidates[i]["codeEntropy"], first[i]["codeEntropy"]);
        QCOMPARE(candidates[i]["maxError"], first[i]["maxError"]);
      }
    }
  }

  void localeDoesNotMatter() {
    const QStringList arguments{"info", samplePath(), "--stats", "--json"};
    const QByteArray plain = runCli(arguments).out;
    const QByteArray table = runCli({"info", samplePath(), "--stats"}).out;
    // Where the German locale is not installed it is made here; without its sources the variables alone are tried.
    QDir().mkdir(file("locales"));
    runProgram("localedef", {"-i", "de_DE", "-f", "UTF-8", file("locales/de_DE.UTF-8")});
    environment().insert("LOCPATH", file("locales"));
    environment().insert("LC_ALL", "de_DE.UTF-8");
    QCOMPARE(runCli(arguments).out, plain);
    QCOMPARE(runCli({"info", samplePath(), "--stats"}).out, table);
    environment().remove("LOCPATH");
    environment().remove("LC_ALL");
  }
};

QTEST_GUILESS_MAIN(TestCliManners)
#include "test_cli_manners.moc"
