// SPDX-License-Identifier: GPL-3.0-or-later
// The kernels by themselves on a real device, cold (tests/support/gpu_table.h): right first, then the times, beside goals and
// cuBLAS. Label `gpu`; `ctest -L gpu -V` prints the table. Times decide nothing here. tests/kernels/test_cuda_products.cpp runs
// the same source over the emulator.
#include "kernels/cuda/nvidia_runtime.h"
#include "tests/support/gpu_table.h"

#include <QtTest>
#include <cstdio>

using namespace nibble::kernels;

class TestGpuTable : public QObject {
  Q_OBJECT

 private slots:
  void table() {
    const auto runtime = nvidiaRuntime();
    DeviceFacts facts;
    if (const Outcome opened = runtime->open(&facts); !opened.ok()) QSKIP(("no device to time: " + opened.detail).c_str());
    cuda::TimingTable table;
    const Outcome outcome = cuda::timingTable(*runtime, facts, {}, &table);
    const double copy = table.copyBytesPerMillisecond;
    std::printf("%s, a copy moves %.0f GB/s (read and written)\n%-36s %9s %9s %9s %9s %9s\n", facts.name.c_str(), copy / 1e6,
                "kernel, 16384 x 16384 or 4096 x 11008", "ms", "GB/s", "of copy", "x cuBLAS", "goal");
    for (const cuda::TimingRow& row : table.rows) {
      const double speed = row.bytes / row.milliseconds;
      std::printf("%-36s %9.4f %9.0f %8.1f %% %9.2f", row.name.c_str(), row.milliseconds, speed / 1e6, 100 * speed / copy,
                  row.libraryMilliseconds / row.milliseconds);
      if (row.leastShare > 0) std::printf("   %.0f %%", 100 * row.leastShare);
      if (row.leastRatio > 0) std::printf("   %.2f x", row.leastRatio);
      std::printf("\n");
      QVERIFY2(row.worst <= 1, row.name.c_str());
    }
    QVERIFY2(outcome.ok(), outcome.detail.c_str());
  }
};

QTEST_APPLESS_MAIN(TestGpuTable)
#include "test_gpu_table.moc"
