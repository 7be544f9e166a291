// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/device_products.h"
#include "kernels/cuda/device_staging.h"
#include "kernels/cuda/large_product.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

using Kind = Slot::Kind;

std::size_t rounded(std::size_t bytes) {
  return ceilDiv(bytes, Slot::alignment) * Slot::alignment;
}

// Arrays of one piece of device memory, filled through slots.
class Upload {
 public:
  std::size_t add(std::span<const std::byte> bytes) {
    const std::size_t at = m_size;
    if (!bytes.empty()) m_arrays.push_back({at, bytes});
    m_size += rounded(bytes.size());
    return at;
  }
  // false: not done, and the work has noted why.
  bool run(DeviceWork& work, DeviceBuffer& memory) const {
    const std::size_t strip = work.stripBytes() / Slot::alignment * Slot::alignment;
    if (strip == 0) return false;
    if (const Outcome outcome = memory.make(work.runtime(), m_size); !outcome.ok()) {
      work.note(outcome);
      return false;
    }
    std::vector<Array> strips;
    for (const Array& array : m_arrays)
      for (std::size_t from = 0; from < array.bytes.size(); from += strip)
        strips.push_back({array.at + from, array.bytes.subspan(from, std::min(strip, array.bytes.size() - from))});
    bool done = true;
    work.run(
        strips.size(),
        [&](Slot& slot, std::size_t i) {
          const auto& [at, bytes] = strips[i];
          const auto staged = slot.take<std::byte>(Kind::Scratch, bytes.size());
          std::memcpy(staged.host, bytes.data(), bytes.size());
          slot.collect = [] {};
          return slot.queue([&](Stream stream) {
            return work.runtime().copyIn(static_cast<std::byte*>(memory.get()) + at, staged.host, bytes.size(), stream);
          });
        },
        [&](std::size_t) { done = false; });
    return done;
  }

 private:
  struct Array {
    std::size_t at = 0;
    std::span<const std::byte> bytes;
  };
  std::vector<Array> m_arrays;
  std::size_t m_size = 0;
};

class DeviceColumns final : public ColumnProducts {
 public:
  DeviceColumns(DeviceWork& work, std::size_t least) : m_work(work), m_least(least) {}

  // Weights that kernels do not take are our callers' mistake, which is noted.
  bool take(const ColumnWeights& weights) {
    const unsigned multiprocessors = m_work.facts().multiprocessors;
    TileList forVectors, forSkinny;
    Outcome outcome = tileList(weights.groups, 1, &forVectors);
    const std::size_t tiles = forVectors.tiles.size(), outputs = weights.outputs;
    if (outcome.ok()) outcome = tileList(weights.groups, vectorRunCount(tiles, outputs, multiprocessors), &forVectors);
    if (outcome.ok()) outcome = tileList(weights.groups, skinnyRunCount(tiles, outputs, multiprocessors), &forSkinny);
    const std::size_t parameters = weights.groups.size() * outputs * sizeof(std::uint16_t);
    if (outcome.ok() &&
        (weights.words.size() != forVectors.wordRows * outputs * sizeof(std::uint32_t) || weights.scales.size() != parameters ||
         weights.zeros.size() != parameters || (!weights.order.empty() && weights.order.size() != tiles * 32)))
      outcome = Outcome::failed(Fault::BadCall, "weights whose parts do not fit together");
    if (!outcome.ok()) {
      m_work.note(outcome);
      return false;
    }
    Upload upload;
    const std::size_t words = upload.add(weights.words), scales = upload.add(weights.scales), zeros = upload.add(weights.zeros),
                      order = upload.add(std::as_bytes(weights.order)),
                      list = upload.add(std::as_bytes(std::span(forVectors.tiles))),
                      vectorRuns = upload.add(std::as_bytes(std::span(forVectors.runs))),
                      skinnyRuns = upload.add(std::as_bytes(std::span(forSkinny.runs)));
    if (!upload.run(m_work, m_memory)) return false;
    m_vector = {at<std::uint32_t>(words),
                at<std::uint16_t>(scales),
                at<std::uint16_t>(zeros),
                weights.order.empty() ? nullptr : at<std::uint32_t>(order),
                at<ColumnTile>(list),
                at<TileRun>(vectorRuns),
                tiles,
                forVectors.runs.size(),
                outputs};
    m_skinny = m_vector;
    m_skinny.runs = at<TileRun>(skinnyRuns);
    m_skinny.runCount = forSkinny.runs.size();
    return true;
  }

  bool multiply(const float* x, std::size_t rows, const float* bias, ProductPath path, float* y) const override {
    const std::size_t inputs = m_vector.inputs(), outputs = m_vector.outputs;
    const bool decoded = rows > mostSkinnyRows || path == ProductPath::Decoded;
    DeviceGemm* gemm = decoded ? m_work.gemm() : nullptr;
    const auto product = [&](const Strip& strip) {
      if (gemm != nullptr)
        return launchLargeProduct(m_skinny, strip.in, strip.rows, strip.bias, *gemm, strip.halves, strip.parts, strip.out,
                                  strip.stream);
      if (rows <= mostVectorRows)
        return launchVectorProduct(m_vector, strip.in, strip.rows, strip.bias, strip.parts, strip.out, strip.stream);
      return launchSkinnyProduct(m_skinny, strip.in, strip.rows, strip.bias, strip.halves, strip.parts, strip.out,
                                 strip.stream);
    };
    const auto needs = [&](std::size_t stripRows) -> Needs {
      if (gemm != nullptr) return {largeHalves(m_skinny, stripRows), stripRows * outputs};
      if (rows <= mostVectorRows) return {0, productScratch(m_vector, stripRows)};
      return {skinnyHalves(m_skinny, stripRows), productScratch(m_skinny, stripRows)};
    };
    return run({x, inputs, y, outputs, bias, gemm != nullptr ? mostLargeRows : mostSkinnyRows}, rows, needs, product);
  }

