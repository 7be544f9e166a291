// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernels move, counted by the emulator (kernels/emulator/traffic.h) and printed as a table; no time was measured on a
// GPU. Bounds: weight bytes of products 1.05 x, round to nearest reads 1.02 x, decoding writes 1.02 x, sectors of every kernel
// 95 % used, conflicts 5 % of passes through shared memory, and the shared memory each source states.
#include "kernels/emulator/traffic.h"
#include "tests/support/emulator_bounds.h"

#include <QtTest>
#include <algorithm>
#include <cstdio>

using namespace nibble::kernels;
using nibble::test::kernelBounds;

class TestCudaTraffic : public QObject {
  Q_OBJECT

 private slots:
  void everyRowHolds() {
    std::printf("%-34s %10s %10s %10s %11s %11s   (counted by emulation; no timing was measured on a GPU)\n", "kernel",
                "needed", "moved", "ratio", "sectors", "conflicts");
    const auto rows = countTraffic([](const std::string&) { return true; });
    QCOMPARE(rows.size(), std::size_t{55});
    std::string wrong;
    for (const TrafficRow& row : rows) {
      std::printf("%-34s %10.0f %10.0f %8.3f x %9.1f %% %9.1f %%\n", row.name.c_str(), row.needed, row.moved,
                  row.moved / row.needed, 100 * row.sectorUse, 100 * row.conflictShare);
      if (!row.holds()) wrong += row.name + " " + row.failure + "; ";
      QVERIFY2(!row.limits.empty(), row.name.c_str());
      for (const TrafficLimit& limit : row.limits) {
        QVERIFY2(limit.moved > 0, (row.name + ": " + limit.memory).c_str());  // a misspelt name would hold any limit
        if (!limit.holds()) wrong += row.name + ": " + limit.memory + "; ";
      }
      std::size_t bound = 0;
      for (const auto& [kernel, stated] : kernelBounds(row.source)) bound = std::max<std::size_t>(bound, stated.sharedBytes);
      QVERIFY2(row.sharedBytes <= bound, (row.name + " takes " + std::to_string(row.sharedBytes) + " bytes").c_str());
    }
    QCOMPARE(QString::fromStdString(wrong), QString());
  }

  void aRowThatWastesDoesNotHold() {
    TrafficRow row;
    row.limits = {{"words", 104, 100, 1.05}};
    QVERIFY(row.holds());
    row.limits[0].moved = 106;
    QVERIFY(!row.holds());
    row.limits.clear();
    row.sectorUse = 0.94;
    QVERIFY(!row.holds());
    row.sectorUse = 1;
    row.conflictShare = 0.06;
    QVERIFY(!row.holds());
  }

  void rowsCanBeChosen() {
    const auto names = trafficRowNames();
    QVERIFY(std::find(names.begin(), names.end(), "quantize, error sums") != names.end());
    const auto rows = countTraffic([](const std::string& name) { return name == "decode, 3 bits"; });
    QCOMPARE(rows.size(), std::size_t{1});
    QCOMPARE(rows[0].source, std::string("decode.cu"));
  }
};

QTEST_APPLESS_MAIN(TestCudaTraffic)
#include "test_cuda_traffic.moc"
