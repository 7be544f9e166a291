// SPDX-License-Identifier: GPL-3.0-or-later
// Export: pre-flight, quantize or convert, write under a temporary name, read back with the format's independent decoder,
// compare, rename. A difference other than 0 fails the export and leaves nothing under its final name. Never writes over the
// source. Packed bytes are made layer by layer, as they are written and as they are proven; what is kept is the quantized
// tensors.
#pragma once
#include "core/formats/format.h"
#include "core/run/choice.h"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace nibble {

struct ExportJob {
  std::shared_ptr<const Checkpoint> checkpoint;
  std::vector<std::pair<std::string, Choice>> tensors;  // name, choice
  std::vector<DetectedLayer> packed;  // packed layers of the checkpoint, taken over with their codes (convert.h)
  std::vector<DetectedLayer> decoded;  // packed layers that `tensors` name: decoded, then quantized again
  const Format* format = nullptr;
  std::string runtime;        // a target whose rules must hold; empty: the format's own rules
  std::string mix;            // the named mix that `tensors` follow; empty: none
  std::filesystem::path out;  // a file for .npz, .npy, .gguf and .safetensors names, else a directory
  bool all = false;           // copy what is not quantized
  bool verify = true;
  bool dryRun = false;                                 // pre-flight only
  int cards = 1;                                       // that the runtime is to split the model over: part of its rules
  std::uint64_t shardSize = 0;                         // bytes a weights file of a folder may have; 0: one file
  std::uint64_t heldBytes = std::uint64_t{512} << 20;  // packed bytes kept; layers beyond are packed again when needed
};

struct ExportedTensor {
  std::string name, scheme;
  std::uint64_t sizeBytes = 0;  // payload bytes of the quantized layer in this format
  std::uint64_t weights = 0;
  double sqnrDb = 0;
  double maxDifference = 0;         // independent decoder against the shown values; NaN when not verified
  bool converted = false;           // from a packed layer; shown values are then the converted ones
  double conversionDifference = 0;  // of a converted layer: converted values against those of the source
};

enum class ExportStage : std::uint8_t { Preflight, Quantize, Write, ReadBack, Done };

struct ExportResult {
  std::string format;
  std::filesystem::path out;
  std::vector<std::filesystem::path> files;
  std::uint64_t sizeBytes = 0;
  double bitsPerWeight = 0;  // payload bytes of the quantized layers x 8 / their weights
  std::vector<ExportedTensor> tensors;
  std::vector<RuleResult> preflight;
  std::vector<RuleResult> advice;  // that no runtime insists on; a broken one fails nothing
  bool preflightOk = false;
  bool verified = false;
};

// `onStage` (nullable) is called on the calling thread as work moves on: stage, tensors done, tensors in all.
Result<ExportResult> exportTensors(const ExportJob& job, const Context& context,
                                   const std::function<void(ExportStage, std::size_t, std::size_t)>& onStage = {});

}  // namespace nibble
