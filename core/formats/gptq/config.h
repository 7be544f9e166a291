// SPDX-License-Identifier: GPL-3.0-or-later
// What the config beside a checkpoint says about its GPTQ layers, and what the stored zero points themselves say. Version 1
// keeps zero - 1 and version 2 the zero point; a file read in the wrong way is off by one whole scale everywhere.
#pragma once
#include "core/formats/gptq/plan.h"

#include <optional>
#include <string>

namespace nibble::formats::gptq {

struct Config {
  bool there = false;
  std::string method;                       // quant_method: "gptq", "auto-round", "awq", ...; empty: not said
  std::optional<Version> version;           // by checkpoint_format or packing_format; none: not said
  std::string saidBy;                       // "checkpoint_format gptq_v2", for a person
  std::optional<std::int64_t> bits, group;  // of every layer; none: not said, or there are overrides by name
  bool halves = false;                      // the library that wrote it rounds weights to float16
};
Config configOf(const Checkpoint& checkpoint);

// Sizes of a layer by the shapes of its arrays.
struct Sizes {
  std::uint64_t rows = 0, columns = 0, groups = 0;
  int bits = 0;
};

// How the zero points of one layer look, by its first 32 inputs.
struct Evidence {
  std::optional<Version> version;  // what they look like: V1, V2, or nothing clear
  std::string text;                // "every stored zero point is 7, the middle of 4 bits less one"
};
Evidence zeroEvidence(const Checkpoint& checkpoint, const std::string& module, const Sizes& sizes);

// Which version a checkpoint's layers are read as, and why that may be wrong (empty: file and zero points agree).
struct Decision {
  Version version = Version::V1;
  std::string doubt;
};
Decision decide(const Config& config, const Sizes& sizes, const Evidence& evidence);

}  // namespace nibble::formats::gptq
