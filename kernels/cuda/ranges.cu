// SPDX-License-Identifier: GPL-3.0-or-later
// Tiling. Elements side by side (elementStride 1): a warp takes one group, or 8192 elements of a longer one,
//
//     group g   |<- 32 lanes x 4 floats ->|<- next 512 bytes ->| ...        lanes keep low and high, then halve
//
// Groups side by side (columns, HQQ axis 0): a thread takes one group, neighbours read neighbours:
//
//     element k      g0 g1 g2 ... g31  ->  128 bytes a warp
//     element k + 1  g0 g1 g2 ...
//
// Long groups leave one pair for each part; a second kernel takes a warp for each group over its parts.
// Bytes: 4 read for each element, 8 written for each group. Nothing is read twice.
//
// bound rangesOfRuns registers 40 shared 64
// bound rangesOfColumns registers 32 shared 0
// bound rangesOfParts registers 32 shared 0
#include "kernels/cuda/ranges.h"

#include "kernels/cuda/reduce.h"

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

constexpr unsigned threads = 256, warps = threads / 32;
constexpr std::size_t partSize = 8192;

template <unsigned width>
NIBBLE_KERNEL NIBBLE_THREADS(256) rangesOfRuns(GroupView view, std::size_t parts, float* low, float* high) {
  const std::size_t first = std::size_t{blockX()} * warps, items = view.groups * parts, item = first + threadIndex() / 32;
  const std::size_t lane = threadIndex() % 32;
  Range range;
  if (item < items) {
    const std::size_t part = item % parts * partSize;
    const float* from = view.data + item / parts * view.groupStride + part;
    const std::size_t count = view.size - part < partSize ? view.size - part : partSize;
    for (std::size_t i = lane * width; i < count; i += 32 * width) {
      if constexpr (width == 4) {
        const Quad<float> values = loadOnce(reinterpret_cast<const Quad<float>*>(from + i));
        for (const float value : values.v) include(range, value);
      } else {
        include(range, loadOnce(from + i));
      }
    }
  }
  range = finished(warpRange(range));
  // Neighbours' ends are stored at once.
  const Shared<float> ends(0, 2 * warps);
  if (lane == 0) {
    ends.set(threadIndex() / 32, range.low);
    ends.set(warps + threadIndex() / 32, range.high);
  }
  syncThreads();
  if (threadIndex() >= 2 * warps || first + threadIndex() % warps >= items) return;
  store((threadIndex() < warps ? low : high) + first + threadIndex() % warps, ends.get(threadIndex()));
}

NIBBLE_KERNEL NIBBLE_THREADS(256) rangesOfColumns(GroupView view, std::size_t parts, float* low, float* high) {
  const std::size_t group = std::size_t{blockX()} * threads + threadIndex();
  if (group >= view.groups) return;
  const std::size_t begin = blockY() * partSize;
  const std::size_t end = view.size - begin < partSize ? view.size : begin + partSize;
  Range range;
  for (std::size_t k = begin; k < end; ++k)
    include(range, loadOnce(view.data + group * view.groupStride + k * view.elementStride));
  range = finished(range);
  store(low + group * parts + blockY(), range.low);
  store(high + group * parts + blockY(), range.high);
}

NIBBLE_KERNEL NIBBLE_THREADS(256)
    rangesOfParts(const float* lows, const float* highs, std::size_t groups, std::size_t parts, float* low, float* high) {
  const std::size_t group = std::size_t{blockX()} * warps + threadIndex() / 32, lane = threadIndex() % 32;
  if (group >= groups) return;
  Range range;
  for (std::size_t i = lane; i < parts; i += 32) {
    include(range, load(lows + group * parts + i));
    include(range, load(highs + group * parts + i));
  }
  range = finished(warpRange(range));
  if (lane != 0) return;
  store(low + group, range.low);
  store(high + group, range.high);
}

}  // namespace

std::size_t rangesScratch(const GroupView& view) {
  const std::size_t parts = ceilDiv(view.size, partSize);
  return parts > 1 ? 2 * parts * view.groups : 0;
}

Outcome launchRanges(const GroupView& view, float* low, float* high, float* scratch, Stream stream) {
  if (view.groups == 0 || view.size == 0) return {};
  const std::size_t parts = ceilDiv(view.size, partSize), items = parts * view.groups;
  const bool runs = view.elementStride == 1;
  const std::size_t blocks = ceilDiv(runs ? items : view.groups, runs ? warps : threads);
  if (blocks > largestGridX || (!runs && parts > largestGridY))
    return Outcome::failed(Fault::BadCall, "too many groups at once");
  float* partLow = parts > 1 ? scratch : low;
  float* partHigh = parts > 1 ? scratch + items : high;
  const GridSize grid{static_cast<unsigned>(blocks), runs ? 1u : static_cast<unsigned>(parts)};
  const bool quads = isAligned(view.data, 16) && view.groupStride % 4 == 0 && view.size % 4 == 0;
  Outcome outcome = launch(!runs   ? rangesOfColumns
                           : quads ? rangesOfRuns<4>
                                   : rangesOfRuns<1>,
                           grid, threads, runs ? 2 * warps * sizeof(float) : 0, stream, view, parts, partLow, partHigh);
  if (!outcome.ok() || parts == 1) return outcome;
  return launch(rangesOfParts, {static_cast<unsigned>(ceilDiv(view.groups, warps)), 1}, threads, 0, stream, scratch,
                scratch + items, view.groups, parts, low, high);
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
