// SPDX-License-Identifier: GPL-3.0-or-later
// The catalogue: one declaration and one line per format, in the order lists show them.
#include "core/formats/format.h"

namespace nibble {

const Format& npzFormat();
const Format& hqqFormat();
const Format& bnbFormat();
const Format& gptqFormat();
const Format& gptqV2Format();
const Format& gptqPlanarFormat();
const Format& awqFormat();
const Format& exl2Format();
const Format& mbwqFormat();
const Format& compressedTensorsFormat();
const Format& mlxFormat();
const Format& fp8Format();
const Format& gptOssFormat();
const Format& quantoFormat();
const Format& torchaoFormat();
const Format& document000Format();
const Format& ggufFormat();
const Format& diffqFormat();

std::span<const Format* const> allFormats() {
  static const Format* const formats[] = {
      &npzFormat(),    &hqqFormat(),     &bnbFormat(),         &gptqFormat(),  &gptqV2Format(), &gptqPlanarFormat(),
      &awqFormat(),    &exl2Format(),    &mbwqFormat(),        &mlxFormat(),   &fp8Format(),    &compressedTensorsFormat(),
      &quantoFormat(), &torchaoFormat(), &document000Format(), &gptOssFormat(),
      &ggufFormat(),   &diffqFormat()};
  return formats;
}

const Format* findFormat(std::string_view id) {
  for (const Format* format : allFormats())
    if (format->info().id == id) return format;
  return nullptr;
}

Result<std::vector<std::pair<std::string, std::string>>> Format::sideFiles(const std::vector<ExportLayer>&,
                                                                           const std::vector<std::string>&) const {
  return std::vector<std::pair<std::string, std::string>>{};
}

std::unique_ptr<ModelFile> Format::modelFile(const ModelSource&) const {
  return nullptr;
}

Result<QuantizedTensor> Format::readAs(const Checkpoint& checkpoint, const PackedLayer& layer, std::string_view reading) const {
  if (reading.empty()) return read(checkpoint, layer);
  return fail(layer.name + ": there is only one way to read " + std::string(info().id));
}

Result<QuantizedTensor> Format::readMatrix(const Checkpoint&, const PackedLayer& layer, std::uint64_t) const {
  return fail(layer.name + ": the matrices of a stack are not stored apart in " + std::string(info().id));
}

Result<std::vector<float>> Format::proofDecodeAs(const std::filesystem::path& file, const std::string& name,
                                                 const Shape&) const {
  return proofDecode(file, name);
}

std::vector<DetectedLayer> detectPacked(const Checkpoint& checkpoint) {
  std::vector<DetectedLayer> found;
  for (const Format* format : allFormats())
    for (PackedLayer& layer : format->detect(checkpoint)) found.push_back({format, std::move(layer)});
  return found;
}

}  // namespace nibble
