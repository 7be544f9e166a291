// SPDX-License-Identifier: GPL-3.0-or-later
// What the schemes of GGUF's block types share: the matrix is cut into blocks along its rows, each block becomes bytes by the
// backend (kernels/math/blocks.h, byte for byte ggml's), and the description is read off those bytes (core/quant/blocks.h).
// A type that can weigh its search takes E[x^2] per input channel from the context; without it ggml's path without importance
// matrix is taken, which is not the path with weights of one. A scale beyond float16 is an error that names the block.
#pragma once
#include "core/schemes/scheme.h"
#include "kernels/block_type.h"

#include <vector>

namespace nibble {

inline constexpr std::string_view ggufReference = "ggml 0.25.3, default build";

class BlockScheme final : public Scheme {
 public:
  BlockScheme(const SchemeInfo& info, kernels::BlockType type, std::vector<Promise> promises)
      : m_info(info), m_type(type), m_promises(std::move(promises)) {}
  const SchemeInfo& info() const override { return m_info; }
  const std::vector<SettingInfo>& settings() const override;
  std::vector<Promise> promises(const SettingValues&) const override { return m_promises; }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override;
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override;

 private:
  SchemeInfo m_info;
  kernels::BlockType m_type;
  std::vector<Promise> m_promises;
};

}  // namespace nibble
