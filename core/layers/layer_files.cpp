// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/layer_files.h"

#include "core/base/text.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr std::string_view weightEnding = ".weight";

std::string moduleOf(const std::string& tensor) {
  return tensor.ends_with(weightEnding) ? tensor.substr(0, tensor.size() - weightEnding.size()) : tensor;
}

Status checkFloating(const Tensor& tensor) {
  if (info(tensor.type()).floating) return {};
  return fail(tensor.name() + ": " + std::string(info(tensor.type()).name) + " is not a floating-point type");
}

}  // namespace

Result<Tensor> readLayerInputs(const std::filesystem::path& file, const std::string& tensor) {
  const auto checkpoint = Checkpoint::open(file);
  if (!checkpoint) return fail(checkpoint.error());
  const auto& entries = (*checkpoint)->entries();
  std::optional<std::size_t> index = (*checkpoint)->find(tensor);
  if (!index) index = (*checkpoint)->find(moduleOf(tensor));
  if (!index && entries.size() == 1) index = 0;
  if (!index)
    return fail(file.string() + ": no inputs named " + tensor + " among its " + text::number(std::uint64_t{entries.size()}) + " arrays");
  auto inputs = (*checkpoint)->read(*index);
  if (!inputs) return inputs;
  if (auto status = checkFloating(*inputs); !status) return fail(status.error().within(file.string()));
  return inputs;
}

Result<std::vector<float>> readLayerBias(const WeightList& weights, const std::string& tensor, std::uint64_t outputs) {
  const std::string name = moduleOf(tensor) + ".bias";
  if (!tensor.ends_with(weightEnding) || !weights.checkpoint().find(name)) return std::vector<float>();
  const auto bias = weights.checkpoint().read(name);
  if (!bias) return fail(bias.error());
  if (auto status = checkFloating(*bias); !status) return fail(status.error());
  auto values = bias->readAll();
  if (!values) return values;
  const bool filled = weights.packedLayer(tensor) != nullptr && values->size() > outputs &&
                      std::all_of(values->begin() + static_cast<std::ptrdiff_t>(outputs), values->end(), [](float v) { return v == 0; });
  if (filled) values->resize(outputs);
  if (values->size() != outputs)
    return fail(name + ": " + text::number(std::uint64_t{values->size()}) + " numbers for " + text::number(outputs) + " outputs");
  return values;
}

}  // namespace nibble
