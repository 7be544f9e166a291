// SPDX-License-Identifier: GPL-3.0-or-later
// What is known about activations as one number per input channel: E[x^2], the weight of that column's squared errors.
// From .npy (one vector, for every tensor of as many columns) or .npz / .safetensors (vectors keyed by tensor name).
// Values must be finite and not negative. Immutable; safe to use from many threads.
#pragma once
#include "core/base/result.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace nibble {

class InputWeights {
 public:
  static Result<InputWeights> read(const std::filesystem::path& path);

  // The vector for a tensor; empty when the file has none under its name. A vector of another length is an error.
  [[nodiscard]] Result<std::span<const float>> of(const std::string& tensor, std::uint64_t columns) const;

 private:
  std::string m_place;
  bool m_keyed = false;
  std::map<std::string, std::vector<float>, std::less<>> m_vectors;  // one, under the empty name, where not keyed
};

}  // namespace nibble
