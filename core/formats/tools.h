// SPDX-License-Identifier: GPL-3.0-or-later
// What the packers and readers of all formats share: arrays from numbers and text, the normal forms of groupings, parts of a
// checkpoint as plain values. Proof decoders use none of this.
#pragma once
#include "core/formats/format.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::formats {

// The module a weight belongs to: its tensor name without ".weight".
std::string moduleName(std::string_view tensorName);

DType dtypeOf(FloatType type);
std::optional<FloatType> floatTypeOf(DType type);  // F32, F16, BF16 and the 8-bit floats; none: not one of those
std::string_view typeName(FloatType type);         // "float32", "float16", "bfloat16"
bool exactIn(FloatType type, std::span<const float> values);

RawTensor rawText(std::string name, std::string_view text);  // U8 [length]
RawTensor rawBytes(std::string name, DType type, Shape shape, std::vector<std::byte> bytes);
RawTensor rawFloats(std::string name, FloatType type, Shape shape, std::span<const float> values);       // rounds to the type
RawTensor rawIntegers(std::string name, DType type, Shape shape, std::span<const std::int64_t> values);  // U8, U16, I32, I64
RawTensor rawInteger(std::string name, DType type, std::int64_t value);                                  // no dimensions
// The bias as the source has it, or in `type` where that loses nothing.
RawTensor rawBias(std::string name, const Tensor& bias, FloatType type);
std::uint64_t byteCount(const RawTensor& array);

// Groups as runs of n consecutive weights in row-major order; none: they are not.
std::optional<std::uint64_t> runLengthOf(const Grouping& grouping);
// Groups as weight k -> k mod n; none: they are not.
std::optional<std::uint64_t> moduloOf(const Grouping& grouping);
// Groups as tiles of n columns along the input, whatever rows they span; none: they are not.
std::optional<std::uint64_t> tileColumnsOf(const Grouping& grouping);

enum class GroupKind { Runs, Modulo, Columns };
// The plane's number for each group of a normal form (n as above); none: a group would need more than one number.
// Columns: row-major [rows, columns / n], every row by itself.
std::optional<std::vector<float>> numbersOn(const Plane& plane, GroupKind kind, std::uint64_t n);

// Features that no packed integer format can hold: permutations, rotations, vector levels, several widths, codes that leave
// their width. None: nothing of the kind.
std::optional<std::string> plainRefusal(const QuantizedTensor& tensor);
bool integersWithin(std::span<const float> values, float low, float high);

// Elements of a shape that a file claims; none: more than any file can hold.
std::optional<std::uint64_t> plausibleCount(const Shape& shape);

// Parts of a checkpoint.
Result<std::vector<float>> readFloats(const Checkpoint& checkpoint, const std::string& name);
Result<std::int64_t> readInteger(const Checkpoint& checkpoint, const std::string& name);
Result<std::string> readText(const Checkpoint& checkpoint, const std::string& name);
Result<std::vector<std::byte>> readBytes(const Checkpoint& checkpoint, const std::string& name);
const TensorEntry* findEntry(const Checkpoint& checkpoint, const std::string& name);

}  // namespace nibble::formats
