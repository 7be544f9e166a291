// SPDX-License-Identifier: GPL-3.0-or-later
// A scheme turns weights into a QuantizedTensor. One file per family holds the formula, a picture of the storage, the reference,
// the settings table, the promises and `quantize`. The catalogue is generated from the list in CMakeLists.txt beside this file.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/quant/quantized_tensor.h"
#include "core/schemes/settings.h"
#include "core/tensor/tensor.h"

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

// Colour and mark on every plot (shared by schemes a person thinks of together).
enum class Family : std::uint8_t { Uniform, Hqq, Codebook, Gguf, Micro, Gptq, Exl2, Learned };
std::string_view name(Family family);

// What a scheme promises, only where its reference keeps it. tests/core/test_promises.cpp holds every scheme to these.
enum class Promise : std::uint8_t {
  Deterministic,    // the same codes and parameters on every run, backend and thread count
  ZeroStaysZero,    // a weight of exactly 0 decodes to exactly 0
  NearestLevel,     // every code is the nearest of its group's levels (ties to either side)
  Idempotent,       // quantizing the decoded weights decodes to the same values
  ScaleEquivariant, // weights times a power of two decode to the decoded times that power (nothing denormal)
};
std::string_view name(Promise promise);        // "deterministic", "zero-stays-zero", ...
std::string_view definition(Promise promise);  // one sentence

// Which data about a layer's inputs a scheme can use (Context::activations). None refuses to run without: it then does what its
// reference does without data, and says so in the notes of the result.
enum class Needs : std::uint8_t {
  Nothing,
  ImportanceWeights,  // E[x^2] per input channel
  Samples,            // activations, or their Gram matrix
};
std::string_view name(Needs needs);  // "nothing", "importance-weights", "samples"

struct SchemeInfo {
  std::string_view id;         // "hqq"
  std::string_view title;      // "HQQ"
  std::string_view summary;    // "half-quadratic zero points"
  std::string_view reference;  // who defines it: library and version, paper, document
  Family family = Family::Uniform;
  Needs needs = Needs::Nothing;
};

struct MatrixSize {
  std::uint64_t rows = 0, columns = 0;
  [[nodiscard]] std::uint64_t count() const { return rows * columns; }
};

class Scheme {
 public:
  virtual ~Scheme() = default;
  [[nodiscard]] virtual const SchemeInfo& info() const = 0;
  [[nodiscard]] virtual const std::vector<SettingInfo>& settings() const = 0;
  // Promises under these settings.
  [[nodiscard]] virtual std::vector<Promise> promises(const SettingValues& values) const = 0;
  // Why this matrix cannot be quantized with these settings ("group 256 does not divide ..."); none: it can.
  [[nodiscard]] virtual std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const = 0;
  // Values are legal and not refused (run() checks both, and that every weight is finite and there is at least one).
  // Errors: cancelled, a parameter that does not fit its stored type, a file that shrank.
  [[nodiscard]] virtual Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values,
                                                         const Context& context) const = 0;
};

std::span<const Scheme* const> allSchemes();
const Scheme* findScheme(std::string_view id);

}  // namespace nibble
