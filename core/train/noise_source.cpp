// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/noise_source.h"

#include "core/base/text.h"
#include "core/train/layer_data.h"
#include "core/train/random.h"
#include "kernels/backend.h"

#include <cmath>
#include <numbers>

namespace nibble::train {
namespace {

constexpr std::size_t strip = 32768;          // even: normal numbers come in pairs
constexpr std::uint64_t mostTensors = 65536;  // streams a pass has

// Box and Muller's pair, halved: weights 2k and 2k + 1.
void gaussPair(const Random& random, std::uint64_t k, double& first, double& second) {
  const double u = 1 - random.uniform(2 * k), angle = 2 * std::numbers::pi * random.uniform(2 * k + 1);
  const double radius = 0.5 * std::sqrt(-2 * std::log(u));
  first = radius * std::cos(angle);
  second = radius * std::sin(angle);
}

}  // namespace

Result<NoiseSource> NoiseSource::read(const std::filesystem::path& file) {
  auto opened = Checkpoint::open(file);
  if (!opened) return fail(opened.error());
  NoiseSource source(DiffqSettings::NoiseKind::Gaussian, 0);
  source.m_file = *std::move(opened);
  return source;
}

template <class T>
void NoiseSource::draw(std::uint64_t stream, std::span<T> out, const Context& context) const {
  const Random random(m_seed, stream);
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (m_kind == DiffqSettings::NoiseKind::Uniform) {
      for (std::size_t i = begin; i < end; ++i) out[i] = static_cast<T>(random.uniform(i) - 0.5);
      return;
    }
    double first = 0, second = 0;
    for (std::size_t i = begin; i < end; i += 2) {
      gaussPair(random, i / 2, first, second);
      out[i] = static_cast<T>(first);
      if (i + 1 < end) out[i + 1] = static_cast<T>(second);
    }
  };
  context.backend->parallelFor(out.size(), strip, body);
}

template <class T>
Status NoiseSource::fill(const Pass& pass, std::size_t number, const std::string& name, std::span<T> out,
                         const Context& context) const {
  if (m_file == nullptr) {
    draw(noiseStream + pass.number() * mostTensors + number, out, context);
    return {};
  }
  if (pass.parts != 1) return fail("noise from a file goes with one pass a step, not " + text::number(pass.parts));
  const std::string key = text::number(pass.step) + "/" + name, place = m_file->path().string() + ": " + key;
  const auto entry = m_file->find(key);
  if (!entry) return fail(m_file->path().string() + ": no array " + key);
  const auto tensor = m_file->read(*entry);
  if (!tensor) return fail(tensor.error());
  if (!info(tensor->type()).floating || tensor->size() != out.size())
    return fail(place + ": " + std::string(info(tensor->type()).name) + " " + toText(tensor->shape()) + " where " +
                text::number(std::uint64_t{out.size()}) + " floating numbers are needed");
  const auto values = readDoubles(*tensor);
  if (!values) return fail(values.error());
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!std::isfinite((*values)[i]))
      return fail(place + ": value " + text::number(std::uint64_t{i}) + " is " + text::number((*values)[i]));
    out[i] = static_cast<T>((*values)[i]);
  }
  return {};
}

Result<std::uint64_t> NoiseSource::checksum() const {
  std::uint64_t sum = 0;
  if (m_file == nullptr) return sum;
  for (std::size_t i = 0; i < m_file->entries().size(); ++i) {
    const auto tensor = m_file->read(i);
    if (!tensor) return fail(tensor.error());
    const auto values = readDoubles(*tensor);
    if (!values) return fail(values.error());
    sum = train::checksum(std::span<const double>(*values), sum);
  }
  return sum;
}

template Status NoiseSource::fill(const Pass&, std::size_t, const std::string&, std::span<float>, const Context&) const;
template Status NoiseSource::fill(const Pass&, std::size_t, const std::string&, std::span<double>, const Context&) const;

}  // namespace nibble::train
