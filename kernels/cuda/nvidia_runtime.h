// SPDX-License-Identifier: GPL-3.0-or-later
// DeviceRuntime by NVIDIA's runtime library, on the first device it lists (CUDA_VISIBLE_DEVICES chooses).
#pragma once
#include "kernels/cuda/runtime.h"

#include <memory>

namespace nibble::kernels {

std::unique_ptr<DeviceRuntime> nvidiaRuntime();

}  // namespace nibble::kernels
