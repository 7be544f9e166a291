// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/blocks.h"

#include "core/base/text.h"
#include "core/quant/block_fields.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace nibble {
namespace {

using blocks::BitField;
using blocks::BlockFields;
using blocks::ParameterField;

constexpr std::array types{
    BlockType::Q4_0,    BlockType::Q4_1,    BlockType::Q5_0,  BlockType::Q5_1,   BlockType::Q8_0,
    BlockType::Q2_K,    BlockType::Q3_K,    BlockType::Q4_K,  BlockType::Q5_K,   BlockType::Q6_K,
    BlockType::IQ2_XXS, BlockType::IQ2_XS,  BlockType::IQ3_XXS, BlockType::IQ1_S, BlockType::IQ4_NL,
    BlockType::IQ3_S,   BlockType::IQ2_S,   BlockType::IQ4_XS, BlockType::IQ1_M, BlockType::TQ1_0,
    BlockType::TQ2_0,   BlockType::MXFP4,   BlockType::NVFP4, BlockType::Q1_0,   BlockType::Q2_0,
};

float numberFrom(Stored stored, unsigned bits) {
  switch (stored) {
    case Stored::F16: return kernels::halfToFloat(static_cast<std::uint16_t>(bits));
    case Stored::F8E8M0: return std::ldexp(1.0f, static_cast<int>(bits) - 127);
    default: return kernels::float8ToFloat<4>(static_cast<std::uint8_t>(bits));
  }
}

unsigned bitsOf(Stored stored, float value) {
  switch (stored) {
    case Stored::F16: return kernels::floatToHalf(value);
    case Stored::F8E8M0: return static_cast<unsigned>(std::ilogb(value) + 127);
    default: return kernels::floatToFloat8<4>(value);
  }
}

// ggml's reading of every byte as an unsigned E4M3 number: the sign bit is ignored, 0x7F is 0.
float lenientE4M3(unsigned byte) {
  if (byte == 0x7F) return 0;
  const int exponent = static_cast<int>(byte >> 3 & 15);
  const auto fraction = static_cast<float>(byte & 7);
  return exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(1 + fraction / 8, exponent - 7);
}

// The same blocks of a whole tensor, seen by the planes.
struct BlockView {
  const BlockFields& fields;
  std::span<const std::byte> bytes;
  std::uint64_t rows = 0, columns = 0, count = 0;
  [[nodiscard]] const std::byte* block(std::uint64_t index) const { return bytes.data() + index * fields.bytes(); }
};

template <class T>
std::vector<T> readField(const BlockView& view, const BitField& field) {
  std::vector<T> all(view.count * field.count());
  for (std::uint64_t i = 0; i < view.count; ++i) field.read(view.block(i), all.data() + i * field.count());
  return all;
}

Error badScale(std::uint64_t number, std::uint64_t perBlock, const char* what) {
  return {ErrorKind::Input, "block " + text::number(number / perBlock) + ": " + what};
}

Result<std::vector<float>> readNumbers(const BlockView& view, const ParameterField& field) {
  const std::vector<std::uint16_t> stored = readField<std::uint16_t>(view, field.numbers);
  std::vector<float> values(stored.size());
  for (std::size_t i = 0; i < stored.size(); ++i) {
    if (field.stored == Stored::F8E8M0 && stored[i] == 255) return fail(badScale(i, field.numbers.count(), "its scale is NaN"));
    values[i] = numberFrom(field.stored, stored[i]);
    if (!std::isfinite(values[i]))
      return fail(badScale(i, field.numbers.count(), "its scale or minimum is no finite number"));
  }
  return values;
}

// NVFP4's scales where some byte is no positive E4M3 number: the bytes themselves are codes of a table.
Plane lenientScales(const BlockView& view, Grouping grouping, std::vector<std::uint8_t> bytes) {
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = bytes.size();
  nested->shape = {1, bytes.size()};
  nested->layout = denseLayout(bytes.size(), 8);
  nested->codes = Codes(std::move(bytes));
  nested->width.uniform = 8;
  std::vector<float> table;
  for (unsigned byte = 0; byte < 256; ++byte) table.push_back(lenientE4M3(byte));
  nested->levels = Levels::fixedTable(std::move(table));
  nested->scheme = view.fields.name;
  return Plane::quantized(std::move(grouping), std::move(nested));
}

Result<Plane> nestedPlane(const BlockView& view, const ParameterField& field, Grouping grouping) {
  auto nested = std::make_shared<QuantizedTensor>();
  nested->scheme = view.fields.name;
  nested->rows = 1;
  nested->columns = view.count * field.codes.count();
  nested->shape = {1, nested->columns};
  nested->codes = Codes(readField<std::uint8_t>(view, field.codes));
  nested->width.uniform = static_cast<std::uint8_t>(field.codes.bits());
  nested->layout = denseLayout(nested->columns, field.codes.bits());
  nested->levels = field.levels;
  if (field.levelsZero) {
    nested->rule = ValueRule::ScaleMinusZero;
    nested->zero = Plane::implied(Grouping::tensor(1, nested->columns), *field.levelsZero);
  }
  if (field.numbers.count() != 0) {
    auto numbers = readNumbers(view, field);
    if (!numbers) return fail(numbers.error());
    nested->scale = Plane{Grouping::blocks(1, nested->columns, 1, field.codes.count()), *std::move(numbers), field.stored, nullptr};
  }
  return Plane::quantized(std::move(grouping), std::move(nested));
}

Result<std::optional<Plane>> readPlane(const BlockView& view, const ParameterField& field) {
  if (field.kind == ParameterField::Kind::None) return std::optional<Plane>();
  if (field.kind == ParameterField::Kind::Implied)
    return std::optional(Plane::implied(Grouping::tensor(view.rows, view.columns), field.implied));
  Grouping grouping = Grouping::blocks(view.rows, view.columns, 1, view.fields.weights() / field.groupsInBlock());
  if (field.kind == ParameterField::Kind::Nested) {
    auto plane = nestedPlane(view, field, std::move(grouping));
    if (!plane) return fail(plane.error());
    return std::optional(*std::move(plane));
  }
  if (field.stored == Stored::F8E4M3) {
    std::vector<std::uint8_t> bytes = readField<std::uint8_t>(view, field.numbers);
    if (std::any_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte >= 0x7F; }))
      return std::optional(lenientScales(view, std::move(grouping), std::move(bytes)));
  }
  auto numbers = readNumbers(view, field);
  if (!numbers) return fail(numbers.error());
  return std::optional(Plane{std::move(grouping), *std::move(numbers), field.stored, nullptr});
}

