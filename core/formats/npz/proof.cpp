// SPDX-License-Identifier: GPL-3.0-or-later
// The arrays followed here: codes, scale, zero or bias, levels or level_type, order, decoded, and the words beside each plane
// that say which weights share its numbers: "blocks R C" (tiles of R x C), "flat N" (runs of N, row-major), "modulo G" (weight
// k belongs to k mod G), "columns" (one number per row and entry of _index). Rows and columns are those of [..., C] as [-1, C].
// Fewer codes than decoded values: each stands for several, in levels whose last side is as long. Then signs, rotation_block
// and rotation_signs, channel_scale with channel_scale_use: npz.cpp says what they do.
#include "core/formats/npz/proof.h"

#include "core/formats/proof_container.h"

#include <cmath>
#include <cstring>
#include <optional>
#include <sstream>

namespace nibble::proof {
namespace {

struct Plane {
  Array numbers, index;
  std::string kind;
  std::uint64_t first = 0, second = 0;  // the words' numbers
  std::uint64_t perRow = 0;             // numbers of a row where the kind is "columns"

  [[nodiscard]] std::uint64_t groupOf(std::uint64_t row, std::uint64_t column, std::uint64_t columns) const {
    const std::uint64_t flat = row * columns + column;
    if (kind == "blocks") return row / first * ((columns + second - 1) / second) + column / second;
    if (kind == "flat") return flat / first;
    if (kind == "modulo") return flat % first;
    return row * perRow + index.unsignedAt(column);
  }
};

struct Arithmetic {
  std::string step = "float32", result = "float32";
  bool fused = false;
};

struct Layer {
  Array codes, decoded, order, signs, rotationSigns, channelScale;
  std::uint64_t dimension = 1, rotationBlock = 0;
  bool channelScaleMultiplies = false;
  std::optional<Plane> scale, zero, bias, levels;
  std::string levelType;
  Arithmetic arithmetic;
  std::uint64_t rows = 0, columns = 0;

