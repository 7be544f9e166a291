// SPDX-License-Identifier: GPL-3.0-or-later
// Any safetensors file is, under each of some real configs, layers that decode in each of their readings, or refusals.
#include "tests/fuzz/packed_layers.h"

namespace {

constexpr const char* configs[] = {
    "",
    R"({"quantization_config":{"quant_method":"gptq","bits":4,"group_size":32,"checkpoint_format":"gptq"}})",
    R"({"quantization_config":{"quant_method":"gptq","checkpoint_format":"gptq_p"}})",
    R"({"quantization_config":{"quant_method":"awq","version":"gemm"}})",
    R"({"quantization_config":{"quant_method":"auto-round","packing_format":"auto_round","extra_config":{"a":1}}})",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::readUnder(configs, data, size);
  return 0;
}
