// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/gguf/model.h"

#include "core/formats/gguf/llama_cpp.h"
#include "core/io/atomic_file.h"

#include <algorithm>
#include <array>
#include <map>

namespace nibble::formats::gguf {
namespace {

using kernels::BlockType;

struct FileType {
  std::string_view mix;
  std::uint32_t number;
  std::optional<BlockType> type;  // whose commonness means it; none: a mix that is known by its name alone
};
// Source: llama.h of llama.cpp (MIT), enum llama_ftype.
constexpr std::array fileTypes{
    FileType{"Q4_0", 2, BlockType::Q4_0},         FileType{"Q4_1", 3, BlockType::Q4_1},      FileType{"Q8_0", 7, BlockType::Q8_0},
    FileType{"Q5_0", 8, BlockType::Q5_0},         FileType{"Q5_1", 9, BlockType::Q5_1},      FileType{"Q2_K", 10, BlockType::Q2_K},
    FileType{"Q3_K_S", 11, BlockType::Q3_K},      FileType{"Q3_K_M", 12, std::nullopt},      FileType{"Q3_K_L", 13, std::nullopt},
    FileType{"Q4_K_S", 14, BlockType::Q4_K},      FileType{"Q4_K_M", 15, std::nullopt},      FileType{"Q5_K_S", 16, BlockType::Q5_K},
    FileType{"Q5_K_M", 17, std::nullopt},         FileType{"Q6_K", 18, BlockType::Q6_K},     FileType{"IQ2_XXS", 19, BlockType::IQ2_XXS},
    FileType{"IQ2_XS", 20, BlockType::IQ2_XS},    FileType{"Q2_K_S", 21, std::nullopt},      FileType{"IQ3_XXS", 23, BlockType::IQ3_XXS},
    FileType{"IQ1_S", 24, BlockType::IQ1_S},      FileType{"IQ4_NL", 25, BlockType::IQ4_NL}, FileType{"IQ3_S", 26, BlockType::IQ3_S},
    FileType{"IQ2_S", 28, BlockType::IQ2_S},      FileType{"IQ4_XS", 30, BlockType::IQ4_XS}, FileType{"IQ1_M", 31, BlockType::IQ1_M},
    FileType{"TQ1_0", 36, BlockType::TQ1_0},      FileType{"TQ2_0", 37, BlockType::TQ2_0},   FileType{"MXFP4", 38, BlockType::MXFP4},
    FileType{"NVFP4", 39, BlockType::NVFP4},      FileType{"Q1_0", 40, BlockType::Q1_0},     FileType{"Q2_0", 41, BlockType::Q2_0},
};
constexpr std::string_view llamaCpp = "llama.cpp";
constexpr std::uint32_t allF32 = 0, mostlyF16 = 1, mostlyBf16 = 32;

std::uint32_t numberOf(const RawTensor& tensor) {
  if (!tensor.block) return tensor.type == DType::F16 ? mostlyF16 : tensor.type == DType::BF16 ? mostlyBf16 : allF32;
  const auto found = std::find_if(fileTypes.begin(), fileTypes.end(), [&](const FileType& one) { return one.type == tensor.block; });
  return found == fileTypes.end() ? allF32 : found->number;
}

RawTensor asStored(const TensorEntry& entry, const Tensor& tensor) {
  RawTensor copy;
  copy.name = entry.name;
  copy.type = entry.type;
  copy.shape = entry.shape;
  copy.block = entry.block;
  if (!tensor.bytes().empty()) copy.borrowed = tensor.bytes();
  return copy;
}

// Names and rows as the source has them.
class PlainFile : public ModelFile {
 public:
  explicit PlainFile(const ModelSource& source) : m_source(source) {}