  // Levels are [count], [tables, count] or the same with a last side of `dimension`.
  [[nodiscard]] std::size_t levelSides() const { return levels->numbers.shape.size() - (dimension > 1 ? 1 : 0); }
  [[nodiscard]] bool hasTables() const { return levelSides() == 2; }
  [[nodiscard]] std::uint64_t levelCount() const { return levels->numbers.shape[levelSides() - 1]; }
};

// An 8-bit float of so many exponent bits; finite codes only are written.
float float8(std::uint64_t code, int exponentBits) {
  const int fractionBits = 7 - exponentBits, bias = (1 << (exponentBits - 1)) - 1;
  const auto exponent = static_cast<int>(code >> fractionBits & ((1u << exponentBits) - 1));
  const auto fraction = static_cast<double>(code & ((1u << fractionBits) - 1));
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - fractionBits)
                                         : std::ldexp(std::ldexp(1.0, fractionBits) + fraction, exponent - bias - fractionBits);
  return static_cast<float>((code & 0x80) != 0 ? -magnitude : magnitude);
}

Result<std::optional<Plane>> readPlane(const Container& file, const std::string& prefix, const std::string& name) {
  if (!file.has(prefix + name)) return std::optional<Plane>();
  auto numbers = file.read(prefix + name);
  if (!numbers) return fail(numbers.error());
  if (numbers->type != "F32") return fail(prefix + name + ": expected float32");
  Plane plane{std::move(*numbers), {}, {}, 1, 1, 0};
  const std::string key = prefix + name + "_groups";
  if (!file.has(key)) {
    plane.kind = "modulo";  // one table for all
    return std::optional(std::move(plane));
  }
  const auto words = file.read(key);
  if (!words) return fail(words.error());
  std::istringstream stream(words->text());
  stream >> plane.kind;
  if (plane.kind == "blocks") stream >> plane.first >> plane.second;
  if (plane.kind == "flat" || plane.kind == "modulo") stream >> plane.first;
  if (plane.kind == "columns") {
    auto index = file.read(prefix + name + "_index");
    if (!index) return fail(index.error());
    plane.index = std::move(*index);
    for (std::uint64_t i = 0; i < plane.index.count(); ++i)
      plane.perRow = std::max(plane.perRow, plane.index.unsignedAt(i) + 1);
  } else if (plane.kind != "blocks" && plane.kind != "flat" && plane.kind != "modulo") {
    return fail(key + ": unknown grouping");
  }
  if (!stream || plane.first == 0 || plane.second == 0) return fail(key + ": unreadable grouping");
  return std::optional(std::move(plane));
}

Result<Arithmetic> parseArithmetic(const std::string& words) {
  Arithmetic arithmetic;
  std::istringstream stream(words);
  stream >> arithmetic.step;
  arithmetic.result = arithmetic.step;
  for (std::string word; stream >> word;) {
    if (word == "fused")
      arithmetic.fused = true;
    else if (word == "then")
      stream >> arithmetic.result;
    else
      return fail("arithmetic: unknown word " + word);
  }
  for (const std::string& type : {arithmetic.step, arithmetic.result})
    if (type != "float32" && type != "float16" && type != "bfloat16") return fail("arithmetic: unknown type " + type);
  return arithmetic;
}

float levelOf(const Layer& layer, std::uint64_t at, std::uint64_t row, std::uint64_t column) {
  const std::uint64_t code = layer.codes.unsignedAt(at / layer.dimension);
  if (layer.levels) {
    const std::uint64_t count = layer.levelCount();
    const std::uint64_t table = layer.hasTables() ? layer.levels->groupOf(row, column, layer.columns) : 0;
    return layer.levels->numbers.floatAt((table * count + code) * layer.dimension + at % layer.dimension);
  }
  if (layer.levelType == "float8_e4m3fn") return float8(code, 4);
  if (layer.levelType == "float8_e5m2") return float8(code, 5);
  if (!layer.levelType.empty()) {
    Array bits{layer.levelType == "float16" ? "F16" : layer.levelType == "bfloat16" ? "BF16" : "F32", {1}, layer.codes.bytes};
    if (layer.codes.type == "I32" && bits.type != "F32") bits.type = "F32";
    bits.bytes.assign(4, 0);
    for (int i = 0; i < 4; ++i) bits.bytes[static_cast<std::size_t>(i)] = static_cast<unsigned char>(code >> (8 * i));
    return bits.floatAt(0);
  }
  return static_cast<float>(layer.codes.type == "I32" ? static_cast<double>(static_cast<std::int32_t>(code))
                                                      : static_cast<double>(code));
}

// All of a plane's numbers exist for every weight, and codes stay inside the tables.
Status checkBounds(const Layer& layer) {
  for (const auto* plane : {&layer.scale, &layer.zero, &layer.bias}) {
    if (!*plane) continue;
    if ((*plane)->kind == "columns" && (*plane)->index.count() != layer.columns)
      return fail("a group index does not fit the columns");
    for (std::uint64_t row = 0; row < layer.rows; ++row)
      for (std::uint64_t column = 0; column < layer.columns; column += (*plane)->kind == "columns" ? layer.columns : 1)
        if ((*plane)->groupOf(row, column, layer.columns) >= (*plane)->numbers.count()) return fail("a group has no number");
  }
  if (!layer.levels) return {};
  const std::size_t sides = layer.levels->numbers.shape.size() - (layer.dimension > 1 ? 1 : 0);
  if (layer.levels->numbers.shape.empty() || sides < 1 || sides > 2) return fail("levels have another number of sides");
  if (layer.dimension > 1 && layer.levels->numbers.shape.back() != layer.dimension)
    return fail("levels are not as long as a code stands for weights");
  const std::uint64_t count = layer.levelCount();
  for (std::uint64_t i = 0; i < layer.codes.count(); ++i)
    if (layer.codes.unsignedAt(i) >= count) return fail("a code has no level");
  if (!layer.hasTables()) return {};
  for (std::uint64_t row = 0; row < layer.rows; ++row)
    for (std::uint64_t column = 0; column < layer.columns; ++column)
      if (layer.levels->groupOf(row, column, layer.columns) >= layer.levels->numbers.shape[0])
        return fail("a group has no levels");
  return {};
}

float valueOf(const Layer& layer, std::uint64_t row, std::uint64_t column) {
  const std::uint64_t at = row * layer.columns + column;
  float level = levelOf(layer, at, row, column);
  if (!layer.signs.bytes.empty() && layer.signs.unsignedAt(at) != 0) level = -level;
  const auto number = [&](const Plane& plane) { return plane.numbers.floatAt(plane.groupOf(row, column, layer.columns)); };
  const auto step = [&](float value) { return rounded(value, layer.arithmetic.step); };
  float value = level;
  if (layer.scale) {
    const float scale = number(*layer.scale);
    if (layer.bias && layer.arithmetic.fused)
      value = rounded(static_cast<double>(scale) * level + number(*layer.bias), layer.arithmetic.step);
    else if (layer.bias)
      value = step(step(scale * level) + number(*layer.bias));
    else if (layer.zero)
      value = step(step(level - number(*layer.zero)) * scale);
    else
      value = step(scale * level);
  }
  return rounded(value, layer.arithmetic.result);
}

Status loadTransforms(const Container& file, const std::string& prefix, Layer& layer) {
  struct Wanted {
    const char *name, *type;
    Array* place;
    std::uint64_t count;
  };
  for (const Wanted& wanted : {Wanted{"signs", "U8", &layer.signs, layer.rows * layer.columns},
                               Wanted{"rotation_signs", "F32", &layer.rotationSigns, layer.columns},
                               Wanted{"channel_scale", "F32", &layer.channelScale, layer.columns}}) {
    if (!file.has(prefix + wanted.name)) continue;
    auto array = file.read(prefix + wanted.name);
    if (!array) return fail(array.error());
    if (array->type != wanted.type || array->count() != wanted.count)
      return fail(prefix + wanted.name + ": unexpected type or shape");
    *wanted.place = std::move(*array);
  }
  for (std::uint64_t i = 0; i < layer.signs.bytes.size(); ++i)
    if (layer.signs.bytes[i] > 1) return fail(prefix + "signs: neither 0 nor 1");
  if (file.has(prefix + "rotation_signs")) {
    const auto block = file.number(prefix + "rotation_block", "I64");
    if (!block) return fail(block.error());
    layer.rotationBlock = static_cast<std::uint64_t>(*block);
    const std::uint64_t size = layer.rotationBlock;
    if (size == 0 || (size & (size - 1)) != 0 || layer.columns % size != 0)
      return fail(prefix + "rotation_block: not a power of two that divides the columns");
  }
  if (!file.has(prefix + "channel_scale")) return {};
  const auto use = file.read(prefix + "channel_scale_use");
  if (!use) return fail(use.error());
  layer.channelScaleMultiplies = use->text() == "multiply";
  if (!layer.channelScaleMultiplies && use->text() != "divide") return fail(prefix + "channel_scale_use: unknown word");
  return {};
}

// Sums and differences over growing distances, then one multiplication by 1 / sqrt(size), all in float32.
void walshHadamard(float* run, std::uint64_t size) {
  for (std::uint64_t distance = 1; distance < size; distance *= 2)
    for (std::uint64_t i = 0; i < size; ++i) {
      if ((i / distance) % 2 != 0) continue;
      const float a = run[i], b = run[i + distance];
      run[i] = a + b;
      run[i + distance] = a - b;
    }
  const float norm = 1.0f / std::sqrt(static_cast<float>(size));
  for (std::uint64_t i = 0; i < size; ++i) run[i] *= norm;
}

// One stored row to the model's, before its columns are put in order.
void restore(const Layer& layer, std::vector<float>& row) {
  if (layer.rotationBlock != 0) {
    for (std::uint64_t begin = 0; begin < row.size(); begin += layer.rotationBlock)
      walshHadamard(row.data() + begin, layer.rotationBlock);
    for (std::uint64_t i = 0; i < row.size(); ++i) row[i] *= layer.rotationSigns.floatAt(i);
  }
  if (layer.channelScale.bytes.empty()) return;
  for (std::uint64_t i = 0; i < row.size(); ++i) {
    const float scale = layer.channelScale.floatAt(i);
    row[i] = layer.channelScaleMultiplies ? row[i] * scale : row[i] / scale;
  }
}

Result<Layer> loadLayer(const Container& file, const std::string& prefix) {
  Layer layer;
  auto codes = file.read(prefix + "codes"), decoded = file.read(prefix + "decoded");
  if (!codes) return fail(codes.error());
  if (!decoded) return fail(decoded.error());
  if (codes->type != "U8" && codes->type != "U16" && codes->type != "I32") return fail(prefix + "codes: unexpected type");
  const std::uint64_t each = codes->count() == 0 ? 1 : decoded->count() / codes->count();
  if (decoded->type != "F32" || each * codes->count() != decoded->count() || (each == 1 && decoded->shape != codes->shape))
    return fail(prefix + "decoded: unexpected type or shape");
  layer.dimension = each;
  layer.columns = decoded->shape.empty() ? 1 : decoded->shape.back();
  layer.rows = layer.columns == 0 ? 0 : decoded->count() / layer.columns;
  if (layer.columns % each != 0) return fail(prefix + "codes: one stands for weights of two rows");
  layer.codes = std::move(*codes);
  layer.decoded = std::move(*decoded);
  struct Wanted {
    const char* name;
    std::optional<Plane>* place;
  };
  for (const Wanted& wanted : {Wanted{"scale", &layer.scale}, Wanted{"zero", &layer.zero}, Wanted{"bias", &layer.bias},
                               Wanted{"levels", &layer.levels}}) {
    auto plane = readPlane(file, prefix, wanted.name);
    if (!plane) return fail(plane.error());
    *wanted.place = std::move(*plane);
  }
  if (const auto status = loadTransforms(file, prefix, layer); !status) return fail(status.error());
  if (each != 1 && !layer.levels) return fail(prefix + "levels: missing, though a code stands for several weights");
  for (const char* name : {"order", "level_type", "arithmetic"}) {
    if (!file.has(prefix + name)) continue;
    auto array = file.read(prefix + name);
    if (!array) return fail(array.error());
    if (std::strcmp(name, "order") == 0) layer.order = std::move(*array);
    if (std::strcmp(name, "level_type") == 0) layer.levelType = array->text();
    if (std::strcmp(name, "arithmetic") != 0) continue;
    auto arithmetic = parseArithmetic(array->text());
    if (!arithmetic) return fail(arithmetic.error());
    layer.arithmetic = *arithmetic;
  }
  return layer;
}

}  // namespace

