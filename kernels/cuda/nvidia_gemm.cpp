// SPDX-License-Identifier: GPL-3.0-or-later
// cuBLAS without its headers: three functions, whose C interface is the same in versions 11 to 13.
#include "kernels/cuda/gemm.h"

#include <dlfcn.h>

#include <climits>
#include <mutex>
#include <string>

namespace nibble::kernels {
namespace {

// Numbers of cublas_api.h and library_types.h.
constexpr int noTranspose = 0, transpose = 1, real16 = 2, real32 = 0, compute32 = 68, defaultAlgorithm = -1;
constexpr int allocationFailed = 3, invalidValue = 7, notSupported = 15;

using Create = int (*)(void** handle);
using Destroy = int (*)(void* handle);
using SetStream = int (*)(void* handle, void* stream);
using GemmEx = int (*)(void* handle, int transA, int transB, int m, int n, int k, const void* alpha, const void* a, int aType,
                       int lda, const void* b, int bType, int ldb, const void* beta, void* c, int cType, int ldc, int compute,
                       int algorithm);

class NvidiaGemm final : public DeviceGemm {
 public:
  NvidiaGemm(void* handle, Destroy destroy, SetStream setStream, GemmEx gemm)
      : m_handle(handle), m_destroy(destroy), m_setStream(setStream), m_gemm(gemm) {}
  ~NvidiaGemm() override { m_destroy(m_handle); }
  NvidiaGemm(const NvidiaGemm&) = delete;
  NvidiaGemm& operator=(const NvidiaGemm&) = delete;

  // The library counts down columns: out^T = b^T a^T, with the same memory.
  Outcome multiply(const std::uint16_t* a, std::size_t m, const std::uint16_t* b, std::size_t k, std::size_t n, bool transposed,
                   float* out, Stream stream) override {
    if (stream == nullptr) return Outcome::failed(Fault::BadCall, "a product on the default stream");
    if (m > INT_MAX || n > INT_MAX || k > INT_MAX) return Outcome::failed(Fault::BadCall, "a product of too many rows");
    const int rows = static_cast<int>(m), columns = static_cast<int>(n), inner = static_cast<int>(k);
    const float one = 1, zero = 0;
    const std::lock_guard lock(m_mutex);  // the stream belongs to the handle
    int status = m_setStream(m_handle, stream);
    if (status == 0)
      status = m_gemm(m_handle, transposed ? transpose : noTranspose, noTranspose, columns, rows, inner, &one, b, real16,
                      transposed ? inner : columns, a, real16, inner, &zero, out, real32, columns, compute32,
                      defaultAlgorithm);
    if (status == 0) return {};
    const bool refused = status == invalidValue || status == notSupported;
    const Fault fault = status == allocationFailed ? Fault::NoMemory : refused ? Fault::BadCall : Fault::Lost;
    return Outcome::failed(fault, "cuBLAS status " + std::to_string(status));
  }

 private:
  void* m_handle;
  Destroy m_destroy;
  SetStream m_setStream;
  GemmEx m_gemm;
  std::mutex m_mutex;
};

}  // namespace

// The library stays loaded: others may have it too, and its own threads may outlive a product.
Outcome nvidiaGemm(std::unique_ptr<DeviceGemm>* gemm) {
  for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"}) {
    void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) continue;
    const auto create = reinterpret_cast<Create>(dlsym(library, "cublasCreate_v2"));
    const auto destroy = reinterpret_cast<Destroy>(dlsym(library, "cublasDestroy_v2"));
    const auto setStream = reinterpret_cast<SetStream>(dlsym(library, "cublasSetStream_v2"));
    const auto gemmEx = reinterpret_cast<GemmEx>(dlsym(library, "cublasGemmEx"));
    void* handle = nullptr;
    if (create == nullptr || destroy == nullptr || setStream == nullptr || gemmEx == nullptr) continue;
    if (const int status = create(&handle); status != 0)
      return Outcome::failed(Fault::NoDevice, std::string(name) + " does not start: status " + std::to_string(status));
    *gemm = std::make_unique<NvidiaGemm>(handle, destroy, setStream, gemmEx);
    return {};
  }
  return Outcome::failed(Fault::NotBuilt, "cuBLAS (libcublas.so.13, .12 or .11) is not installed");
}

}  // namespace nibble::kernels
