// SPDX-License-Identifier: GPL-3.0-or-later
// What readers of packed layers check about the parts of a layer, each refusal naming the tensor and the reason; and the
// config.json around them as JSON.
#pragma once
#include "core/formats/tools.h"

#include <nlohmann/json.hpp>

namespace nibble::formats {

// The entry, if it is there.
const TensorEntry* partAt(const Checkpoint& checkpoint, const std::string& name);
// A layer that its keys claim for a format, with something about it that does not fit: it is listed under its name, without a
// shape, and reading it says what is wrong. `parts`: names of entries, of which those that are there count.
PackedLayer brokenLayer(const Checkpoint& checkpoint, std::string name, std::string_view format,
                        const std::vector<std::string>& parts);
// Numbers of a float tensor; refuses NaN and infinity.
Result<std::vector<float>> finiteFloats(const Checkpoint& checkpoint, const std::string& name);
// E8M0 bytes (U8 or F8_E8M0) as powers of two; refuses NaN (255).
Result<std::vector<float>> powersOfTwo(const Checkpoint& checkpoint, const std::string& name);
// The bytes as codes.
Result<std::vector<std::uint8_t>> byteCodes(const Checkpoint& checkpoint, const std::string& name);
// The same, of E4M3 floats; refuses NaN.
Result<std::vector<std::uint8_t>> finiteE4m3(const Checkpoint& checkpoint, const std::string& name);
Result<std::vector<std::int64_t>> wholeNumbers(const Checkpoint& checkpoint, const std::string& name);  // I8, U8, I32, I64
std::string expected(const std::string& name, const std::string& what, const TensorEntry& found);

// F32, F16 and BF16; none: not one of those.
std::optional<FloatType> parameterType(const TensorEntry& entry);
Stored storedAs(FloatType type);  // of those three
// -128..127 as the value of a byte, in the order of the bytes 0, 1, ...
Levels signedBytes();
// The 16 values of E2M1: 0 0.5 1 1.5 2 3 4 6, then the same negative.
const std::vector<float>& e2m1Values();

// config.json as JSON, an empty object where there is none or it is broken.
nlohmann::json configOf(const Checkpoint& checkpoint);
std::string textAt(const nlohmann::json& object, const char* key);
const nlohmann::json& objectAt(const nlohmann::json& object, const char* key);  // an empty object where there is none
std::optional<std::int64_t> integerAt(const nlohmann::json& object, const char* key);
// The type the model's tensors have by config.json ("dtype", "torch_dtype"): what loaders decode to.
FloatType modelType(const nlohmann::json& config);
// The config with `entries` set, its other keys kept in order; `config` may be empty.
Result<std::string> withEntries(const std::string& config, const nlohmann::ordered_json& entries);

}  // namespace nibble::formats
