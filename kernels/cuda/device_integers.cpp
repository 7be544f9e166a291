// SPDX-License-Identifier: GPL-3.0-or-later
#include "kernels/cuda/device_products.h"
#include "kernels/cuda/device_staging.h"
#include "kernels/cuda/integer_product.h"

#include <algorithm>
#include <cstring>

namespace nibble::kernels::NIBBLE_CUDA_SPACE {
namespace {

using Kind = Slot::Kind;

constexpr std::size_t outMultiple = 8;  // numbers of a sector

// A rectangle of the outputs: rows of a by rows of b, with both in one slot.
struct Cut {
  std::size_t aRows = 0, bRows = 0;
};

// As square as fits, then as many rows of b as fit.
Cut cutFor(std::size_t aRows, std::size_t bRows, std::size_t paddedColumns, std::size_t bytes) {
  constexpr std::size_t side = 64;
  const std::size_t slack = 4 * Slot::alignment;
  const auto taken = [&](std::size_t a, std::size_t b) {
    return (a + b) * paddedColumns + a * ceilDiv(b, outMultiple) * outMultiple * sizeof(std::int32_t) + slack;
  };
  std::size_t n = 0;
  while (taken(n + side, n + side) <= bytes) n += side;
  Cut cut{std::min(n, aRows), std::min(n, bRows)};
  while (cut.aRows > 0 && cut.bRows < bRows && taken(cut.aRows, std::min(cut.bRows + side, bRows)) <= bytes)
    cut.bRows = std::min(cut.bRows + side, bRows);
  return cut;
}

// Rows with zeros behind them.
const std::int8_t* putRows(Slot& slot, const std::int8_t* from, std::size_t rows, std::size_t columns, std::size_t padded) {
  const auto staged = slot.take<std::int8_t>(Kind::In, rows * padded);
  for (std::size_t r = 0; r < rows; ++r) {
    std::memcpy(staged.host + r * padded, from + r * columns, columns);
    std::memset(staged.host + r * padded + columns, 0, padded - columns);
  }
  return staged.device;
}

}  // namespace

bool DeviceProducts::integerProducts(const std::int8_t* a, std::size_t aRows, const std::int8_t* b, std::size_t bRows,
                                     std::size_t columns, std::int32_t* out) const {
  if (aRows * bRows * columns < std::max<std::size_t>(1, m_least)) return false;
  const std::size_t bytes = m_work.stripBytes(), padded = ceilDiv(columns, integerDepth) * integerDepth;
  if (bytes == 0) return false;
  const Cut each = cutFor(aRows, bRows, padded, bytes);
  if (each.aRows == 0) {
    m_work.note(Outcome::failed(Fault::NoMemory, "integer rows of " + std::to_string(columns) + " columns do not fit into " +
                                                     std::to_string(bytes) + " bytes"));
    return false;
  }
  const std::size_t across = ceilDiv(bRows, each.bRows);
  bool done = true;
  m_work.run(
      across * ceilDiv(aRows, each.aRows),
      [&](Slot& slot, std::size_t i) {
        const std::size_t firstA = i / across * each.aRows, firstB = i % across * each.bRows;
        const std::size_t countA = std::min(each.aRows, aRows - firstA), countB = std::min(each.bRows, bRows - firstB);
        const std::size_t step = ceilDiv(countB, outMultiple) * outMultiple;
        const std::int8_t* left = putRows(slot, a + firstA * columns, countA, columns, padded);
        const std::int8_t* right = putRows(slot, b + firstB * columns, countB, columns, padded);
        const auto sums = slot.take<std::int32_t>(Kind::Out, countA * step);
        slot.collect = [=] {
          for (std::size_t r = 0; r < countA; ++r)
            std::memcpy(out + (firstA + r) * bRows + firstB, sums.host + r * step, countB * sizeof(std::int32_t));
        };
        return slot.queue([&](Stream stream) {
          return launchIntegerProducts(left, countA, right, countB, padded, sums.device, step, stream);
        });
      },
      [&](std::size_t) { done = false; });
  return done;
}

}  // namespace nibble::kernels::NIBBLE_CUDA_SPACE
