// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/tools.h"

#include "core/base/contracts.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace nibble::formats {
namespace {

constexpr std::string_view weightSuffix = ".weight";

void appendLittleEndian(std::vector<std::byte>& bytes, std::uint64_t value, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) bytes.push_back(static_cast<std::byte>(value >> (8 * i) & 0xFFu));
}

std::uint64_t bitsIn(FloatType type, float value) {
  switch (type) {
    case FloatType::F32:
      return std::bit_cast<std::uint32_t>(value);
    case FloatType::F16:
      return kernels::floatToHalf(value);
    case FloatType::BF16:
      return kernels::floatToBfloat(value);
    default:
      return kernels::floatToSmall(type, value);
  }
}

bool isConstant(std::span<const float> values) {
  for (const float value : values)
    if (value != values.front()) return false;
  return true;
}

// Whether every group of the normal form lies inside one group of `grouping`.
bool refines(const Grouping& grouping, GroupKind kind, std::uint64_t n) {
  switch (kind) {
    case GroupKind::Runs: {
      const auto length = runLengthOf(grouping);
      return length && *length % n == 0;
    }
    case GroupKind::Modulo: {
      const auto modulo = moduloOf(grouping);
      return modulo && n % *modulo == 0;
    }
    case GroupKind::Columns: {
      const auto columns = tileColumnsOf(grouping);
      return columns && (*columns % n == 0 || *columns >= grouping.columns());
    }
  }
  return false;
}

std::uint64_t groupsOf(const Grouping& grouping, GroupKind kind, std::uint64_t n) {
  const std::uint64_t count = grouping.rows() * grouping.columns();
  switch (kind) {
    case GroupKind::Runs:
      return (count + n - 1) / n;
    case GroupKind::Modulo:
      return n;
    case GroupKind::Columns:
      return grouping.rows() * ((grouping.columns() + n - 1) / n);
  }
  return 0;
}

std::uint64_t firstMember(const Grouping& grouping, GroupKind kind, std::uint64_t n, std::uint64_t group) {
  switch (kind) {
    case GroupKind::Runs:
      return group * n;
    case GroupKind::Modulo:
      return group;
    case GroupKind::Columns: {
      const std::uint64_t perRow = (grouping.columns() + n - 1) / n;
      return group / perRow * grouping.columns() + group % perRow * n;
    }
  }
  return 0;
}

Result<Tensor> readWhole(const Checkpoint& checkpoint, const std::string& name) {
  auto tensor = checkpoint.read(name);
  if (tensor)
    if (auto intact = tensor->intact(); !intact) return fail(intact.error().within(name));
  return tensor;
}

}  // namespace

std::string moduleName(std::string_view tensorName) {
  if (tensorName.size() > weightSuffix.size() && tensorName.ends_with(weightSuffix))
    tensorName.remove_suffix(weightSuffix.size());
  return std::string(tensorName);
}

DType dtypeOf(FloatType type) {
  switch (type) {
    case FloatType::F32:
      return DType::F32;
    case FloatType::F16:
      return DType::F16;
    case FloatType::BF16:
      return DType::BF16;
    case FloatType::F8E4M3:
      return DType::F8E4M3;
    case FloatType::F8E5M2:
      return DType::F8E5M2;
    case FloatType::F6E2M3:
      return DType::F6E2M3;
    case FloatType::F6E3M2:
      return DType::F6E3M2;
    case FloatType::F4E2M1:
      return DType::F4;
  }
  return DType::F32;
}

std::optional<FloatType> floatTypeOf(DType type) {
  for (const FloatType candidate : {FloatType::F32, FloatType::F16, FloatType::BF16, FloatType::F8E4M3, FloatType::F8E5M2})
    if (dtypeOf(candidate) == type) return candidate;
  return std::nullopt;
}

