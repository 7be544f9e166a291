// SPDX-License-Identifier: GPL-3.0-or-later
// The bounds that kernels' headers state ("bound NAME registers N shared BYTES") and what ptxas said of each compiled kernel.
#pragma once
#include <map>
#include <string>
#include <vector>

namespace nibble::test {

struct KernelBound {
  unsigned registers = 0, sharedBytes = 0;
};
// By kernel name, of one source ("ranges.cu") or of all.
std::map<std::string, KernelBound> kernelBounds(const std::string& source = {});

struct KernelUse {
  std::string entry, architecture;  // the mangled name
  unsigned registers = 0, spillBytes = 0;
};
// Empty where nvcc did not run.
std::vector<KernelUse> kernelUses();

}  // namespace nibble::test
