// SPDX-License-Identifier: GPL-3.0-or-later
// What ptxas made of the kernels: no spills, registers within the bound each source states, for every architecture. And every
// kernel states a bound, which needs no nvcc to see.
#include "tests/support/emulator_bounds.h"

#include <QtTest>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

using namespace nibble::test;

class TestCudaResources : public QObject {
  Q_OBJECT

 private slots:
  void everyKernelStatesABound() {
    const auto bounds = kernelBounds();
    QVERIFY(bounds.size() >= 20);
    QVERIFY(kernelBounds("ranges.cu").contains("rangesOfRuns"));
    for (const auto& [name, bound] : bounds) {
      QVERIFY2(bound.registers > 0 && bound.registers <= 255, name.c_str());
      QVERIFY2(bound.sharedBytes <= 48 << 10, name.c_str());  // more would need a device's leave
    }
  }

  void compiledKernelsKeepThem() {
    const auto bounds = kernelBounds();
    const auto uses = kernelUses();
    if (uses.empty()) QSKIP("nvcc did not run: registers and spills are unknown");
    std::set<std::string> seen;
    for (const KernelUse& use : uses) {
      std::string kernel;
      // Mangled names hold each name behind its length.
      for (const auto& [name, bound] : bounds)
        if (use.entry.find(std::to_string(name.size()) + name) != std::string::npos && name.size() > kernel.size())
          kernel = name;
      QVERIFY2(!kernel.empty(), ("no bound is stated for " + use.entry).c_str());
      QVERIFY2(use.registers > 0, use.entry.c_str());
      QVERIFY2(use.spillBytes == 0, (kernel + " spills on " + use.architecture).c_str());
      QVERIFY2(use.registers <= bounds.at(kernel).registers,
               (kernel + " takes " + std::to_string(use.registers) + " registers on " + use.architecture).c_str());
      seen.insert(kernel);
    }
    for (const auto& [name, bound] : bounds)
      QVERIFY2(seen.contains(name), (name + " states a bound, but was not compiled").c_str());
  }
};

QTEST_APPLESS_MAIN(TestCudaResources)
#include "test_cuda_resources.moc"
