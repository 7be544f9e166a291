// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/device_backend.h"

#include "kernels/cuda/device_staging.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/measure.h"
#include "kernels/cuda/strip_sums.h"

#include <algorithm>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {

using Kind = Slot::Kind;

ErrorSums DeviceBackend::encodeAffineMeasured(const GroupView& view, CodeRule rule, AffineValue spelling, const float* scale,
                                              const float* zero, int maxCode, const float* valueScale, std::uint8_t* codes,
                                              const ErrorBins& bins) const {
  const std::size_t binCount = bins.counts.size();
  const GroupCut pieces = cut(view, {.perWeight = 6,  // parts of sums take less than a byte a weight
                                     .perGroup = 17,  // or 5 a group, of eight at a time
                                     .fixed = 80 + 8 * binCount,
                                     .groupMultiple = sumWarps,
                                     .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0 || binCount > mostBins || !hasRuns(view))
    return m_cpu.encodeAffineMeasured(view, rule, spelling, scale, zero, maxCode, valueScale, codes, bins);
  const AffineCodes how{rule, spelling, static_cast<float>(maxCode)};
  StripSums sums(pieces.pieces());
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const GroupView staged = stageWeights(slot, view, piece);
        const float* scales = put(slot, scale + piece.group, piece.groups);
        const float* zeros = put(slot, zero + piece.group, piece.groups);
        const float* valueScales = put(slot, valueScale + piece.group, piece.groups);
        const auto counts = stageCounts(slot, binCount);
        const auto parts = slot.take<double>(Kind::Out, encodeScratch(staged));
        const auto out = slot.take<std::uint8_t>(Kind::Out, piece.count());
        slot.collect = [=, &view, &sums] {
          scatter(view, piece, out.host, codes);
          sums.setParts(i, parts.host, parts.count);
          addCounts(counts, bins.counts);
        };
        const Measure measure{parts.device, nullptr, binCount > 0 ? counts.device : nullptr, binCount, bins.low, bins.high};
        return slot.queue(
            [&](Stream stream) { return launchEncode(staged, how, scales, zeros, valueScales, out.device, &measure, stream); });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        sums.set(i, m_cpu.encodeAffineMeasured(viewOf(view, piece), rule, spelling, scale + piece.group, zero + piece.group,
                                               maxCode, valueScale + piece.group, codes + placeOf(view, piece), bins));
      });
  return sums.total(view.groups * view.size);
}

ErrorSums DeviceBackend::errorSums(const float* weights, const float* reconstructed, std::size_t count) const {
  const GroupView view = GroupView::contiguous(weights, 1, count);
  const GroupCut pieces = cut(view, {.perWeight = 9, .perGroup = 80, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return m_cpu.errorSums(weights, reconstructed, count);
  StripSums sums(pieces.pieces());
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const float* w = put(slot, weights + piece.element, piece.elements);
        const float* r = put(slot, reconstructed + piece.element, piece.elements);
        const auto parts = slot.take<double>(Kind::Out, sumsScratch(piece.elements));
        slot.collect = [=, &sums] { sums.setParts(i, parts.host, parts.count); };
        return slot.queue([&](Stream stream) { return launchErrorSums(w, r, piece.elements, parts.device, nullptr, stream); });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        sums.set(i, m_cpu.errorSums(weights + piece.element, reconstructed + piece.element, piece.elements));
      });
  return sums.total(count);
}

void DeviceBackend::countBins(const float* values, const float* reconstructed, std::size_t count, float low, float high,
                              std::span<std::uint64_t> counts) const {
  const auto onCpu = [&](std::size_t begin, std::size_t length) {
    if (reconstructed != nullptr)
      m_cpu.errorHistogram(values + begin, reconstructed + begin, length, low, high, counts);
    else
      m_cpu.histogram(values + begin, length, low, high, counts);
  };
  const GroupCut pieces = cut(GroupView::contiguous(values, 1, count),
                              {.perWeight = 8, .fixed = 8 * counts.size(), .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0 || counts.empty() || counts.size() > mostBins) return onCpu(0, count);
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const float* w = put(slot, values + piece.element, piece.elements);
        const float* r = reconstructed != nullptr ? put(slot, reconstructed + piece.element, piece.elements) : nullptr;
        const auto part = stageCounts(slot, counts.size());
        slot.collect = [=] { addCounts(part, counts); };
        return slot.queue([&](Stream stream) {
          return launchHistogram(w, r, piece.elements, Binning(low, high, counts.size()), counts.size(), part.device, stream);
        });
      },
      [&](std::size_t i) { onCpu(pieces.at(i).element, pieces.at(i).elements); });
}

void DeviceBackend::occupancy(const std::uint8_t* codes, std::size_t count, std::span<std::uint64_t> counts) const {
  // The kernel counts 256 codes, as many as there can be.
  const GroupCut pieces =
      cut(GroupView::contiguous(nullptr, 1, count), {.perWeight = 1, .fixed = 8 * 256, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return m_cpu.occupancy(codes, count, counts);
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const std::uint8_t* bytes = put(slot, codes + piece.element, piece.elements);
        const auto part = stageCounts(slot, 256);
        slot.collect = [=] { addCounts(part, counts); };
        return slot.queue([&](Stream stream) { return launchOccupancy(bytes, piece.elements, part.device, stream); });
      },
      [&](std::size_t i) { m_cpu.occupancy(codes + pieces.at(i).element, pieces.at(i).elements, counts); });
}

std::size_t DeviceBackend::firstNonFinite(const float* values, std::size_t count) const {
  const GroupCut pieces =
      cut(GroupView::contiguous(values, 1, count), {.perWeight = 4, .fixed = 8, .elementMultiple = flatMultiple});
  if (pieces.pieces() == 0) return m_cpu.firstNonFinite(values, count);
  std::size_t first = count;
  const auto found = [&](const GroupPiece& piece, std::size_t at) {
    if (at < piece.elements) first = std::min(first, piece.element + at);
  };
  m_work.run(
      pieces.pieces(),
      [&](Slot& slot, std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        const float* w = put(slot, values + piece.element, piece.elements);
        const auto place = slot.take<std::uint64_t>(Kind::InOut, 1);
        *place.host = piece.elements;
        slot.collect = [=, &found] { found(piece, *place.host); };
        return slot.queue([&](Stream stream) { return launchFirstNonFinite(w, piece.elements, place.device, stream); });
      },
      [&](std::size_t i) {
        const GroupPiece piece = pieces.at(i);
        found(piece, m_cpu.firstNonFinite(values + piece.element, piece.elements));
      });
  return first;
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