std::string_view typeName(FloatType type) {
  switch (type) {
    case FloatType::F32:
      return "float32";
    case FloatType::F16:
      return "float16";
    case FloatType::BF16:
      return "bfloat16";
    case FloatType::F8E4M3:
      return "float8_e4m3fn";
    case FloatType::F8E5M2:
      return "float8_e5m2";
    case FloatType::F6E2M3:
      return "float6_e2m3fn";
    case FloatType::F6E3M2:
      return "float6_e3m2fn";
    case FloatType::F4E2M1:
      return "float4_e2m1fn";
  }
  return {};
}

bool exactIn(FloatType type, std::span<const float> values) {
  for (const float value : values)
    if (kernels::roundTo(type, value) != value) return false;
  return true;
}

RawTensor rawBytes(std::string name, DType type, Shape shape, std::vector<std::byte> bytes) {
  RawTensor array;
  array.name = std::move(name);
  array.type = type;
  array.shape = std::move(shape);
  array.owned = std::move(bytes);
  NIBBLE_EXPECTS(array.owned.size() * 8 == elementCount(array.shape) * static_cast<std::uint64_t>(info(type).bits));
  return array;
}

RawTensor rawText(std::string name, std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  if (!text.empty()) std::memcpy(bytes.data(), text.data(), text.size());
  return rawBytes(std::move(name), DType::U8, {text.size()}, std::move(bytes));
}

RawTensor rawFloats(std::string name, FloatType type, Shape shape, std::span<const float> values) {
  std::vector<std::byte> bytes;
  const auto item = static_cast<std::size_t>(info(dtypeOf(type)).bits / 8);
  bytes.reserve(values.size() * item);
  for (const float value : values) appendLittleEndian(bytes, bitsIn(type, value), item);
  return rawBytes(std::move(name), dtypeOf(type), std::move(shape), std::move(bytes));
}

RawTensor rawIntegers(std::string name, DType type, Shape shape, std::span<const std::int64_t> values) {
  std::vector<std::byte> bytes;
  const auto item = static_cast<std::size_t>(info(type).bits / 8);
  bytes.reserve(values.size() * item);
  for (const std::int64_t value : values) appendLittleEndian(bytes, static_cast<std::uint64_t>(value), item);
  return rawBytes(std::move(name), type, std::move(shape), std::move(bytes));
}

RawTensor rawInteger(std::string name, DType type, std::int64_t value) {
  return rawIntegers(std::move(name), type, {}, std::span(&value, 1));
}

RawTensor rawBias(std::string name, const Tensor& bias, FloatType type) {
  if (const auto values = bias.readAll(); values && exactIn(type, *values))
    return rawFloats(std::move(name), type, bias.shape(), *values);
  return rawBytes(std::move(name), bias.type(), bias.shape(), {bias.bytes().begin(), bias.bytes().end()});
}

std::uint64_t byteCount(const RawTensor& array) {
  return array.bytes().size();
}

