// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/mapped_file.h"

#include "core/io/checkpoint.h"
#include "tests/support/files.h"

#include <QTest>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

using namespace nibble;
using namespace nibble::test;

namespace {

// Long enough for several pages, and never zero.
std::vector<float> manyValues() {
  return std::vector<float>(1 << 20, 1.5f);
}

volatile std::sig_atomic_t earlierHandlerCalls = 0;
void* earlierPage = nullptr;

// Stands for a handler of somebody else: repairs its own page, as ours does.
void earlierHandler(int, siginfo_t*, void*) {
  earlierHandlerCalls = earlierHandlerCalls + 1;
  ::mmap(earlierPage, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

}  // namespace

class TestMappedFile : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() {
    struct sigaction action {};
    action.sa_sigaction = earlierHandler;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
  }

  void theBytesAreTheFiles() {
    const ScratchFolder folder;
    writeWhole(folder.file("a"), "nibble");
    const auto map = MappedFile::open(folder.file("a"));
    QVERIFY(map);
    QCOMPARE((*map)->bytes().size(), std::size_t{6});
    QCOMPARE(static_cast<char>((*map)->bytes()[5]), 'e');
    QVERIFY((*map)->intact());
    QVERIFY(!(*map)->changedOnDisk());
    writeWhole(folder.file("empty"), "");
    QVERIFY((*MappedFile::open(folder.file("empty")))->bytes().empty());
    QVERIFY((*MappedFile::open(folder.file("empty")))->intact());
  }

  void whatIsNoFileIsRefusedByName() {
    const ScratchFolder folder;
    const auto missing = MappedFile::open(folder.file("none"));
    QVERIFY(!missing);
    QCOMPARE(missing.error().message, folder.file("none").string() + ": cannot open: No such file or directory");
    const auto directory = MappedFile::open(folder.path());
    QVERIFY(!directory);
    QVERIFY(directory.error().message.find("is a directory") != std::string::npos);
    QCOMPARE(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
    QVERIFY(!MappedFile::open(folder.file("pipe")));
    QVERIFY(!MappedFile::open("/dev/zero"));
  }

  void aFileThatShrinksIsAnErrorNotASignal() {
    const ScratchFolder folder;
    const auto path = folder.file("model.safetensors");
    writeWhole(path, safetensorsOf({{"first", manyValues()}, {"second", manyValues()}}));
    const auto checkpoint = Checkpoint::open(path);
    QVERIFY(checkpoint);
    const Result<Tensor> second = (*checkpoint)->read("second");
    QVERIFY(second->readAll());
    QCOMPARE(::truncate(path.c_str(), 8192), 0);
    const auto values = second->readAll();
    QVERIFY(!values);
    QCOMPARE(values.error().message, "second: " + path.string() + ": the file shrank or became unreadable while it was open");
    QVERIFY(!second->intact());
    QVERIFY((*checkpoint)->changedOnDisk());
    QCOMPARE(second->floats()->back(), 0.0f);
    // Grown again, the map's bytes are still not the file's.
    writeWhole(path, safetensorsOf({{"first", manyValues()}, {"second", manyValues()}}));
    QVERIFY(!second->intact());
    QVERIFY((*Checkpoint::open(path))->read("second")->readAll());
  }

  void aCutWithinTheLastPageIsSeen() {
    const ScratchFolder folder;
    writeWhole(folder.file("a"), std::string(5000, 'x'));
    const auto map = *MappedFile::open(folder.file("a"));
    QCOMPARE(::truncate(folder.file("a").c_str(), 4990), 0);
    QVERIFY(!map->intact());
  }

  void manyThreadsMeetTheCutAtOnce() {
    const ScratchFolder folder;
    const auto path = folder.file("model.safetensors");
    writeWhole(path, safetensorsOf({{"w", manyValues()}}));
    const auto checkpoint = *Checkpoint::open(path);
    QCOMPARE(::truncate(path.c_str(), 4096), 0);
    std::atomic<int> refused{0};
    {
      std::vector<std::jthread> threads;
      for (std::uint64_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
          std::vector<float> out(1000);
          const Result<Tensor> tensor = checkpoint->read("w");
          for (std::uint64_t i = 0; i < 200; ++i)
            if (!tensor->read((i * 4999 + t * 131) % (tensor->size() - 1000), out)) ++refused;
        });
    }
    QCOMPARE(refused.load(), 800);
  }

  void othersFaultsGoToTheEarlierHandler() {
    const ScratchFolder folder;
    writeWhole(folder.file("ours"), "x");
    QVERIFY(MappedFile::open(folder.file("ours")));
    writeWhole(folder.file("theirs"), std::string(4096, 'x'));
    const int descriptor = ::open(folder.file("theirs").c_str(), O_RDONLY);
    earlierPage = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, descriptor, 0);
    ::close(descriptor);
    QCOMPARE(::truncate(folder.file("theirs").c_str(), 0), 0);
    const int before = earlierHandlerCalls;
    QCOMPARE(*static_cast<volatile char*>(earlierPage), '\0');
    QCOMPARE(static_cast<int>(earlierHandlerCalls), before + 1);
    ::munmap(earlierPage, 4096);
  }

  void placesInTheTableComeBack() {
    const ScratchFolder folder;
    writeWhole(folder.file("a"), "x");
    for (int i = 0; i < 10'000; ++i) QVERIFY(MappedFile::open(folder.file("a")));
  }
};

QTEST_APPLESS_MAIN(TestMappedFile)
#include "test_mapped_file.moc"
