// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/cuda_backend.h"

#ifdef NIBBLE_CUDA_BUILT
#include "kernels/cuda/device_backend.h"
#include "kernels/cuda/nvidia_runtime.h"
#else
#include "kernels/cuda/cpu_served.h"
#endif

namespace nibble::kernels {

// Never destroyed: at the program's end the driver may be gone before.
const Backend& cudaBackend() {
#ifdef NIBBLE_CUDA_BUILT
  static const auto* backend = new cuda::DeviceBackend(nvidiaRuntime());
#else
  static const auto* backend = new NoBackend("cuda", "NVIDIA GPU", "this program was built without CUDA");
#endif
  return *backend;
}

}  // namespace nibble::kernels
