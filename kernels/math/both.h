// SPDX-License-Identifier: GPL-3.0-or-later
// NIBBLE_BOTH marks the inline functions of kernels/math that run on the host and on a CUDA device; elsewhere it is nothing.
#pragma once

#ifdef __CUDACC__
#define NIBBLE_BOTH __host__ __device__
#else
#define NIBBLE_BOTH
#endif
