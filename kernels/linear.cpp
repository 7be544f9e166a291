// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/linear.h"

#include "kernels/backend.h"

namespace nibble::kernels {

const LinearLoops& linearLoops(const Backend& backend) {
  return backend.name() == "host" ? hostLinearLoops() : simdLinearLoops();
}

}  // namespace nibble::kernels
