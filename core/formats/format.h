// SPDX-License-Identifier: GPL-3.0-or-later
// A packed format: what a runtime loads. One folder each, with detection, reading, packing, the pre-flight rules of its loaders
// and a proof decoder that is written from the published layout alone and shares no code with the rest (proof_container.h).
// Formats are stateless and safe to use from many threads.
#pragma once
#include "core/base/result.h"
#include "core/io/checkpoint.h"
#include "core/io/safetensors_writer.h"
#include "core/quant/layout.h"
#include "core/quant/quantized_tensor.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

// One layer of an already-quantized checkpoint.
struct PackedLayer {
  std::string name;                // "encoder.layer.0.attention.self.query.weight"
  std::string description;         // "hqq 4 bit group 64 axis 1"
  std::vector<std::size_t> parts;  // entries of the checkpoint it is made of
  Shape shape;
  std::vector<std::string> readings{};  // ways to read it ("v1", "v2"), the one taken first; empty: there is one way only
  std::string doubt{};                  // why the one taken may be wrong, one line; empty: the file is clear
};

struct ExportLayer {
  std::string name;  // tensor name, ending in ".weight" as a rule
  const QuantizedTensor* tensor = nullptr;
  std::optional<Tensor> bias;  // where the file has one
};

// One pre-flight rule and what it says here. `asked` is false where this runtime does not ask for it.
struct RuleResult {
  std::string rule;  // "Group divides every tensor"
  bool asked = true;
  bool ok = false;
  std::string detail;  // "64 divides 147456"
  std::string source;  // where the rule stands: "hqq 0.2.8 core/quantize.py"
};

// The export a format with a container of its own writes a file for.
struct ModelSource {
  const Checkpoint& checkpoint;
  std::string runtime;  // that is to load it; empty: none is named
  std::string mix;      // of which the layers' schemes are ("Q4_K_M"); empty: of none
  bool whole = false;   // what is not quantized is copied
};

// One file with a container of its own: which names and which order of rows the layers have there, what becomes of copied
// tensors, what else the file says. Everything is shown under the names the file uses; the values are those of `place`.
class ModelFile {
 public:
  struct Placed {
    ExportLayer layer;                              // without a tensor: the file has no place for it, nor misses it
    std::shared_ptr<const QuantizedTensor> tensor;  // what `layer.tensor` points to, where it is not the source's
  };
  virtual ~ModelFile() = default;
  // What the runtime asks of the model as a whole. The functions below are for models that pass.
  [[nodiscard]] virtual std::vector<RuleResult> preflight(const std::vector<ExportLayer>& layers) const = 0;
  [[nodiscard]] virtual Result<Placed> place(const ExportLayer& layer) const = 0;
  // A tensor that is not quantized; `none`: the file does not have it. The answer may borrow the tensor's bytes.
  [[nodiscard]] virtual Result<std::optional<RawTensor>> copy(const TensorEntry& entry, const Tensor& tensor) const = 0;
  [[nodiscard]] virtual std::vector<RawTensor> further() const = 0;  // tensors that the source does not have
  [[nodiscard]] virtual Status write(const std::filesystem::path& path, const std::vector<RawTensor>& arrays) const = 0;
};

struct FormatInfo {
  std::string_view id;       // "hqq"
  std::string_view summary;  // "HQQ safetensors, W_q in 4bit_u8 ..."
  std::string_view reference;
  std::vector<std::string_view> runtimes;  // that load it: "transformers", "vllm"; empty: no runtime, an interchange file
  std::string_view extension;              // ".safetensors", ".npz" or that of its own container
};

class Format {
 public:
  virtual ~Format() = default;
  [[nodiscard]] virtual const FormatInfo& info() const = 0;
  // Why the format cannot hold this tensor; none: it can.
  [[nodiscard]] virtual std::optional<std::string> refusal(const QuantizedTensor& tensor) const = 0;
  [[nodiscard]] virtual std::vector<RuleResult> preflight(std::string_view runtime,
                                                          const std::vector<ExportLayer>& layers) const = 0;
  // The arrays one layer becomes. The values they decode to are `exactValues` of the tensor.
  [[nodiscard]] virtual Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const = 0;
  // How the codes of this tensor lie in the file, for the bit strip.
  [[nodiscard]] virtual std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const = 0;
  // Bytes of `arrays` (one layer's, from `pack`) that carry codes and parameters: what bits per weight counts. Scalars that
  // describe the layer, constant tables of the format, its bias and decoded copies do not count.
  [[nodiscard]] virtual std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const = 0;
  // config.json with what the runtime wants added, other keys kept in order. `config` may be empty. `leftAlone` names the
  // matrices of the model that stay as they are.
  [[nodiscard]] virtual Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                                      const std::vector<std::string>& leftAlone) const = 0;
  // Null: an export is arrays under the source's names, in a .safetensors or .npz file.
  [[nodiscard]] virtual std::unique_ptr<ModelFile> modelFile(const ModelSource& source) const;
  // Further small files beside the weights (quantize_config.json): name and text.
  [[nodiscard]] virtual Result<std::vector<std::pair<std::string, std::string>>> sideFiles(
      const std::vector<ExportLayer>& layers, const std::vector<std::string>& leftAlone) const;

  // `__metadata__` of a written safetensors file.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> metadata() const { return {{"format", "pt"}}; }

  // Packed layers in a checkpoint, by keys, dtypes, shapes and config, never by file name.
  [[nodiscard]] virtual std::vector<PackedLayer> detect(const Checkpoint& checkpoint) const = 0;
  [[nodiscard]] virtual Result<QuantizedTensor> read(const Checkpoint& checkpoint, const PackedLayer& layer) const = 0;
  // The same by one of the layer's readings; an empty name is `read`.
  [[nodiscard]] virtual Result<QuantizedTensor> readAs(const Checkpoint& checkpoint, const PackedLayer& layer,
                                                       std::string_view reading) const;
  // Matrix `index` of a layer that is a stack of them ([experts, out, in]); refused where a format has no such stacks.
  [[nodiscard]] virtual Result<QuantizedTensor> readMatrix(const Checkpoint& checkpoint, const PackedLayer& layer,
                                                           std::uint64_t index) const;

  // The independent decoder: float32 values, row-major, of the named layer of a written file. It also refuses what a correct
  // file never has: nonzero padding, tables and descriptions that differ from the format's own.
  [[nodiscard]] virtual Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                               const std::string& name) const = 0;
  // The same where the layer's shape is known: a few formats (MLX) do not say it in the weights file. Else `proofDecode`.
  [[nodiscard]] virtual Result<std::vector<float>> proofDecodeAs(const std::filesystem::path& file, const std::string& name,
                                                                 const Shape& shape) const;
};

std::span<const Format* const> allFormats();
const Format* findFormat(std::string_view id);

// All packed layers of a checkpoint with the format each belongs to.
struct DetectedLayer {
  const Format* format = nullptr;
  PackedLayer layer;
};
std::vector<DetectedLayer> detectPacked(const Checkpoint& checkpoint);

}  // namespace nibble