std::optional<std::uint64_t> runLengthOf(const Grouping& grouping) {
  switch (grouping.kind()) {
    case Grouping::Kind::Flat:
      return grouping.length();
    case Grouping::Kind::Modulo:
      if (grouping.length() == 1) return grouping.rows() * grouping.columns();
      return std::nullopt;
    case Grouping::Kind::Blocks: {
      const std::uint64_t columns = grouping.columns();
      if (grouping.tileColumns() >= columns) return std::min(grouping.tileRows(), grouping.rows()) * columns;
      if (grouping.tileRows() == 1 && columns % grouping.tileColumns() == 0) return grouping.tileColumns();
      return std::nullopt;
    }
    case Grouping::Kind::Columns:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> moduloOf(const Grouping& grouping) {
  if (grouping.kind() == Grouping::Kind::Modulo) return grouping.length();
  if (grouping.groupCount() == 1) return 1;
  const bool byColumn =
      grouping.kind() == Grouping::Kind::Blocks && grouping.tileColumns() == 1 && grouping.tileRows() >= grouping.rows();
  return byColumn ? std::optional(grouping.columns()) : std::nullopt;
}

std::optional<std::uint64_t> tileColumnsOf(const Grouping& grouping) {
  const std::uint64_t columns = grouping.columns();
  if (grouping.groupCount() == 1) return columns;
  if (grouping.kind() == Grouping::Kind::Blocks) return std::min(grouping.tileColumns(), columns);
  if (grouping.kind() != Grouping::Kind::Flat) return std::nullopt;
  if (columns % grouping.length() == 0) return grouping.length();
  return grouping.length() % columns == 0 ? std::optional(columns) : std::nullopt;
}

std::optional<std::vector<float>> numbersOn(const Plane& plane, GroupKind kind, std::uint64_t n) {
  const std::uint64_t count = groupsOf(plane.grouping, kind, n);
  if (isConstant(plane.values)) return std::vector<float>(count, plane.values.front());
  if (!refines(plane.grouping, kind, n)) return std::nullopt;
  std::vector<float> numbers(count);
  for (std::uint64_t group = 0; group < count; ++group)
    numbers[group] = plane.values[plane.grouping.groupOf(firstMember(plane.grouping, kind, n, group))];
  return numbers;
}

std::optional<std::string> plainRefusal(const QuantizedTensor& tensor) {
  if (!tensor.order.empty()) return "its columns are permuted";
  if (!tensor.channelScale.empty()) return "its input channels are scaled";
  if (tensor.rotation) return "its weights are rotated";
  if (!tensor.signs.empty()) return "its signs are stored apart from the codes";
  if (!tensor.width.bits.empty()) return "its codes have several widths";
  if (tensor.levels.dimension != 1) return "one code stands for several weights";
  if (tensor.codes.isSigned()) return "its codes leave their width";
  if (tensor.codes.size() != tensor.weightCount()) return "it has no code for each weight";
  return std::nullopt;
}

bool integersWithin(std::span<const float> values, float low, float high) {
  for (const float value : values)
    if (!(value >= low && value <= high) || value != std::nearbyint(value)) return false;
  return true;
}

std::optional<std::uint64_t> plausibleCount(const Shape& shape) {
  constexpr std::uint64_t most = std::uint64_t{1} << 48;
  std::uint64_t count = 1;
  for (const std::uint64_t side : shape) {
    if (side > most || count > most || (side != 0 && count > most / side)) return std::nullopt;
    count *= side;
  }
  return count;
}

const TensorEntry* findEntry(const Checkpoint& checkpoint, const std::string& name) {
  const auto index = checkpoint.find(name);
  return index ? &checkpoint.entries()[*index] : nullptr;
}

Result<std::vector<float>> readFloats(const Checkpoint& checkpoint, const std::string& name) {
  auto tensor = checkpoint.read(name);
  if (!tensor) return fail(tensor.error());
  return tensor->readAll();
}

Result<std::vector<std::byte>> readBytes(const Checkpoint& checkpoint, const std::string& name) {
  const auto tensor = readWhole(checkpoint, name);
  if (!tensor) return fail(tensor.error());
  std::vector<std::byte> bytes(tensor->bytes().begin(), tensor->bytes().end());
  if (auto intact = tensor->intact(); !intact) return fail(intact.error().within(name));
  return bytes;
}

Result<std::string> readText(const Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = readBytes(checkpoint, name);
  if (!bytes) return fail(bytes.error());
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}

Result<std::int64_t> readInteger(const Checkpoint& checkpoint, const std::string& name) {
  const auto values = readFloats(checkpoint, name);
  if (!values) return fail(values.error());
  if (values->size() != 1) return fail(name + ": expected one number, found " + std::to_string(values->size()));
  if (!(std::fabs(values->front()) < 1e9f)) return fail(name + ": not a usable number");
  return static_cast<std::int64_t>(values->front());
}

}  // namespace nibble::formats
