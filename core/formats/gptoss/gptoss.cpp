// SPDX-License-Identifier: GPL-3.0-or-later
// The expert stacks of gpt-oss checkpoints in MXFP4 (read only). A stack P of E matrices [out, in] is P_blocks U8
// [E, out, in / 32, 16], two E2M1 floats a byte, the first in the low nibble, and P_scales U8 [E, out, in / 32], exponents:
//     w = e2m1(code) * 2^(s - 127)
// The loader hands the matrices on turned over, [E, in, out]; the stored orientation is kept here. The stack is listed under
// P, its matrices are P[e], each read alone.
// Source: transformers integrations/mxfp4.py; files with gpt-oss' names.
#include "core/formats/parts.h"
#include "core/formats/read_only.h"

namespace nibble {
namespace {

using namespace formats;

constexpr std::string_view blocksSuffix = "_blocks", scalesSuffix = "_scales";
constexpr std::uint64_t blockBytes = 16, blockWeights = 32;

struct Stack {
  std::size_t blocks = 0, scales = 0;  // entries
  std::uint64_t experts = 0, rows = 0, columns = 0;
};

// None: the names or the shape of the codes are not those of a stack. An error: they are, but something does not fit.
Result<std::optional<Stack>> stackAt(const Checkpoint& checkpoint, const std::string& name) {
  const auto blocks = checkpoint.find(name + std::string(blocksSuffix));
  const auto scales = checkpoint.find(name + std::string(scalesSuffix));
  if (!blocks || !scales) return std::optional<Stack>();
  const TensorEntry &codes = checkpoint.entries()[*blocks], &exponents = checkpoint.entries()[*scales];
  const Shape& shape = codes.shape;
  if (codes.type != DType::U8 || shape.size() != 4 || shape[3] != blockBytes) return std::optional<Stack>();
  if (!plausibleCount(shape).value_or(0)) return fail(expected(codes.name, "blocks of weights", codes));
  if ((exponents.type != DType::U8 && exponents.type != DType::F8E8M0) ||
      exponents.shape != Shape{shape[0], shape[1], shape[2]})
    return fail(expected(exponents.name, "one U8 for each block, " + toText({shape[0], shape[1], shape[2]}), exponents));
  return std::optional(Stack{*blocks, *scales, shape[0], shape[1], shape[2] * blockWeights});
}

// The stored bytes of `count` items of `size` bytes from item `first` on.
Result<std::vector<std::uint8_t>> part(const Checkpoint& checkpoint, std::size_t entry, std::uint64_t first,
                                       std::uint64_t size) {
  const auto tensor = checkpoint.read(entry);
  if (!tensor) return fail(tensor.error());
  const auto bytes = tensor->bytes().subspan(first, size);
  std::vector<std::uint8_t> copy(size);
  for (std::uint64_t i = 0; i < size; ++i) copy[i] = static_cast<std::uint8_t>(bytes[i]);
  if (auto intact = tensor->intact(); !intact) return fail(intact.error().within(tensor->name()));
  return copy;
}

// Matrices [first, first + count) of the stack, one below the other.
Result<QuantizedTensor> readMatrices(const Checkpoint& checkpoint, const Stack& stack, std::uint64_t first,
                                     std::uint64_t count) {
  QuantizedTensor tensor;
  tensor.rows = count * stack.rows;
  tensor.columns = stack.columns;
  const std::uint64_t scales = tensor.weightCount() / blockWeights, before = first * stack.rows * stack.columns / blockWeights;
  const auto bytes = part(checkpoint, stack.blocks, before * blockBytes, scales * blockBytes);
  if (!bytes) return fail(bytes.error());
  const auto exponents = part(checkpoint, stack.scales, before, scales);
  if (!exponents) return fail(exponents.error());
  std::vector<float> powers(scales);
  for (std::uint64_t i = 0; i < scales; ++i) {
    if ((*exponents)[i] == 255)
      return fail(checkpoint.entries()[stack.scales].name + ": number " + std::to_string(before + i) + " is NaN");
    powers[i] = kernels::e8m0ToFloat((*exponents)[i]);
  }
  tensor.width.uniform = 4;
  tensor.layout = denseLayout(tensor.weightCount(), 4);
  tensor.codes = tensor.layout->unpack(std::as_bytes(std::span(*bytes)), tensor.weightCount());
  tensor.levels = Levels::fixedTable(e2m1Values());
  tensor.scale =
      Plane::numbers(Grouping::blocks(tensor.rows, tensor.columns, 1, blockWeights), std::move(powers), Stored::F8E8M0);
  return tensor;
}

class GptOssFormat final : public ReadOnlyFormat {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"gpt-oss",
                                    "gpt-oss expert stacks in MXFP4: blocks and scales (read only)",
                                    "transformers integrations/mxfp4.py",
                                    {},
                                    ".safetensors"};
    return info;
  }

  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const override {
    std::vector<PackedLayer> layers;
    for (const TensorEntry& entry : checkpoint.entries()) {
      if (entry.type != DType::U8 || entry.shape.size() != 4 || !entry.name.ends_with(blocksSuffix)) continue;
      const std::string name = entry.name.substr(0, entry.name.size() - blocksSuffix.size());
      const auto stack = stackAt(checkpoint, name);
      if (stack && !*stack) continue;
      if (!stack) {  // listed all the same: reading it says what is wrong
        layers.push_back({name,
                          "gpt-oss mxfp4",
                          {*checkpoint.find(entry.name), *checkpoint.find(name + "_scales")},
                          {entry.shape[0], entry.shape[1], entry.shape[2] * blockWeights}});
        continue;
      }
      const Stack& found = **stack;
      layers.push_back({name, "gpt-oss mxfp4", {found.blocks, found.scales}, {found.experts, found.rows, found.columns}});
    }
    return layers;
  }

  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const override {
    return readSome(checkpoint, layer, std::nullopt);
  }

  [[nodiscard]] Result<QuantizedTensor> readMatrix(const Checkpoint& checkpoint, const PackedLayer& layer,
                                                   std::uint64_t index) const override {
    return readSome(checkpoint, layer, index);
  }

 private:
  static Result<QuantizedTensor> readSome(const Checkpoint& checkpoint, const PackedLayer& layer,
                                          std::optional<std::uint64_t> index) {
    const auto stack = stackAt(checkpoint, layer.name);
    if (!stack) return fail(stack.error());
    if (!*stack) return fail(layer.name + ": not a gpt-oss stack");
    const Stack& found = **stack;
    if (index && *index >= found.experts) return fail(layer.name + ": has no matrix " + std::to_string(*index));
    auto tensor = readMatrices(checkpoint, found, index.value_or(0), index ? 1 : found.experts);
    if (!tensor) return tensor;
    tensor->scheme = layer.description;
    tensor->shape = index ? Shape{found.rows, found.columns} : Shape{found.experts, found.rows, found.columns};
    return tensor;
  }
};

}  // namespace

const Format& gptOssFormat() {
  static const GptOssFormat format;
  return format;
}

}  // namespace nibble
