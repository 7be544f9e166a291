// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/quant/encode.h"

#include "core/base/contracts.h"
#include "core/base/text.h"
#include "kernels/backend.h"
#include "kernels/math/statistics.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace nibble {
namespace {

constexpr std::uint64_t stripWeights = std::uint64_t{1} << 16;

// The error of the first strip that has one, whatever the order in which strips end.
class FirstError {
 public:
  void report(std::uint64_t strip, Error error) {
    const std::lock_guard lock(m_mutex);
    if (strip >= m_strip.load(std::memory_order_relaxed)) return;
    m_strip.store(strip, std::memory_order_relaxed);
    m_error = std::move(error);
  }
  // Whether a strip need not run, because an earlier one has failed.
  [[nodiscard]] bool skips(std::uint64_t strip) const { return strip > m_strip.load(std::memory_order_relaxed); }
  [[nodiscard]] Status status() && {
    if (m_strip.load(std::memory_order_relaxed) == none) return {};
    return fail(std::move(m_error));
  }

 private:
  static constexpr std::uint64_t none = ~std::uint64_t{0};
  std::mutex m_mutex;
  std::atomic<std::uint64_t> m_strip{none};
  Error m_error;
};

// Converted weights of the strip a thread works on; kept between strips, so that memory is touched anew only once.
std::span<float> stripBuffer(std::size_t size) {
  thread_local std::vector<float> buffer;
  if (buffer.size() < size) buffer.resize(size);
  return std::span(buffer).first(size);
}

Status runStrip(const Tensor& tensor, std::uint64_t begin, std::uint64_t size, const StripBody& body) {
  if (const auto floats = tensor.floats()) return body(begin, floats->subspan(begin, size));
  const std::span<float> buffer = stripBuffer(size);
  NIBBLE_TRY(tensor.read(begin, buffer));
  return body(begin, buffer);
}

std::string describe(std::string_view what, std::uint64_t group, float value, Stored stored) {
  std::string problem = "group " + text::number(group) + ": " + std::string(what) + " " + text::number(value);
  if (!kernels::isFinite(value)) return problem + " is beyond float32";
  return problem + (stored == Stored::F16 ? " does not fit float16 (largest 65504); params=f32 or bf16 holds it"
                                          : " does not fit bfloat16; params=f32 holds it");
}

float roundedTo(Stored stored, float value) {
  switch (stored) {
    case Stored::F16:
      return kernels::roundTo(FloatType::F16, value);
    case Stored::BF16:
      return kernels::roundTo(FloatType::BF16, value);
    default:
      return value;
  }
}

float smallestPositive(Stored stored) {
  return stored == Stored::F16 ? 0x1p-24f : stored == Stored::BF16 ? 0x1p-133f : 0x1p-149f;
}

}  // namespace

Status forEachPiece(std::uint64_t count, std::uint64_t grain, std::uint64_t weightsEach, const Context& context,
                    const std::function<Status(std::uint64_t, std::uint64_t)>& body) {
  FirstError firstError;
  const auto run = [&](std::size_t begin, std::size_t end) {
    if (firstError.skips(begin)) return;
    if (context.stopRequested()) return firstError.report(begin, Error{ErrorKind::Cancelled, "cancelled"});
    if (Status status = body(begin, end); !status) return firstError.report(begin, std::move(status).error());
    context.addDone((end - begin) * weightsEach);
  };
  context.addTotal(count * weightsEach);
  context.backend->parallelFor(count, grain, run);
  return std::move(firstError).status();
}

Status forEachStrip(const Tensor& tensor, std::uint64_t unit, const Context& context, const StripBody& body) {
  NIBBLE_EXPECTS(unit > 0);
  const std::uint64_t size = std::max<std::uint64_t>(1, stripWeights / unit) * unit;
  NIBBLE_TRY(forEachPiece(tensor.size(), size, 1, context,
                          [&](std::uint64_t begin, std::uint64_t end) { return runStrip(tensor, begin, end - begin, body); }));
  return tensor.intact();
}

Result<AllWeights> AllWeights::read(const Tensor& tensor, const Context& context) {
  AllWeights all;
  if (const auto floats = tensor.floats()) {
    all.m_values = *floats;
    return all;
  }
  all.m_copy.resize(tensor.size());
  for (std::uint64_t begin = 0; begin < tensor.size(); begin += stripWeights) {
    if (context.stopRequested()) return cancelled();
    NIBBLE_TRY(tensor.read(begin, std::span(all.m_copy).subspan(begin, std::min(stripWeights, tensor.size() - begin))));
  }
  all.m_values = all.m_copy;
  return all;
}

Stored storedFromName(std::string_view name) {
  return name == "f32" ? Stored::F32 : name == "bf16" ? Stored::BF16 : Stored::F16;
}

Status roundScales(std::span<float> scales, Stored stored, std::uint64_t firstGroup) {
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const float rounded = roundedTo(stored, scales[i]);
    if (!kernels::isFinite(rounded)) return fail(describe("scale", firstGroup + i, scales[i], stored));
    scales[i] = rounded > 0.0f ? rounded : smallestPositive(stored);
  }
  return {};
}

Status roundOffsets(std::span<float> offsets, Stored stored, std::uint64_t firstGroup, std::string_view what) {
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    const float rounded = roundedTo(stored, offsets[i]);
    if (!kernels::isFinite(rounded)) return fail(describe(what, firstGroup + i, offsets[i], stored));
    offsets[i] = rounded;
  }
  return {};
}

}  // namespace nibble
