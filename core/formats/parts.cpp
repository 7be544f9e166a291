// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/parts.h"

#include "core/base/text.h"

#include <cmath>
#include <cstring>

namespace nibble::formats {
namespace {

std::string place(std::size_t index) {
  return "number " + text::number(std::uint64_t{index});
}

template <class T>
std::vector<std::int64_t> widened(std::span<const std::byte> bytes) {
  std::vector<std::int64_t> values(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) {
    T value{};
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = value;
  }
  return values;
}

}  // namespace

const TensorEntry* partAt(const Checkpoint& checkpoint, const std::string& name) {
  return findEntry(checkpoint, name);
}

PackedLayer brokenLayer(const Checkpoint& checkpoint, std::string name, std::string_view format,
                        const std::vector<std::string>& parts) {
  PackedLayer layer{std::move(name), std::string(format) + ", cannot be read", {}, {0, 0}};
  for (const std::string& part : parts)
    if (const auto index = checkpoint.find(part)) layer.parts.push_back(*index);
  return layer;
}

std::string expected(const std::string& name, const std::string& what, const TensorEntry& found) {
  return name + ": expected " + what + ", found " + std::string(info(found.type).name) + " " + toText(found.shape);
}

Result<std::vector<float>> finiteFloats(const Checkpoint& checkpoint, const std::string& name) {
  auto values = readFloats(checkpoint, name);
  if (!values) return values;
  for (std::size_t i = 0; i < values->size(); ++i)
    if (!std::isfinite((*values)[i])) return fail(name + ": " + place(i) + " is not finite");
  return values;
}

Result<std::vector<std::uint8_t>> byteCodes(const Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = readBytes(checkpoint, name);
  if (!bytes) return fail(bytes.error());
  std::vector<std::uint8_t> codes(bytes->size());
  if (!codes.empty()) std::memcpy(codes.data(), bytes->data(), codes.size());
  return codes;
}

Result<std::vector<float>> powersOfTwo(const Checkpoint& checkpoint, const std::string& name) {
  const auto codes = byteCodes(checkpoint, name);
  if (!codes) return fail(codes.error());
  std::vector<float> values(codes->size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if ((*codes)[i] == 255) return fail(name + ": " + place(i) + " is NaN");
    values[i] = std::ldexp(1.0f, static_cast<int>((*codes)[i]) - 127);
  }
  return values;
}

Result<std::vector<std::uint8_t>> finiteE4m3(const Checkpoint& checkpoint, const std::string& name) {
  auto codes = byteCodes(checkpoint, name);
  if (!codes) return codes;
  for (std::size_t i = 0; i < codes->size(); ++i)
    if (((*codes)[i] & 0x7F) == 0x7F) return fail(name + ": " + place(i) + " is NaN");
  return codes;
}

Result<std::vector<std::int64_t>> wholeNumbers(const Checkpoint& checkpoint, const std::string& name) {
  const auto bytes = readBytes(checkpoint, name);
  if (!bytes) return fail(bytes.error());
  const TensorEntry& entry = *findEntry(checkpoint, name);
  switch (entry.type) {
    case DType::U8:
      return widened<std::uint8_t>(*bytes);
    case DType::I8:
      return widened<std::int8_t>(*bytes);
    case DType::I32:
      return widened<std::int32_t>(*bytes);
    case DType::I64:
      return widened<std::int64_t>(*bytes);
    default:
      return fail(expected(name, "whole numbers", entry));
  }
}

std::optional<FloatType> parameterType(const TensorEntry& entry) {
  const auto type = floatTypeOf(entry.type);
  if (type == FloatType::F32 || type == FloatType::F16 || type == FloatType::BF16) return type;
  return std::nullopt;
}

Stored storedAs(FloatType type) {
  return type == FloatType::F16 ? Stored::F16 : type == FloatType::BF16 ? Stored::BF16 : Stored::F32;
}

Levels signedBytes() {
  std::vector<float> table(256);
  for (int code = 0; code < 256; ++code)
    table[static_cast<std::size_t>(code)] = static_cast<float>(code < 128 ? code : code - 256);
  return Levels::fixedTable(std::move(table));
}

const std::vector<float>& e2m1Values() {
  static const std::vector<float> values = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                            -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  return values;
}

nlohmann::json configOf(const Checkpoint& checkpoint) {
  nlohmann::json config = nlohmann::json::parse(checkpoint.configText(), nullptr, false);
  return config.is_object() ? config : nlohmann::json::object();
}

std::string textAt(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const nlohmann::json& objectAt(const nlohmann::json& object, const char* key) {
  static const nlohmann::json empty = nlohmann::json::object();
  if (!object.is_object()) return empty;
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : empty;
}

std::optional<std::int64_t> integerAt(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return std::nullopt;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

FloatType modelType(const nlohmann::json& config) {
  std::string name = textAt(config, "dtype");
  if (name.empty()) name = textAt(config, "torch_dtype");
  return name == "bfloat16" ? FloatType::BF16 : name == "float16" ? FloatType::F16 : FloatType::F32;
}

Result<std::string> withEntries(const std::string& config, const nlohmann::ordered_json& entries) {
  auto parsed = config.empty() ? nlohmann::ordered_json::object() : nlohmann::ordered_json::parse(config, nullptr, false);
  if (!parsed.is_object()) return fail("config.json: not a JSON object");
  for (const auto& [key, value] : entries.items()) parsed[key] = value;
  return parsed.dump(2) + "\n";
}

}  // namespace nibble::formats
