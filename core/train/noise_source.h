// SPDX-License-Identifier: GPL-3.0-or-later
// The noise that stands for quantization while bits learn: for each weight of each pass a number e, normal with deviation 1/2
// or uniform in [-1/2, 1/2) (spec section 5.3), drawn as a function of seed, pass, tensor and weight, so that any pass can be
// made again to the bit; or read from an .npz with arrays STEP/TENSOR.
#pragma once
#include "core/io/checkpoint.h"
#include "core/train/train_settings.h"
#include "core/train/trainable.h"

#include <memory>

namespace nibble::train {

class NoiseSource {
 public:
  NoiseSource(DiffqSettings::NoiseKind kind, std::uint64_t seed) : m_kind(kind), m_seed(seed) {}
  static Result<NoiseSource> read(const std::filesystem::path& file);

  // All numbers of tensor `number`, whose name a file knows it by. Errors: the file lacks the array, its size is another, a
  // value is not finite, several passes a step.
  template <class T>
  Status fill(const Pass& pass, std::size_t number, const std::string& name, std::span<T> out, const Context& context) const;
  // Of a file's values; 0 where noise is drawn.
  [[nodiscard]] Result<std::uint64_t> checksum() const;

 private:
  template <class T>
  void draw(std::uint64_t stream, std::span<T> out, const Context& context) const;
  DiffqSettings::NoiseKind m_kind;
  std::uint64_t m_seed;
  std::shared_ptr<const Checkpoint> m_file;  // null: drawn
};

}  // namespace nibble::train
