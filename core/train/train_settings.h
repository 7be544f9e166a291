// SPDX-License-Identifier: GPL-3.0-or-later
// Everything a person chooses about a training run, as one plain value: the options of `nibblescope-cli train` and the fields
// of the Train page. Defaults stand here and nowhere else.
#pragma once
#include "core/run/weight_list.h"
#include "core/train/optimizer.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace nibble::train {

// Which reference an adapter follows.
//   Peft         V = W + s BA; magnitude starts as the row norms of V; y = (m / norm) (x V^T) + bias
//   Document000  V = W + BA; magnitude starts as the row norms of the original float weights; y = alpha (m / norm) (x V^T) +
//   bias
enum class Variant : std::uint8_t { Peft, Document000 };
enum class Scaling : std::uint8_t { Rank, SqrtRank, None };  // s = alpha / r, alpha / sqrt(r), 1
enum class LossKind : std::uint8_t { MeanSquares, Sum };     // mean of (output - target)^2; plain sum of the outputs
enum class AdapterStart : std::uint8_t {
  ByVariant,  // Kaiming for Peft, Zero for Document000
  Zero,       // A = B = 0: only the magnitude can train
  Kaiming,    // A uniform in +-1 / sqrt(in), B = 0
  Gauss,      // A normal with deviation 1 / r, B = 0
  ErrorSvd,   // s BA = the best rank-r approximation of W - base
  LoftQ,      // the same in turns with quantizing W - s BA
};
enum class MagnitudeStart : std::uint8_t { ByVariant, Base, Original };  // row norms of which weights

struct AdapterSettings {
  std::string base;  // text of a choice; empty: float, or of a packed method: as the tensor is stored
  Variant variant = Variant::Peft;
  std::uint64_t rank = 16;
  double alpha = 16;
  Scaling scaling = Scaling::Rank;
  AdapterStart start = AdapterStart::ByVariant;
  MagnitudeStart magnitude = MagnitudeStart::ByVariant;
  int loftqIterations = 5;
  bool normGradient = false;  // the norm's own gradient too; false: it counts as a constant, as the references have it
  bool operator==(const AdapterSettings&) const = default;
};

// Bits that learn (spec section 5): names and defaults are the reference class's.
struct DiffqSettings {
  enum class Param : std::uint8_t { Bits, Noise };
  enum class NoiseKind : std::uint8_t { Gaussian, Uniform };
  double lambda = 0;  // loss = task loss + lambda x size in MB
  Param param = Param::Bits;
  NoiseKind noiseKind = NoiseKind::Gaussian;
  std::uint64_t group = 8;  // 0: one for the tensor
  double minBits = 2, maxBits = 15, initBits = 8, extraBits = 0;
  double logitsLearningRate = 1e-3;
  double minSizeMb = 0.01;
  std::vector<std::string> exclude;
  bool float16 = false, detectBound = true;
  int fixedBits = 4;  // of lsq and ste
  bool operator==(const DiffqSettings&) const = default;
};

// Quantized weights that train (core/layers/diode_mix.h).
struct PackedSettings {
  enum class Rounding : std::uint8_t { Nearest, Stochastic };
  Rounding rounding = Rounding::Nearest;
  bool residual = false;        // what rounding took is kept in float32
  std::uint64_t zeroEvery = 5;  // steps between updates of the zeros; 0: they stay
  bool operator==(const PackedSettings&) const = default;
};

// Where inputs and targets come from. Without files inputs are drawn, and targets are what the float layer makes of them.
struct DataSettings {
  std::filesystem::path inputs, targets;
  std::uint64_t rows = 256;           // drawn
  std::uint64_t outlierChannels = 0;  // so many input channels, drawn, are `outlierScale` times as large
  double outlierScale = 20;
  bool operator==(const DataSettings&) const = default;
};

struct TrainSettings {
  std::string method = "qdora";  // of allMethods() (methods.h)
  AdapterSettings adapter;
  DiffqSettings diffq;
  PackedSettings packed;
  DataSettings data;
  OptimizerSettings optimizer;
  Schedule schedule;    // `total` 0: takes `steps`
  double clipNorm = 0;  // 0: no clipping
  std::uint64_t accumulation = 1, batchRows = 0;
  std::uint64_t steps = 100, seed = 0;
  std::optional<NumberType> type;  // f32 unless the variant computes in another (document 000: f16)
  LossKind loss = LossKind::MeanSquares;
  std::filesystem::path init;   // a .safetensors file with starting values
  std::filesystem::path noise;  // an .npz file with arrays STEP/TENSOR instead of drawn noise

  bool operator==(const TrainSettings&) const = default;
  [[nodiscard]] NumberType numberType() const;
};

// What must be equal for a run to go on from another's state, as text with all keys: all but how many steps there will be
// (a schedule that falls over them counts).
std::string runText(const TrainSettings& settings, const std::vector<std::string>& tensors);
// Numbers that no method can take: 0 rows, 0 accumulation, an unknown optimizer, negative steps of a schedule ...
Status check(const TrainSettings& settings);

// Spellings, as the command line has them: "rank", "sqrt-rank", ...
std::optional<Variant> variantFromName(std::string_view name);
std::optional<Scaling> scalingFromName(std::string_view name);
std::optional<AdapterStart> adapterStartFromName(std::string_view name);
std::vector<std::string> variantNames();
std::vector<std::string> scalingNames();
std::vector<std::string> adapterStartNames();
std::vector<std::string> noiseKindNames();  // in the order of DiffqSettings::NoiseKind
std::vector<std::string> roundingNames();   // in the order of PackedSettings::Rounding

// A run before it is opened: which tensors of which checkpoint.
struct TrainJob {
  const WeightList* weights = nullptr;  // not null; needed while the method is made, not after
  std::vector<std::string> tensors;     // at least one
  TrainSettings settings;
  std::function<void(const std::string&)> warn;  // may be empty
};

}  // namespace nibble::train
