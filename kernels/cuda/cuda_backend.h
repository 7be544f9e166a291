// SPDX-License-Identifier: GPL-3.0-or-later
// The place of the CUDA backend in the list. This version has no CUDA kernels: the entry says so and must not be called.
#pragma once
#include "kernels/backend.h"

namespace nibble::kernels {

const Backend& cudaBackend();

}  // namespace nibble::kernels
