// SPDX-License-Identifier: GPL-3.0-or-later
// The default CPU backend: Highway vectors chosen for the machine at run time (simd_loops.h), oneTBB threads.
// Big views are cut into pieces of about one L2 cache; small ones run on the calling thread, so that a scheme which cuts a
// tensor itself (parallelFor over strips) pays nothing for calling from inside.
#pragma once
#include "kernels/backend.h"

namespace nibble::kernels {

const Backend& simdBackend();

}  // namespace nibble::kernels
