// SPDX-License-Identifier: GPL-3.0-or-later
// The CUDA backend's place in the list: over NVIDIA's runtime where the program was built with nvcc, else with the reason why
// not. Usable is asked of the machine at the first call of unusableReason().
#pragma once
#include "kernels/backend.h"

namespace nibble::kernels {

const Backend& cudaBackend();

}  // namespace nibble::kernels
