// SPDX-License-Identifier: GPL-3.0-or-later
// What the microscaling schemes share: blocks of consecutive weights of a row, one small scale each, codes that are the bits of
// small floats. A scheme says how a block's largest magnitude becomes its scale and how a weight becomes a code.
#pragma once
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"

#include <functional>
#include <span>
#include <string>

namespace nibble {

struct MicroBlock {
  float scale = 1;       // what the decoder multiplies by
  float parameter = 0;   // the number that is stored, where the scale is a product of it
};

using MicroEncoder = std::function<MicroBlock(std::span<const float> weights, float absMax, std::uint8_t* codes)>;

struct MicroBlocks {
  std::vector<float> scale, parameter;  // one per block
  std::vector<std::uint8_t> codes;
};

// Calls `encode` for every block of `block` weights (which divide the columns), over the backend's threads.
Result<MicroBlocks> encodeMicroBlocks(const Tensor& tensor, std::uint64_t block, const Context& context,
                                      const MicroEncoder& encode);

// The tensor without scale: codes of `bits` with these levels.
QuantizedTensor microTensor(const Tensor& tensor, std::vector<std::uint8_t> codes, Levels levels, int bits);

// The number of E2M1 code (sign apart) whose magnitude is nearest to x of step `unit`, ties to the smaller magnitude, and no
// negative zero: how ggml chooses FP4 codes. Compared with exact midpoints times the unit.
std::uint8_t nearestFourBitSmaller(float x, float unit);

// Bytes of two 4-bit codes: in each run of `block` weights, byte j holds weight j low and weight j + block / 2 high (ggml).
std::shared_ptr<const Layout> halvesLayout(std::uint64_t codeCount, std::uint64_t block);

std::optional<std::string> refuseColumns(MatrixSize size, std::uint64_t block);

// The schemes of one E8M0 scale for 32 weights (spec uniform 6.2): MXFP4, MXFP6, MXFP8, MXINT8.
struct MicroScheme {
  SchemeInfo info;
  std::vector<std::string> elements;  // legal element types, default first
  bool variants = false;              // whether ggml has a form of its own
};
class MxScheme final : public Scheme {
 public:
  explicit MxScheme(MicroScheme about);
  [[nodiscard]] const SchemeInfo& info() const override { return m_about.info; }
  [[nodiscard]] const std::vector<SettingInfo>& settings() const override;
  [[nodiscard]] std::vector<Promise> promises(const SettingValues& values) const override;
  [[nodiscard]] std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override;
  [[nodiscard]] Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values,
                                                 const Context& context) const override;

 private:
  struct Settings {
    std::string element = "e2m1", rule = "floor", variant = "ocp";
  };
  MicroScheme m_about;
  SettingTable<Settings> m_table;
};

}  // namespace nibble