Result<std::vector<float>> decodeNpz(const std::filesystem::path& file, const std::string& tensorName) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string prefix = container->has(tensorName + "/codes") ? tensorName + "/" : "";
  if (const auto choice = container->read(prefix + "choice"); !choice || choice->type != "U8")
    return fail(prefix + "choice: cannot be read");
  const auto layer = loadLayer(*container, prefix);
  if (!layer) return fail(layer.error());
  if (const auto bounds = checkBounds(*layer); !bounds) return fail(bounds.error().within(prefix));
  std::vector<float> values(layer->rows * layer->columns);
  std::vector<float> stored(layer->columns);
  for (std::uint64_t row = 0; row < layer->rows; ++row) {
    for (std::uint64_t column = 0; column < layer->columns; ++column) stored[column] = valueOf(*layer, row, column);
    restore(*layer, stored);
    for (std::uint64_t column = 0; column < layer->columns; ++column) {
      const std::uint64_t place = layer->order.bytes.empty() ? column : layer->order.unsignedAt(column);
      if (place >= layer->columns) return fail(prefix + "order: no such column");
      values[row * layer->columns + place] = stored[column];
    }
  }
  for (std::uint64_t i = 0; i < values.size(); ++i)
    if (!(values[i] == layer->decoded.floatAt(i)))
      return fail(prefix + "decoded: differs from codes and parameters at " + std::to_string(i));
  return values;
}

}  // namespace nibble::proof
