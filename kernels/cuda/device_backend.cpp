// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/device_backend.h"

#include "kernels/cuda/device_staging.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/half_quadratic.h"
#include "kernels/cuda/ranges.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"

#include <algorithm>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

using Kind = Slot::Kind;

GroupCut DeviceBackend::cut(const GroupView& view, const StripNeeds& needs) const {
  const std::size_t weights = view.groups * view.size;
  if (weights == 0 || weights < m_settings.leastWeights) return {view, needs, 0};
  const std::size_t bytes = m_work.stripBytes();
  const GroupCut cut(view, needs, bytes);
  if (bytes > 0 && cut.pieces() == 0)
    m_work.note(Outcome::failed(Fault::NoMemory, "groups of " + std::to_string(view.size) + " weights do not fit into " +
                                                     std::to_string(bytes) + " bytes"));
  return cut;
}

void DeviceBackend::ranges(const GroupView& view, float* low, float* high) const {
  // A byte more a weight than there is, for the parts of long groups.
  const GroupCut pieces = cut(view, {.perWeight = 5, .perGroup = 24, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return m_cpu.ranges(view, low, high);
  // A group's parts come one by one.
  std::fill_n(low, view.groups, Range{}.low);
  std::fill_n(high, view.groups, Range{}.high);
  const auto merge = [&](const GroupPiece& piece, const float* lows, const float* highs) {
    for (std::size_t g = 0; g < piece.groups; ++g) {
      low[piece.group + g] = std::min(low[piece.group + g], lows[g]);
      high[piece.group + g] = std::max(high[piece.group + g], highs[g]);
    }
  };
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const GroupView staged = stageWeights(slot, view, piece);
        const auto lows = slot.take<float>(Kind::Out, piece.groups), highs = slot.take<float>(Kind::Out, piece.groups);
        const auto scratch = slot.take<float>(Kind::Scratch, rangesScratch(staged));
        slot.collect = [=, &merge] { merge(piece, lows.host, highs.host); };
        return slot.queue(
            [&](Stream stream) { return launchRanges(staged, lows.device, highs.device, scratch.device, stream); });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        std::vector<float> lows(piece.groups), highs(piece.groups);
        m_cpu.ranges(viewOf(view, piece), lows.data(), highs.data());
        merge(piece, lows.data(), highs.data());
      });
}

void DeviceBackend::encodeAffine(const GroupView& view, CodeRule rule, const float* scale, const float* zero, int maxCode,
                                 std::uint8_t* codes) const {
  const GroupCut pieces = cut(view, {.perWeight = 5, .perGroup = 8, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return m_cpu.encodeAffine(view, rule, scale, zero, maxCode, codes);
  const AffineCodes how{rule, AffineValue::ScalePlusBias, static_cast<float>(maxCode)};
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const GroupView staged = stageWeights(slot, view, piece);
        const float* scales = put(slot, scale + piece.group, piece.groups);
        const float* zeros = put(slot, zero + piece.group, piece.groups);
        const auto out = slot.take<std::uint8_t>(Kind::Out, piece.count());
        slot.collect = [=, &view] { scatter(view, piece, out.host, codes); };
        return slot.queue(
            [&](Stream stream) { return launchEncode(staged, how, scales, zeros, nullptr, out.device, nullptr, stream); });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        m_cpu.encodeAffine(viewOf(view, piece), rule, scale + piece.group, zero + piece.group, maxCode,
                           codes + placeOf(view, piece));
      });
}

void DeviceBackend::encodeThresholds(const GroupView& view, const float* multiplier, std::span<const float> thresholds,
                                     std::span<const std::uint8_t> codeOfRank, std::uint8_t* codes) const {
  const GroupCut pieces = cut(view, {.perWeight = 5, .perGroup = 4, .fixed = 2048, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return m_cpu.encodeThresholds(view, multiplier, thresholds, codeOfRank, codes);
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const GroupView staged = stageWeights(slot, view, piece);
        const float* multipliers = put(slot, multiplier + piece.group, piece.groups);
        const float* levels = put(slot, thresholds.data(), thresholds.size());
        const std::uint8_t* ranks = put(slot, codeOfRank.data(), thresholds.size() + 1);
        const auto out = slot.take<std::uint8_t>(Kind::Out, piece.count());
        slot.collect = [=, &view] { scatter(view, piece, out.host, codes); };
        return slot.queue([&](Stream stream) {
          return launchEncodeThresholds(staged, multipliers, levels, thresholds.size(), ranks, out.device, stream);
        });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        m_cpu.encodeThresholds(viewOf(view, piece), multiplier + piece.group, thresholds, codeOfRank,
                               codes + placeOf(view, piece));
      });
}

