// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/backend.h"

#include "kernels/cuda/cuda_backend.h"
#include "kernels/host/host_backend.h"
#include "kernels/simd/simd_backend.h"

#include <algorithm>
#include <array>

namespace nibble::kernels {

ErrorSums& ErrorSums::operator+=(const ErrorSums& more) {
  count += more.count;
  error += more.error;
  errorSquared += more.errorSquared;
  weightSquared += more.weightSquared;
  weightError += more.weightError;
  maxError = std::max(maxError, more.maxError);
  return *this;
}

std::span<const Backend* const> allBackends() {
  static const std::array<const Backend*, 3> backends{&hostBackend(), &simdBackend(), &cudaBackend()};
  return backends;
}

// Not cuda: it was never measured, and strips that come from and go back to memory pass a slower bus than the memory itself.
const Backend& defaultBackend() {
  return simdBackend();
}

const Backend* findBackend(std::string_view name) {
  if (name == "auto") return &defaultBackend();
  for (const Backend* backend : allBackends())
    if (backend->name() == name) return backend;
  return nullptr;
}

}  // namespace nibble::kernels
