// SPDX-License-Identifier: GPL-3.0-or-later
// Any safetensors file under configs of compressed-tensors and MLX: layers that decode, or refusals.
#include "tests/fuzz/packed_layers.h"

namespace {

constexpr const char* configs[] = {
    "",
    R"({"dtype":"bfloat16","quantization_config":{"quant_method":"compressed-tensors","config_groups":{"group_0":{"targets":["re:.*"],
        "weights":{"num_bits":4,"group_size":32,"symmetric":false}}}}})",
    R"({"quantization_config":{"quant_method":"compressed-tensors","config_groups":{"group_0":{"targets":["Linear"],
        "weights":{"num_bits":8,"block_structure":[16,16]}}}}})",
    R"({"quantization":{"group_size":32,"bits":4,"mode":"affine"}})",
    R"({"quantization":{"group_size":32,"bits":3,"m":{"group_size":32,"bits":5}}})",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::readUnder(configs, data, size);
  return 0;
}
