// SPDX-License-Identifier: GPL-3.0-or-later
// The arrays followed here: codes, scale, zero or bias, levels or level_type, order, decoded, and the words beside each plane
// that say which weights share its numbers: "blocks R C" (tiles of R x C), "flat N" (runs of N, row-major), "modulo G" (weight
// k belongs to k mod G), "columns" (one number per row and entry of _index). Rows and columns are those of [..., C] as [-1, C].
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

  [[nodiscard]] std::uint64_t groupOf(std::uint64_t row, std::uint64_t column, std::uint64_t columns) const {
    const std::uint64_t flat = row * columns + column;
    if (kind == "blocks") return row / first * ((columns + second - 1) / second) + column / second;
    if (kind == "flat") return flat / first;
    if (kind == "modulo") return flat % first;
    std::uint64_t perRow = 0;
    for (std::uint64_t i = 0; i < index.count(); ++i) perRow = std::max(perRow, index.unsignedAt(i) + 1);
    return row * perRow + index.unsignedAt(column);
  }
};

struct Arithmetic {
  std::string step = "float32", result = "float32";
  bool fused = false;
};

struct Layer {
  Array codes, decoded, order;
  std::optional<Plane> scale, zero, bias, levels;
  std::string levelType;
  Arithmetic arithmetic;
  std::uint64_t rows = 0, columns = 0;
};

Result<std::optional<Plane>> readPlane(const Container& file, const std::string& prefix, const std::string& name) {
  if (!file.has(prefix + name)) return std::optional<Plane>();
  auto numbers = file.read(prefix + name);
  if (!numbers) return fail(numbers.error());
  if (numbers->type != "F32") return fail(prefix + name + ": expected float32");
  Plane plane{std::move(*numbers), {}, {}, 1, 1};
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
  const std::uint64_t code = layer.codes.unsignedAt(at);
  if (layer.levels) {
    const std::uint64_t count = layer.levels->numbers.shape.back();
    const std::uint64_t table = layer.levels->numbers.shape.size() == 1 ? 0 : layer.levels->groupOf(row, column, layer.columns);
    return layer.levels->numbers.floatAt(table * count + code);
  }
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
  const std::uint64_t count = layer.levels->numbers.shape.empty() ? 0 : layer.levels->numbers.shape.back();
  for (std::uint64_t i = 0; i < layer.codes.count(); ++i)
    if (layer.codes.unsignedAt(i) >= count) return fail("a code has no level");
  if (layer.levels->numbers.shape.size() == 1) return {};
  for (std::uint64_t row = 0; row < layer.rows; ++row)
    for (std::uint64_t column = 0; column < layer.columns; ++column)
      if (layer.levels->groupOf(row, column, layer.columns) >= layer.levels->numbers.shape[0])
        return fail("a group has no levels");
  return {};
}

float valueOf(const Layer& layer, std::uint64_t row, std::uint64_t column) {
  const float level = levelOf(layer, row * layer.columns + column, row, column);
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

Result<Layer> loadLayer(const Container& file, const std::string& prefix) {
  Layer layer;
  auto codes = file.read(prefix + "codes"), decoded = file.read(prefix + "decoded");
  if (!codes) return fail(codes.error());
  if (!decoded) return fail(decoded.error());
  if (codes->type != "U8" && codes->type != "U16" && codes->type != "I32") return fail(prefix + "codes: unexpected type");
  if (!decoded->is("F32", codes->shape)) return fail(prefix + "decoded: unexpected type or shape");
  layer.columns = codes->shape.empty() ? 1 : codes->shape.back();
  layer.rows = layer.columns == 0 ? 0 : codes->count() / layer.columns;
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
  for (std::uint64_t row = 0; row < layer->rows; ++row) {
    for (std::uint64_t column = 0; column < layer->columns; ++column) {
      const std::uint64_t place = layer->order.bytes.empty() ? column : layer->order.unsignedAt(column);
      if (place >= layer->columns) return fail(prefix + "order: no such column");
      values[row * layer->columns + place] = valueOf(*layer, row, column);
    }
  }
  for (std::uint64_t i = 0; i < values.size(); ++i)
    if (!(values[i] == layer->decoded.floatAt(i)))
      return fail(prefix + "decoded: differs from codes and parameters at " + std::to_string(i));
  return values;
}

}  // namespace nibble::proof
