// SPDX-License-Identifier: GPL-3.0-or-later
// Reading compressed-tensors layers (plan.h has the layouts). The kind of a layer follows from its keys, types and shapes; the
// config tells what they leave open: tile sizes and, for a weight F8_E4M3 or I8 with a weight_scale, that it is this format.
#include "core/formats/compressed_tensors/plan.h"
#include "core/formats/compressed_tensors/scheme_config.h"
#include "core/formats/parts.h"
#include "core/quant/row_layout.h"

#include <cmath>

namespace nibble::formats::compressed_tensors {
namespace {

struct Layer {
  Kind kind = Kind::Packed;
  std::string p;  // module and a dot
  std::uint64_t rows = 0, columns = 0;
  int bits = 8;
  WeightArguments arguments;
  FloatType modelType = FloatType::F32;
};

bool isMxScale(const TensorEntry& scale) {
  return scale.type == DType::U8 || scale.type == DType::F8E8M0;
}

// By keys and types alone; none: the module's parts are not this format's.
std::optional<Kind> kindAt(const Checkpoint& checkpoint, const std::string& p, bool configured) {
  const TensorEntry *packed = partAt(checkpoint, p + "weight_packed"), *weight = partAt(checkpoint, p + "weight"),
                    *scale = partAt(checkpoint, p + "weight_scale");
  if (scale == nullptr) return std::nullopt;
  if (packed != nullptr && packed->shape.size() == 2) {
    if (packed->type == DType::I32) return Kind::Packed;
    if (packed->type != DType::U8) return std::nullopt;
    if (isMxScale(*scale)) return Kind::Mxfp4;
    if (scale->type == DType::F8E4M3) return Kind::Nvfp4;
    return std::nullopt;
  }
  if (weight == nullptr || weight->shape.size() != 2 || !configured) return std::nullopt;
  if (weight->type == DType::F8E4M3) return isMxScale(*scale) ? Kind::Mxfp8 : Kind::Float8;
  return weight->type == DType::I8 ? std::optional(Kind::Int8) : std::nullopt;
}

// Rows, columns and width of a stream of codes: weight_shape says what the words hold.
Status sizePacked(const Checkpoint& checkpoint, Layer& layer) {
  const TensorEntry& packed = *partAt(checkpoint, layer.p + "weight_packed");
  const TensorEntry* shape = partAt(checkpoint, layer.p + "weight_shape");
  if (shape == nullptr) return fail(layer.p + "weight_shape: missing");
  if (shape->shape != Shape{2}) return fail(expected(shape->name, "two numbers", *shape));
  const auto sides = wholeNumbers(checkpoint, shape->name);
  if (!sides) return fail(sides.error());
  if ((*sides)[0] <= 0 || (*sides)[1] <= 0 || static_cast<std::uint64_t>((*sides)[0]) != packed.shape[0])
    return fail(shape->name + ": does not fit " + packed.name + " " + toText(packed.shape));
  layer.rows = packed.shape[0];
  layer.columns = static_cast<std::uint64_t>((*sides)[1]);
  if (layer.columns > packed.shape[1] * 32) return fail(shape->name + ": more inputs than the words hold");
  std::vector<int> possible;
  for (int bits = 1; bits <= 8; ++bits)
    if ((layer.columns * static_cast<std::uint64_t>(bits) + 31) / 32 == packed.shape[1]) possible.push_back(bits);
  if (possible.empty())
    return fail(expected(packed.name, "codes of 1 to 8 bits for " + toText({layer.rows, layer.columns}), packed));
  layer.bits = possible.front();
  for (const int bits : possible)
    if (layer.arguments.bits == bits) layer.bits = bits;
  if (layer.arguments.bits && *layer.arguments.bits != layer.bits)
    return fail(packed.name + ": the config says " + std::to_string(*layer.arguments.bits) + " bits, the words hold " +
                std::to_string(layer.bits));
  return {};
}

Result<Layer> layerAt(const Checkpoint& checkpoint, const SchemeConfig& config, const std::string& module) {
  Layer layer;
  layer.p = module + ".";
  const auto kind = kindAt(checkpoint, layer.p, config.isPresent());
  if (!kind && partAt(checkpoint, layer.p + "weight_scale") == nullptr) return fail(layer.p + "weight_scale: missing");
  if (!kind) return fail(layer.p + "weight: codes and scales are of types that no compressed-tensors layout has");
  layer.kind = *kind;
  layer.arguments = config.argumentsFor(module);
  layer.modelType = config.modelType();
  if (layer.kind == Kind::Packed) {
    if (auto status = sizePacked(checkpoint, layer); !status) return fail(status.error());
  } else {
    const bool nibbles = layer.kind == Kind::Mxfp4 || layer.kind == Kind::Nvfp4;
    const TensorEntry& codes = *partAt(checkpoint, layer.p + (nibbles ? "weight_packed" : "weight"));
    layer.rows = codes.shape[0];
    layer.columns = codes.shape[1] * (nibbles ? 2 : 1);
    layer.bits = nibbles ? 4 : 8;
  }
  if (layer.rows == 0 || layer.columns == 0) return fail(layer.p + "weight: no weights");
  return layer;
}

// Groups along the rows where the scales are [rows, n]: the config's length where it makes n of them, else an even share.
std::optional<std::uint64_t> groupLength(const Layer& layer, std::uint64_t groups) {
  if (groups == 0 || groups > layer.columns) return std::nullopt;
  const auto makes = [&](std::uint64_t length) { return (layer.columns + length - 1) / length == groups; };
  if (layer.arguments.group && makes(static_cast<std::uint64_t>(*layer.arguments.group)))
    return static_cast<std::uint64_t>(*layer.arguments.group);
  if (layer.columns % groups != 0) return std::nullopt;
  return layer.columns / groups;
}

Result<Grouping> groupingOf(const Layer& layer, const TensorEntry& scale) {
  const Shape& shape = scale.shape;
  if (elementCount(shape) == 1) return Grouping::tensor(layer.rows, layer.columns);
  if (layer.arguments.block && layer.kind == Kind::Float8) {
    const auto [rows, columns] = *layer.arguments.block;
    if (shape == Shape{(layer.rows + rows - 1) / rows, (layer.columns + columns - 1) / columns})
      return Grouping::blocks(layer.rows, layer.columns, rows, columns);
    return fail(expected(scale.name, "one for each tile of " + toText({rows, columns}), scale));
  }
  if (shape == Shape{layer.rows}) return Grouping::blocks(layer.rows, layer.columns, 1, 0);
  const auto length = shape.size() == 2 && shape[0] == layer.rows ? groupLength(layer, shape[1]) : std::nullopt;
  if (!length) return fail(expected(scale.name, "whole groups of " + toText({layer.rows, layer.columns}), scale));
  return Grouping::blocks(layer.rows, layer.columns, 1, *length);
}

// Activation order: the group of each input, where the file has one.
Result<Grouping> reordered(const Checkpoint& checkpoint, const Layer& layer, Grouping grouping) {
  const std::string name = layer.p + "weight_g_idx";
  if (partAt(checkpoint, name) == nullptr) return grouping;
  const auto values = wholeNumbers(checkpoint, name);
  if (!values) return fail(values.error());
  if (values->size() != layer.columns) return fail(name + ": expected one number for each input");
  if (values->front() == -1) return grouping;  // declared, not used
  const std::uint64_t groups = grouping.groupCount() / layer.rows;
  std::vector<std::uint32_t> index;
  for (const std::int64_t value : *values) {
    if (value < 0 || static_cast<std::uint64_t>(value) >= groups) return fail(name + ": a group that has no scales");
    index.push_back(static_cast<std::uint32_t>(value));
  }
  Grouping map = Grouping::columnMap(layer.rows, std::move(index));
  if (map.groupCount() != grouping.groupCount()) return fail(name + ": the last group is never used");
  return map;
}

std::shared_ptr<QuantizedTensor> parameterTensor(std::vector<std::uint8_t> codes, int bits,
                                                 std::shared_ptr<const Layout> layout) {
  auto nested = std::make_shared<QuantizedTensor>();
  nested->rows = 1;
  nested->columns = codes.size();
  nested->shape = {1, codes.size()};
  nested->codes = Codes(std::move(codes));
  nested->width.uniform = static_cast<std::uint8_t>(bits);
  nested->layout = std::move(layout);
  return nested;
}

// Zero points as codes, [rows, groups]: a stream down the rows, or one I8 each without the offset.
Result<Plane> zeroPlane(const Checkpoint& checkpoint, const Layer& layer, const Grouping& grouping) {
  const TensorEntry* zero = partAt(checkpoint, layer.p + "weight_zero_point");
  const auto middle = 1 << (layer.bits - 1);
  if (zero == nullptr) {
    if (layer.arguments.symmetric == false) return fail(layer.p + "weight_zero_point: missing, the config is not symmetric");
    return Plane::implied(grouping, static_cast<float>(middle));
  }
  const std::uint64_t count = grouping.groupCount(), groups = count / layer.rows;
  if (zero->type == DType::I32) {
    if (groups == 0) return fail(expected(zero->name, "one I8 for the tensor", *zero));
    const auto layout = columnStreamLayout(layer.rows, groups, layer.bits);
    const auto bytes = readBytes(checkpoint, zero->name);
    if (!bytes) return fail(bytes.error());
    if (zero->shape.size() != 2 || zero->shape[1] != groups || bytes->size() != layout->sizeBytes())
      return fail(expected(zero->name, "zero points for " + toText({layer.rows, groups}), *zero));
    const Codes codes = layout->unpack(*bytes, count);
    return Plane::quantized(grouping, parameterTensor(*codes.as<std::uint8_t>(), layer.bits, layout));
  }
  if (zero->type != DType::I8 || elementCount(zero->shape) != count)
    return fail(expected(zero->name, "zero points for " + toText({layer.rows, groups}), *zero));
  const auto values = wholeNumbers(checkpoint, zero->name);
  if (!values) return fail(values.error());
  std::vector<std::uint8_t> codes;
  for (const std::int64_t value : *values) {
    if (value < -middle || value >= middle) return fail(zero->name + ": a zero point that is no code");
    codes.push_back(static_cast<std::uint8_t>(value + middle));
  }
  return Plane::quantized(grouping, parameterTensor(std::move(codes), layer.bits, denseLayout(count, 8)));
}

Status readPacked(const Checkpoint& checkpoint, const Layer& layer, const Grouping& grouping, QuantizedTensor& tensor) {
  const auto words = readBytes(checkpoint, layer.p + "weight_packed");
  if (!words) return fail(words.error());
  tensor.layout = rowStreamLayout(layer.rows, layer.columns, layer.bits);
  tensor.codes = tensor.layout->unpack(*words, tensor.weightCount());
  tensor.rule = ValueRule::ScaleMinusZero;
  auto zero = zeroPlane(checkpoint, layer, grouping);
  if (!zero) return fail(zero.error());
  tensor.zero = std::move(*zero);
  return {};
}

Status readInt8(const Checkpoint& checkpoint, const Layer& layer, const Grouping& grouping, QuantizedTensor& tensor) {
  auto codes = byteCodes(checkpoint, layer.p + "weight");
  if (!codes) return fail(codes.error());
  tensor.codes = Codes(std::move(*codes));
  tensor.levels = signedBytes();
  const TensorEntry* zero = partAt(checkpoint, layer.p + "weight_zero_point");
  if (zero == nullptr) {
    if (layer.arguments.symmetric == false) return fail(layer.p + "weight_zero_point: missing, the config is not symmetric");
    return {};
  }
  if (zero->type != DType::I8 || elementCount(zero->shape) != grouping.groupCount())
    return fail(expected(zero->name, "one I8 for each scale", *zero));
  auto values = readFloats(checkpoint, zero->name);
  if (!values) return fail(values.error());
  tensor.rule = ValueRule::ScaleMinusZero;
  tensor.zero = Plane::numbers(grouping, std::move(*values), Stored::I8);
  return {};
}

Status readFloat8(const Checkpoint& checkpoint, const Layer& layer, QuantizedTensor& tensor) {
  auto codes = finiteE4m3(checkpoint, layer.p + "weight");
  if (!codes) return fail(codes.error());
  tensor.codes = Codes(std::move(*codes));
  tensor.levels = Levels::floats(FloatType::F8E4M3);
  return {};
}

Status readNibbles(const Checkpoint& checkpoint, const Layer& layer, QuantizedTensor& tensor) {
  const auto bytes = readBytes(checkpoint, layer.p + "weight_packed");
  if (!bytes) return fail(bytes.error());
  tensor.layout = denseLayout(tensor.weightCount(), 4);
  tensor.codes = tensor.layout->unpack(*bytes, tensor.weightCount());
  tensor.levels = Levels::fixedTable(e2m1Values());
  return {};
}

// The scales of NVFP4: E4M3 numbers divided by one global number.
Status nvfp4Scales(const Checkpoint& checkpoint, const Layer& layer, const Grouping& grouping, QuantizedTensor& tensor) {
  const std::string name = layer.p + "weight_global_scale";
  if (partAt(checkpoint, name) == nullptr) return fail(name + ": missing");
  const auto global = finiteFloats(checkpoint, name);
  if (!global) return fail(global.error());
  if (global->size() != 1 || !((*global)[0] > 0)) return fail(name + ": expected one positive number");
  auto codes = finiteE4m3(checkpoint, layer.p + "weight_scale");
  if (!codes) return fail(codes.error());
  const std::uint64_t count = codes->size();
  auto scales = parameterTensor(std::move(*codes), 8, denseLayout(count, 8));
  scales->levels = Levels::floats(FloatType::F8E4M3);
  scales->scale = Plane::numbers(Grouping::tensor(1, count), *global, Stored::F32);
  scales->arithmetic.divides = true;
  tensor.scale = Plane::quantized(grouping, std::move(scales));
  tensor.arithmetic = {FloatType::F32, layer.modelType, false};
  return {};
}

Status readScales(const Checkpoint& checkpoint, const Layer& layer, const Grouping& grouping, QuantizedTensor& tensor) {
  const TensorEntry& scale = *partAt(checkpoint, layer.p + "weight_scale");
  if (layer.kind == Kind::Nvfp4) return nvfp4Scales(checkpoint, layer, grouping, tensor);
  if (layer.kind == Kind::Mxfp4 || layer.kind == Kind::Mxfp8) {
    auto powers = powersOfTwo(checkpoint, scale.name);
    if (!powers) return fail(powers.error());
    tensor.scale = Plane::numbers(grouping, std::move(*powers), Stored::F8E8M0);
    return {};
  }
  const auto type = parameterType(scale);
  if (!type) return fail(expected(scale.name, "F32, F16 or BF16", scale));
  auto values = finiteFloats(checkpoint, scale.name);
  if (!values) return fail(values.error());
  tensor.scale = Plane::numbers(grouping, std::move(*values), storedAs(*type));
  tensor.arithmetic = {FloatType::F32, *type, false};
  return {};
}

std::string description(const Layer& layer, const Checkpoint& checkpoint) {
  std::string text = std::string(formatName(layer.kind));
  if (layer.kind == Kind::Packed) text += " " + std::to_string(layer.bits) + " bit";
  const auto grouping = groupingOf(layer, *partAt(checkpoint, layer.p + "weight_scale"));
  return grouping ? text + ", " + grouping->describe() : text;
}

// Modules that have a scale or packed codes, each once, in file order.
std::vector<std::string> modulesOf(const Checkpoint& checkpoint) {
  std::vector<std::string> modules;
  for (const TensorEntry& entry : checkpoint.entries()) {
    for (const std::string_view suffix : {".weight_scale", ".weight_packed"}) {
      if (!entry.name.ends_with(suffix)) continue;
      std::string module = entry.name.substr(0, entry.name.size() - suffix.size());
      if (suffix == ".weight_packed" && checkpoint.find(module + ".weight_scale")) continue;
      modules.push_back(std::move(module));
    }
  }
  return modules;
}

}  // namespace

std::vector<PackedLayer> detect(const Checkpoint& checkpoint) {
  std::vector<PackedLayer> layers;
  std::optional<SchemeConfig> config;
  for (const std::string& module : modulesOf(checkpoint)) {
    if (!config) config = SchemeConfig::of(checkpoint);
    const auto found = layerAt(checkpoint, *config, module);
    std::vector<std::string> parts;
    for (const char* part : {"weight_packed", "weight", "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx",
                             "weight_global_scale"})
      parts.push_back(module + "." + part);
    if (!found) {
      const bool ours = kindAt(checkpoint, module + ".", config->isPresent()) || partAt(checkpoint, parts[0]) != nullptr;
      if (ours) layers.push_back(brokenLayer(checkpoint, module + ".weight", "compressed-tensors", parts));
      continue;
    }
    PackedLayer layer{module + ".weight", description(*found, checkpoint), {}, {found->rows, found->columns}};
    const bool packed = found->kind == Kind::Packed || found->kind == Kind::Mxfp4 || found->kind == Kind::Nvfp4;
    parts.erase(parts.begin() + (packed ? 1 : 0));
    for (const std::string& part : parts)
      if (const auto index = checkpoint.find(part)) layer.parts.push_back(*index);
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) {
  const auto found = layerAt(checkpoint, SchemeConfig::of(checkpoint), moduleName(layer.name));
  if (!found) return fail(found.error());
  auto grouping = groupingOf(*found, *partAt(checkpoint, found->p + "weight_scale"));
  if (grouping) grouping = reordered(checkpoint, *found, std::move(*grouping));
  if (!grouping) return fail(grouping.error());
  QuantizedTensor tensor;
  tensor.scheme = layer.description;
  tensor.rows = found->rows;
  tensor.columns = found->columns;
  tensor.shape = {found->rows, found->columns};
  tensor.width.uniform = static_cast<std::uint8_t>(found->bits);
  tensor.layout = denseLayout(tensor.weightCount(), found->bits);
  Status codes;
  switch (found->kind) {
    case Kind::Packed:
      codes = readPacked(checkpoint, *found, *grouping, tensor);
      break;
    case Kind::Int8:
      codes = readInt8(checkpoint, *found, *grouping, tensor);
      break;
    case Kind::Float8:
    case Kind::Mxfp8:
      codes = readFloat8(checkpoint, *found, tensor);
      break;
    case Kind::Mxfp4:
    case Kind::Nvfp4:
      codes = readNibbles(checkpoint, *found, tensor);
      break;
  }
  if (!codes) return fail(codes.error());
  if (auto status = readScales(checkpoint, *found, *grouping, tensor); !status) return fail(status.error());
  return tensor;
}

}  // namespace nibble::formats::compressed_tensors
