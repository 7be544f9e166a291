// SPDX-License-Identifier: GPL-3.0-or-later
// Any safetensors file as FP8 layers under some configs, and as expert stacks of gpt-oss.
#include "tests/fuzz/packed_layers.h"

namespace {

constexpr const char* configs[] = {
    "",
    R"({"dtype":"bfloat16","quantization_config":{"quant_method":"fp8","weight_block_size":[32,32]}})",
    R"({"quantization_config":{"quant_method":"fp8","weight_block_size":[128,128]}})",
    R"({"torch_dtype":"float16","quantization_config":{"quant_method":"fbgemm_fp8"}})",
    R"({"quantization_config":{"quant_method":"fp8","weight_block_size":[0,-1]}})",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::readUnder(configs, data, size);
  return 0;
}
