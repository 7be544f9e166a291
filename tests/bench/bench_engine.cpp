// SPDX-License-Identifier: GPL-3.0-or-later
// The benchmark of `nibblescope-cli bench` as a table, for work on the kernels: bench_engine [threads] [filter] [repetitions].
#include "core/run/bench.h"
#include "kernels/backend.h"

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  nibble::kernels::setThreadCount(argc > 1 ? std::atoi(argv[1]) : 0);
  nibble::BenchOptions options;
  if (argc > 2) options.filter = argv[2];
  if (argc > 3) options.repetitions = std::atoi(argv[3]);
  const auto report = nibble::bench(options, nibble::Context{});
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().message.c_str());
    return 1;
  }
  std::printf("%s: R = %.1f GB/s, best plain loop %.1f GB/s\n", report->backend.c_str(), report->gbPerSecond,
              report->bestPlainGbPerSecond);
  for (const nibble::BenchRow& row : report->rows)
    std::printf("%-70s %8.2f ms %7.2f R %9.1f Mw/s%s\n", row.name.c_str(), row.seconds * 1e3, row.timesRead,
                row.weightsPerSecond * 1e-6,
                row.goal == 0               ? ""
                : row.timesRead <= row.goal ? "  goal met"
                                            : "  goal missed");
  return report->readIsTrusted() ? 0 : 3;
}