  [[nodiscard]] std::vector<RuleResult> preflight(const std::vector<ExportLayer>&) const override { return {}; }
  [[nodiscard]] Result<Placed> place(const ExportLayer& layer) const override { return Placed{layer, nullptr}; }
  [[nodiscard]] Result<std::optional<RawTensor>> copy(const TensorEntry& entry, const Tensor& tensor) const override {
    if (!ggufTypeOf(entry.type, entry.block))
      return fail(entry.name + ": " + std::string(info(entry.type).name) + " has no place in GGUF");
    return std::optional(asStored(entry, tensor));
  }
  [[nodiscard]] std::vector<RawTensor> further() const override { return {}; }
  [[nodiscard]] Status write(const std::filesystem::path& path, const std::vector<RawTensor>& arrays) const override {
    return writeModel(path, arrays, values(), m_source.mix);
  }

 protected:
  [[nodiscard]] virtual std::vector<GgufValue> values() const { return {}; }
  ModelSource m_source;
};

// A GGUF file that becomes another one.
class CarriedFile final : public PlainFile {
 public:
  CarriedFile(const ModelSource& source, const GgufCheckpoint& checkpoint) : PlainFile(source), m_checkpoint(checkpoint) {}

  [[nodiscard]] std::vector<RuleResult> preflight(const std::vector<ExportLayer>& layers) const override {
    const bool asked = m_source.runtime == llamaCpp;
    const auto& values = m_checkpoint.values();
    const bool named = std::any_of(values.begin(), values.end(), [](const GgufValue& value) { return value.key == "general.architecture"; });
    const bool whole = m_source.whole || layers.size() == m_checkpoint.entries().size();
    return {{"The file names its architecture", asked, named, named ? "carried over" : "general.architecture is missing in the source",
             "llama.cpp src/llama-model-loader.cpp"},
            {"All tensors are there", asked, whole, whole ? "with what is not quantized" : "--all copies what is not quantized",
             "llama.cpp src/llama-model-loader.cpp, done_getting_tensors"}};
  }

 protected:
  [[nodiscard]] std::vector<GgufValue> values() const override {
    std::vector<GgufValue> values;
    for (const GgufValue& value : m_checkpoint.values())
      if (!value.key.starts_with("split.")) values.push_back(value);
    return values;
  }

 private:
  const GgufCheckpoint& m_checkpoint;
};

}  // namespace

std::uint32_t fileType(std::string_view mix, const std::vector<RawTensor>& tensors) {
  const auto named = std::find_if(fileTypes.begin(), fileTypes.end(), [mix](const FileType& one) { return one.mix == mix; });
  if (named != fileTypes.end()) return named->number;
  std::map<std::uint32_t, std::uint64_t> bytes;
  for (const RawTensor& tensor : tensors)
    if (tensor.shape.size() >= 2) bytes[numberOf(tensor)] += tensor.bytes().size();
  const auto most = std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? allF32 : most->first;
}

Status writeModel(const std::filesystem::path& path, const std::vector<RawTensor>& arrays, std::vector<GgufValue> values,
                  std::string_view mix) {
  setValue(values, GgufValue::number("general.quantization_version", 2));
  setValue(values, GgufValue::number("general.file_type", fileType(mix, arrays)));
  auto file = AtomicFile::create(path);
  if (!file) return fail(file.error());
  NIBBLE_TRY(writeGguf(*file, arrays, values));
  NIBBLE_TRY(file->sync());
  return file->commit();
}

void setValue(std::vector<GgufValue>& values, GgufValue value) {
  const auto known = std::find_if(values.begin(), values.end(), [&](const GgufValue& one) { return one.key == value.key; });
  if (known == values.end())
    values.push_back(std::move(value));
  else
    *known = std::move(value);
}

std::unique_ptr<ModelFile> modelFile(const ModelSource& source) {
  if (const auto* gguf = dynamic_cast<const GgufCheckpoint*>(&source.checkpoint)) return std::make_unique<CarriedFile>(source, *gguf);
  if (source.runtime == llamaCpp) return llamaCppFile(source);
  return std::make_unique<PlainFile>(source);
}

}  // namespace nibble::formats::gguf
