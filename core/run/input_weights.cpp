// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/input_weights.h"

#include "core/base/text.h"
#include "core/io/checkpoint.h"

#include <cmath>
#include <new>

namespace nibble {
namespace {

Status checkVector(const std::string& name, const std::vector<float>& values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i]) || values[i] < 0)
      return fail(name + ": E[x^2] of channel " + text::number(std::uint64_t{i}) + " is " + text::number(values[i]) +
                  "; it must be finite and not negative");
  }
  return {};
}

}  // namespace

Result<InputWeights> InputWeights::read(const std::filesystem::path& path) try {
  const std::string extension = path.extension().string();
  if (extension == ".dat" || extension == ".gguf")
    return fail(path.string() + ": importance matrices of llama.cpp are not read; give .npy, .npz or .safetensors");
  auto file = Checkpoint::open(path);
  if (!file) return fail(file.error());
  InputWeights weights;
  weights.m_place = path.string();
  weights.m_keyed = (*file)->format() != "npy";
  for (std::size_t i = 0; i < (*file)->entries().size(); ++i) {
    const TensorEntry& entry = (*file)->entries()[i];
    if (!info(entry.type).floating)
      return fail(path.string() + ": " + entry.name + ": " + std::string(info(entry.type).name) +
                  " is not a floating-point type");
    const auto tensor = (*file)->read(i);
    if (!tensor) return fail(tensor.error());
    auto values = tensor->readAll();
    if (!values) return fail(values.error());
    if (auto legal = checkVector(entry.name, *values); !legal) return fail(legal.error().within(path.string()));
    weights.m_vectors.emplace(weights.m_keyed ? entry.name : std::string(), *std::move(values));
  }
  return weights;
} catch (const std::bad_alloc&) {
  return fail(path.string() + ": not enough memory for the input weights");
}

Result<std::span<const float>> InputWeights::of(const std::string& tensor, std::uint64_t columns) const {
  const auto found = m_vectors.find(m_keyed ? tensor : std::string());
  if (found == m_vectors.end()) return std::span<const float>();
  if (found->second.size() == columns) return std::span<const float>(found->second);
  return fail(m_place + ": " + text::number(std::uint64_t{found->second.size()}) + " input weights for " + tensor +
              ", which has " + text::number(columns) + " columns");
}

}  // namespace nibble
