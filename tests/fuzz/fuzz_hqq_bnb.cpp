// SPDX-License-Identifier: GPL-3.0-or-later
// Any safetensors file as layers of HQQ, bitsandbytes (4 bit, int8), quanto, torchao and document 000.
#include "tests/fuzz/packed_layers.h"

namespace {

constexpr const char* configs[] = {
    "",
    R"({"hidden_size":64,"intermediate_size":192,"num_attention_heads":4,"head_dim":16})",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::readUnder(configs, data, size);
  return 0;
}