// Seven stored signs: the eighth makes the number of negative weights even.
std::uint8_t withParity(std::uint8_t seven) { return static_cast<std::uint8_t>(seven | (std::popcount(seven) % 2) << 7); }

std::vector<std::uint8_t> readSigns(const BlockView& view) {
  std::vector<std::uint8_t> signs = readField<std::uint8_t>(view, view.fields.signs);
  if (view.fields.signs.bits() == 7) std::transform(signs.begin(), signs.end(), signs.begin(), withParity);
  return signs;
}

// Only MXFP4's scales can be so large that a finite one gives an infinite weight.
Status checkFinite(const QuantizedTensor& tensor, const BlockFields& fields) {
  if (fields.scale.stored != Stored::F8E8M0) return {};
  const std::vector<std::uint8_t>& codes = *tensor.codes.as<std::uint8_t>();
  for (std::uint64_t block = 0; block < tensor.scale->values.size(); ++block) {
    if (tensor.scale->values[block] < 0x1p125f) continue;
    for (std::uint64_t i = block * fields.weights(); i < (block + 1) * fields.weights(); ++i)
      if (!std::isfinite(tensor.scale->values[block] * tensor.levels.table[codes[i]]))
        return fail("block " + text::number(block) + ": decodes to infinity");
  }
  return {};
}

}  // namespace

std::span<const BlockType> allBlockTypes() { return types; }
std::string_view blockTypeName(BlockType type) { return blocks::fieldsOf(type).name; }

std::optional<BlockType> blockTypeFromNumber(std::uint32_t number) {
  const auto found =
      std::find_if(types.begin(), types.end(), [number](BlockType type) { return static_cast<std::uint32_t>(type) == number; });
  return found == types.end() ? std::nullopt : std::optional(*found);
}

double blockBitsPerWeight(BlockType type) {
  const kernels::BlockShape shape = kernels::blockShape(type);
  return 8.0 * static_cast<double>(shape.bytes) / static_cast<double>(shape.weights);
}

Result<QuantizedTensor> fromBlocks(BlockType type, std::uint64_t rows, std::uint64_t columns, std::span<const std::byte> bytes) {
  const BlockFields& fields = blocks::fieldsOf(type);
  const std::string name(fields.name);
  if (columns == 0 || rows == 0 || columns % fields.weights() != 0)
    return fail(name + " wants rows of a multiple of " + text::number(fields.weights()) + " weights, not " + text::number(columns));
  const std::uint64_t perRow = columns / fields.weights();
  if (bytes.size() / fields.bytes() / perRow != rows || bytes.size() != rows * perRow * fields.bytes())
    return fail(name + ": " + text::number(std::uint64_t{bytes.size()}) + " bytes do not hold " + text::number(rows) + " x " +
                text::number(columns) + " weights");
  const BlockView view{fields, bytes, rows, columns, rows * perRow};
  QuantizedTensor tensor;
  tensor.scheme = name;
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.shape = {rows, columns};
  tensor.layout = blockLayout(type, rows, columns);
  tensor.codes = tensor.layout->unpack(bytes, view.count * fields.codes.count());
  tensor.width.uniform = static_cast<std::uint8_t>(fields.trits ? 2 : fields.codes.bits());
  tensor.levels = fields.levels;
  tensor.rule = fields.rule;
  auto scale = readPlane(view, fields.scale), zero = readPlane(view, fields.zero);
  if (!scale) return fail(scale.error().within(name));
  if (!zero) return fail(zero.error().within(name));
  tensor.scale = *std::move(scale);
  tensor.zero = *std::move(zero);
  if (fields.signs.count() != 0) tensor.signs = readSigns(view);
  if (const auto* codes = tensor.codes.as<std::uint8_t>(); codes != nullptr && tensor.levels.kind == Levels::Kind::Identity)
    if (std::any_of(codes->begin(), codes->end(), [&](std::uint8_t code) { return code >= tensor.levels.levelCount; }))
      tensor.levels.levelCount = 0;  // TQ2_0 with a code that its encoder never writes
  NIBBLE_TRY(checkFinite(tensor, fields));
  return tensor;
}

