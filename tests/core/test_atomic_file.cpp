// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/atomic_file.h"

#include "core/io/npy.h"
#include "core/io/safetensors_writer.h"
#include "tests/support/files.h"

#include <QTest>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

using namespace nibble;
using namespace nibble::test;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

constexpr std::size_t limit = 64 * 1024;

// Everything that goes through an AtomicFile must survive a disk that takes no more in the middle.
int writeBeyondTheLimit(const ScratchFolder& folder) {
  struct rlimit bound {
    limit, limit
  };
  ::setrlimit(RLIMIT_FSIZE, &bound);
  const std::vector<std::byte> bytes(4 * limit, std::byte{7});
  const RawTensor tensor{"w", DType::U8, {bytes.size()}, bytes};
  const std::string reason = "File too large";
  Result<AtomicFile> file = AtomicFile::create(folder.file("a"));
  if (!file) return 1;
  const Status written = file->write(bytes);
  if (written || !contains(written.error().message, reason) || !contains(written.error().message, folder.file("a").string()))
    return 2;
  if (file->commit() || file->write("x")) return 3;
  Result<AtomicFile> safetensors = AtomicFile::create(folder.file("b.safetensors"));
  const Status model = writeSafetensors(*safetensors, {tensor});
  if (model || !contains(model.error().message, reason)) return 4;
  *safetensors = std::move(*file);  // the destructor of neither may leave anything
  const Status array = writeNpy(folder.file("c.npy"), tensor);
  if (array || !contains(array.error().message, reason)) return 5;
  const Status archive = writeNpz(folder.file("d.npz"), {tensor, tensor});
  if (archive || !contains(archive.error().message, reason)) return 6;
  if (writeFileAtomically(folder.file("old"), std::string(2 * limit, 'x'))) return 7;
  return 0;
}

}  // namespace

class TestAtomicFile : public QObject {
  Q_OBJECT
 private slots:
  void appearsWholeAtTheEnd() {
    const ScratchFolder folder;
    Result<AtomicFile> file = AtomicFile::create(folder.file("out.txt"));
    QVERIFY(file);
    QVERIFY(file->write("nib"));
    QVERIFY(!std::filesystem::exists(folder.file("out.txt")));
    QVERIFY(file->write("ble"));
    QVERIFY(file->sync());
    QCOMPARE(readWhole(file->temporaryPath()), std::string("nibble"));
    QCOMPARE(file->temporaryPath().parent_path(), folder.path());
    QVERIFY(file->commit());
    QCOMPARE(readWhole(folder.file("out.txt")), std::string("nibble"));
    QVERIFY((folder.names() == std::vector<std::string>{"out.txt"}));
    QVERIFY(!file->commit());
  }

  void nothingIsLeftWithoutCommit() {
    const ScratchFolder folder;
    writeWhole(folder.file("out.txt"), "old");
    {
      Result<AtomicFile> file = AtomicFile::create(folder.file("out.txt"));
      QVERIFY(file && file->write("new"));
      AtomicFile moved = std::move(*file);
      QCOMPARE(folder.names().size(), std::size_t{2});
    }
    QVERIFY((folder.names() == std::vector<std::string>{"out.txt"}));
    QCOMPARE(readWhole(folder.file("out.txt")), std::string("old"));
  }

  void permissionsFollowTheOldFileOrTheMask() {
    const ScratchFolder folder;
    const auto modeOf = [&](const std::string& name) {
      struct stat facts {};
      ::stat(folder.file(name).c_str(), &facts);
      return facts.st_mode & 07777;
    };
    const mode_t mask = ::umask(027);
    QVERIFY(writeFileAtomically(folder.file("new"), "x"));
    ::umask(mask);
    QCOMPARE(modeOf("new"), mode_t{0640});
    QCOMPARE(::chmod(folder.file("new").c_str(), 0604), 0);
    QVERIFY(writeFileAtomically(folder.file("new"), "y"));
    QCOMPARE(modeOf("new"), mode_t{0604});
  }

  void linksAreWrittenThrough() {
    const ScratchFolder folder;
    writeWhole(folder.file("real"), "old");
    std::filesystem::create_symlink("real", folder.file("link"));
    QVERIFY(writeFileAtomically(folder.file("link"), "new"));
    QVERIFY(std::filesystem::is_symlink(folder.file("link")));
    QCOMPARE(readWhole(folder.file("real")), std::string("new"));
  }

  void longestNameFits() {
    const ScratchFolder folder;
    QVERIFY(writeFileAtomically(folder.file(std::string(255, 'n')), "x"));
    QVERIFY(!writeFileAtomically(folder.file(std::string(256, 'n')), "x"));
    QCOMPARE(folder.names().size(), std::size_t{1});
  }

  void whereNothingCanBeWritten() {
    const ScratchFolder folder;
    const auto refusal = [](const std::filesystem::path& path) {
      const Status status = writeFileAtomically(path, "x");
      return status ? std::string("written") : status.error().message;
    };
    QCOMPARE(refusal(folder.file("none") / "a"),
             (folder.file("none") / "a").string() + ": cannot write there: No such file or directory");
    QCOMPARE(refusal(folder.path()), folder.path().string() + ": is a directory");
    QVERIFY(refusal("/proc/nibble").starts_with("/proc/nibble: cannot write there: "));
    QCOMPARE(refusal(folder.path() / ""), (folder.path() / "").string() + ": is a directory");
  }

  // Root may write where others may not, so the question is asked by a child that has given up being root.
  void readOnlyFolderAndFile() {
    const ScratchFolder folder;
    writeWhole(folder.file("kept"), "old");
    std::filesystem::create_directory(folder.file("closed"));
    ::chmod(folder.file("closed").c_str(), 0555);
    ::chmod(folder.file("kept").c_str(), 0444);
    ::chmod(folder.path().c_str(), 0777);
    const pid_t child = ::fork();
    if (child == 0) {
      if (::geteuid() == 0 && ::setuid(65534) != 0) ::_exit(77);
      const Status closed = writeFileAtomically(folder.file("closed") / "a", "x");
      const Status kept = writeFileAtomically(folder.file("kept"), "x");
      const bool right = !closed && contains(closed.error().message, "Permission denied") && !kept &&
                         contains(kept.error().message, "is read-only");
      ::_exit(right ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ::chmod(folder.file("closed").c_str(), 0755);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) QSKIP("root cannot become another user here");
    QVERIFY(WIFEXITED(status));
    QCOMPARE(WEXITSTATUS(status), 0);
    QCOMPARE(readWhole(folder.file("kept")), std::string("old"));
    QVERIFY((folder.names() == std::vector<std::string>{"closed", "kept"}));
  }

  void aDiskThatTakesNoMore() {
    const ScratchFolder folder;
    writeWhole(folder.file("old"), "old");
    const pid_t child = ::fork();
    if (child == 0) {
      ::signal(SIGXFSZ, SIG_DFL);
      ::_exit(writeBeyondTheLimit(folder));
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    QVERIFY2(WIFEXITED(status), "ended by a signal");
    QCOMPARE(WEXITSTATUS(status), 0);
    QVERIFY((folder.names() == std::vector<std::string>{"old"}));
    QCOMPARE(readWhole(folder.file("old")), std::string("old"));
  }
};

QTEST_APPLESS_MAIN(TestAtomicFile)
#include "test_atomic_file.moc"
