// SPDX-License-Identifier: GPL-3.0-or-later
// The place of the CUDA backend in the list. The kernels beside this file are a library of their own (nibble_cuda) that no host
// code calls yet: the entry says so and must not be called.
#pragma once
#include "kernels/backend.h"

namespace nibble::kernels {

const Backend& cudaBackend();

}  // namespace nibble::kernels