namespace {

// Writes the numbers of one plane into the blocks.
class PlaneWriter {
 public:
  PlaneWriter(const BlockFields& fields, std::uint64_t blockCount, std::span<std::byte> bytes)
      : m_fields(fields), m_blockCount(blockCount), m_bytes(bytes) {}

  Status write(const std::optional<Plane>& plane, const ParameterField& field, const char* what) {
    const auto different = [&] { return fail(std::string(m_fields.name) + ": the tensor's " + what + " is not stored as the type's"); };
    if (field.kind == ParameterField::Kind::None || field.kind == ParameterField::Kind::Implied) return {};
    if (!plane || plane->values.size() != m_blockCount * field.groupsInBlock()) return different();
    if (plane->nested && field.kind == ParameterField::Kind::Numbers) return writeCodes(plane->nested->codes, field.numbers);
    if (field.kind == ParameterField::Kind::Numbers) return writeNumbers(plane->values, field);
    if (!plane->nested || plane->nested->codes.size() != plane->values.size()) return different();
    NIBBLE_TRY(writeCodes(plane->nested->codes, field.codes));
    if (field.numbers.count() == 0) return {};
    if (!plane->nested->scale || plane->nested->scale->values.size() != m_blockCount) return different();
    return writeNumbers(plane->nested->scale->values, field);
  }

  Status writeCodes(const Codes& codes, const BitField& field) {
    for (std::uint64_t i = 0; i < codes.size(); ++i) {
      const std::int64_t code = codes.at(i);
      if (code < 0 || code >> field.bits() != 0) return fail(std::string(m_fields.name) + ": a code does not fit its bits");
      put(field, i, static_cast<std::uint32_t>(code));
    }
    return {};
  }

 private:
  Status writeNumbers(const std::vector<float>& values, const ParameterField& field) {
    for (std::uint64_t i = 0; i < values.size(); ++i) {
      const unsigned bits = std::isfinite(values[i]) ? bitsOf(field.stored, values[i]) : 0;
      if (!std::isfinite(values[i]) ||
          std::bit_cast<std::uint32_t>(numberFrom(field.stored, bits)) != std::bit_cast<std::uint32_t>(values[i]))
        return fail(std::string(m_fields.name) + ": " + text::number(static_cast<double>(values[i])) + " is no number of its type");
      put(field.numbers, i, bits);
    }
    return {};
  }

  void put(const BitField& field, std::uint64_t index, std::uint32_t value) {
    field.write(static_cast<std::uint32_t>(index % field.count()), value, m_bytes.data() + index / field.count() * m_fields.bytes());
  }

  const BlockFields& m_fields;
  std::uint64_t m_blockCount;
  std::span<std::byte> m_bytes;
};

}  // namespace

Result<std::vector<std::byte>> toBlocks(const QuantizedTensor& tensor) {
  const auto type = blockTypeOf(tensor);
  if (!type) return fail("the tensor is not laid out in blocks");
  const BlockFields& fields = blocks::fieldsOf(*type);
  const std::uint64_t blockCount = tensor.layout->sizeBytes() / fields.bytes();
  if (tensor.codes.size() != blockCount * fields.codes.count())
    return fail(std::string(fields.name) + ": another number of codes than the blocks hold");
  std::vector<std::byte> bytes(tensor.layout->sizeBytes());
  if (fields.trits) bytes = tensor.layout->pack(tensor.codes);
  PlaneWriter planes(fields, blockCount, bytes);
  if (!fields.trits) NIBBLE_TRY(planes.writeCodes(tensor.codes, fields.codes));
  NIBBLE_TRY(planes.write(tensor.scale, fields.scale, "scale"));
  NIBBLE_TRY(planes.write(tensor.zero, fields.zero, "zero"));
  if (fields.signs.count() == 0) return bytes;
  if (tensor.signs.size() != blockCount * fields.signs.count()) return fail(std::string(fields.name) + ": signs are missing");
  std::vector<std::uint8_t> signs = tensor.signs;
  if (fields.signs.bits() == 7) {
    for (std::uint8_t& byte : signs) {
      if (withParity(byte & 0x7F) != byte) return fail(std::string(fields.name) + ": an odd number of signs");
      byte &= 0x7F;
    }
  }
  NIBBLE_TRY(planes.writeCodes(Codes(std::move(signs)), fields.signs));
  return bytes;
}

}  // namespace nibble