void DeviceBackend::halfQuadratic(const GroupView& view, const HalfQuadraticSettings& settings, const float* inverseScale,
                                  float* zero, double* chunkErrors, int* restAfter) const {
  const auto iterations = static_cast<std::size_t>(std::max(settings.iterations, 0));
  const GroupCut pieces = cut(view, {.perWeight = 4,
                                     .perGroup = 12 + 9 * iterations,
                                     .fixed = 8 * iterations,
                                     .groupMultiple = halfQuadraticChunk,
                                     .wholeGroups = true});
  if (pieces.pieces() == 0 || iterations == 0)
    return m_cpu.halfQuadratic(view, settings, inverseScale, zero, chunkErrors, restAfter);
  const auto errorsOf = [&](const GroupPiece& piece) { return chunkErrors + piece.group / halfQuadraticChunk * iterations; };
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const GroupView staged = stageWeights(slot, view, piece);
        const float* inverse = put(slot, inverseScale + piece.group, piece.groups);
        const auto zeros = slot.take<float>(Kind::InOut, piece.groups);
        std::copy_n(zero + piece.group, piece.groups, zeros.host);
        const auto errors = slot.take<double>(Kind::Out, ceilDiv(piece.groups, halfQuadraticChunk) * iterations);
        const auto rests = slot.take<int>(Kind::Out, piece.groups);
        const auto scratch = slot.take<double>(Kind::Scratch, halfQuadraticScratch(staged, settings.iterations));
        slot.collect = [=, &errorsOf] {
          std::copy_n(zeros.host, piece.groups, zero + piece.group);
          std::copy_n(rests.host, piece.groups, restAfter + piece.group);
          std::copy_n(errors.host, errors.count, errorsOf(piece));
        };
        return slot.queue([&](Stream stream) {
          return launchHalfQuadratic(staged, settings, inverse, zeros.device, errors.device, rests.device, scratch.device,
                                     stream);
        });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        m_cpu.halfQuadratic(viewOf(view, piece), settings, inverseScale + piece.group, zero + piece.group, errorsOf(piece),
                            restAfter + piece.group);
      });
}

void DeviceBackend::decode(const ValueRuleOf& rule, const std::uint8_t* codes, std::size_t groups, std::size_t size,
                           float* out) const {
  const bool hasZero = rule.zero != nullptr;
  const auto onCpu = [&](std::size_t at, std::size_t group, std::size_t count, std::size_t length) {
    const float* scale = rule.scale + group;
    if (rule.spelling == Spelling::ScaleMinusZero)
      m_cpu.decodeScaleMinusZero(codes + at, count, length, scale, rule.zero + group, out + at);
    else if (rule.spelling == Spelling::ScalePlusBias)
      m_cpu.decodeScalePlusBias(codes + at, count, length, scale, rule.zero + group, out + at);
    else
      m_cpu.decodeTable(codes + at, count, length, scale, {rule.table, rule.tableSize}, out + at);
  };
  const GroupView view = GroupView::contiguous(out, groups, size);
  const GroupCut pieces = cut(view, {.perWeight = 5, .perGroup = 8, .fixed = 1024, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return onCpu(0, 0, groups, size);
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const std::uint8_t* bytes = put(slot, codes + placeOf(view, piece), piece.count());
        ValueRuleOf staged = rule;
        staged.scale = put(slot, rule.scale + piece.group, piece.groups);
        if (hasZero) staged.zero = put(slot, rule.zero + piece.group, piece.groups);
        if (rule.table != nullptr) staged.table = put(slot, rule.table, rule.tableSize);
        const auto values = slot.take<float>(Kind::Out, piece.count());
        slot.collect = [=, &view] { std::copy_n(values.host, values.count, out + placeOf(view, piece)); };
        return slot.queue([&](Stream stream) {
          return launchDecode(Packing::Dense, 8, bytes, piece.count(), piece.count(), piece.elements, staged, values.device,
                              stream);
        });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        onCpu(placeOf(view, piece), piece.group, piece.groups, piece.elements);
      });
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