  bool multiplyBack(const float* dy, std::size_t rows, float* dx) const override {
    const std::size_t inputs = m_vector.inputs(), outputs = m_vector.outputs;
    DeviceGemm* gemm = rows > mostSkinnyRows ? m_work.gemm() : nullptr;
    const auto product = [&](const Strip& strip) {
      if (gemm != nullptr)
        return launchLargeBackward(m_skinny, strip.in, strip.rows, *gemm, strip.halves, strip.out, strip.stream);
      return launchBackwardProduct(m_skinny, strip.in, strip.rows, strip.halves, strip.parts, strip.out, strip.stream);
    };
    const auto needs = [&](std::size_t stripRows) -> Needs {
      if (gemm != nullptr) return {largeHalves(m_skinny, stripRows), 0};
      return {backwardHalves(m_skinny, stripRows), backwardScratch(m_skinny, stripRows)};
    };
    return run({dy, outputs, dx, inputs, nullptr, gemm != nullptr ? mostLargeRows : mostSkinnyRows}, rows, needs, product);
  }

 private:
  struct Needs {
    std::size_t halves = 0, parts = 0;  // 16-bit numbers and floats of scratch
  };
  struct Strip {
    const float *in, *bias;
    std::size_t rows;
    float* out;
    std::uint16_t* halves;
    float* parts;
    Stream stream;
  };
  struct Rows {
    const float* in;
    std::size_t inWidth;
    float* out;
    std::size_t outWidth;
    const float* bias;
    std::size_t most;  // of a strip
  };

  template <class T>
  [[nodiscard]] const T* at(std::size_t offset) const {
    return reinterpret_cast<const T*>(static_cast<const std::byte*>(m_memory.get()) + offset);
  }

  // Strips of rows, through slots. Which kernel a row meets depends on the number of all rows alone.
  template <class NeedsOf, class Product>
  bool run(const Rows& all, std::size_t rows, const NeedsOf& needs, const Product& product) const {
    if (rows * m_vector.inputs() * m_vector.outputs < m_least) return false;
    const std::size_t bytes = m_work.stripBytes(), perRow = (all.inWidth + all.outWidth) * sizeof(float);
    if (bytes == 0) return false;
    const std::size_t biasCount = all.bias != nullptr ? all.outWidth : 0,
                      fixed = biasCount * sizeof(float) + 3 * Slot::alignment;
    const std::size_t fit = bytes > fixed ? (bytes - fixed) / perRow : 0, each = std::min({rows, all.most, fit});
    if (each == 0) {
      m_work.note(Outcome::failed(Fault::NoMemory, "one row of " + std::to_string(all.inWidth) + " inputs and " +
                                                       std::to_string(all.outWidth) + " outputs does not fit into " +
                                                       std::to_string(bytes) + " bytes"));
      return false;
    }
    bool done = true;
    m_work.run(
        ceilDiv(rows, each),
        [&](Slot& slot, std::size_t i) {
          const std::size_t first = i * each, count = std::min(each, rows - first);
          const float* in = put(slot, all.in + first * all.inWidth, count * all.inWidth);
          const float* bias = biasCount > 0 ? put(slot, all.bias, biasCount) : nullptr;
          const auto out = slot.take<float>(Kind::Out, count * all.outWidth);
          slot.collect = [=, &all] { std::memcpy(all.out + first * all.outWidth, out.host, out.count * sizeof(float)); };
          const Needs need = needs(count);
          const std::size_t halfBytes = rounded(need.halves * sizeof(std::uint16_t));
          void* scratch = nullptr;
          if (Outcome outcome = slot.reserve(halfBytes + need.parts * sizeof(float), &scratch); !outcome.ok()) return outcome;
          auto* const parts = reinterpret_cast<float*>(static_cast<std::byte*>(scratch) + halfBytes);
          return slot.queue([&](Stream stream) {
            return product({in, bias, count, out.device, static_cast<std::uint16_t*>(scratch), parts, stream});
          });
        },
        [&](std::size_t) { done = false; });
    return done;
  }

  DeviceWork& m_work;
  std::size_t m_least;
  DeviceBuffer m_memory;
  PackedColumns m_vector, m_skinny;
};

}  // namespace

std::unique_ptr<const ColumnProducts> DeviceProducts::hold(const ColumnWeights& weights) const {
  if (weights.outputs == 0 || weights.groups.empty()) return nullptr;
  auto columns = std::make_unique<DeviceColumns>(m_work, m_least);
  if (!columns->take(weights)) return nullptr;
  return columns;
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
