// SPDX-License-Identifier: GPL-3.0-or-later
// Real numbers for plot tests: the query matrix of the bundled sample and what four bits with a group of 64 along the input
// make of it, by the plain affine formula written out here, so that plots are tested without the rest of the engine.
#pragma once
#include "core/report/histogram.h"
#include "tests/support/golden.h"

#include <QByteArray>
#include <QFile>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

namespace samples {

inline constexpr std::uint64_t rows = 384, columns = 384, group = 64;

// Row-major [384, 384], BF16 in the file.
inline std::shared_ptr<const std::vector<float>> queryWeights() {
  QFile file(QString::fromStdString(nibble::test::resourcePath("sample/minilm-sample.safetensors").string()));
  if (!file.open(QIODevice::ReadOnly)) qFatal("the bundled sample is missing");
  const QByteArray bytes = file.readAll();
  std::uint64_t headerSize = 0;
  std::memcpy(&headerSize, bytes.constData(), 8);
  const auto header = nlohmann::json::parse(bytes.constData() + 8, bytes.constData() + 8 + headerSize);
  const auto& entry = header.at("encoder.layer.0.attention.self.query.weight");
  if (entry.at("dtype") != "BF16") qFatal("the sample's query matrix is no longer BF16");
  const char* data = bytes.constData() + 8 + headerSize + entry.at("data_offsets").at(0).get<std::uint64_t>();
  auto values = std::make_shared<std::vector<float>>(rows * columns);
  for (std::size_t i = 0; i < values->size(); ++i) {
    std::uint16_t half = 0;
    std::memcpy(&half, data + 2 * i, 2);
    (*values)[i] = std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
  }
  return values;
}

struct Quantized {
  int bits = 4;
  std::vector<int> codes;
  std::vector<float> decoded, errors, scales, zeros;  // scales and zeros per group
};

inline Quantized quantize(const std::vector<float>& w, int bits) {
  Quantized q;
  q.bits = bits;
  const double top = (1 << bits) - 1;
  for (std::size_t g = 0; g < w.size(); g += group) {
    const auto [low, high] = std::minmax_element(w.begin() + static_cast<long>(g), w.begin() + static_cast<long>(g + group));
    const double scale = (*high - *low) / top, zero = -*low / scale;
    q.scales.push_back(static_cast<float>(scale));
    q.zeros.push_back(static_cast<float>(zero));
    for (std::size_t i = g; i < g + group; ++i) {
      const double code = std::clamp(std::nearbyint(w[i] / scale + zero), 0.0, top);
      q.codes.push_back(static_cast<int>(code));
      q.decoded.push_back(static_cast<float>(scale * (code - zero)));
      q.errors.push_back(w[i] - q.decoded.back());
    }
  }
  return q;
}

template <class Values>
nibble::Histogram histogram(const Values& values, double low, double high, int bins) {
  nibble::Histogram h{low, high, std::vector<std::uint64_t>(static_cast<std::size_t>(bins))};
  for (const auto v : values) {
    const int bin = std::clamp(static_cast<int>((v - low) / (high - low) * bins), 0, bins - 1);
    ++h.counts[static_cast<std::size_t>(bin)];
  }
  return h;
}

inline std::vector<double> levels(const Quantized& q, std::size_t groupIndex) {
  std::vector<double> values;
  for (int code = 0; code < 1 << q.bits; ++code) values.push_back(q.scales[groupIndex] * (code - q.zeros[groupIndex]));
  return values;
}

inline double sqnr(const std::vector<float>& w, const std::vector<float>& e) {
  double signal = 0, noise = 0;
  for (std::size_t i = 0; i < w.size(); ++i) signal += double(w[i]) * w[i], noise += double(e[i]) * e[i];
  return 10 * std::log10(signal / noise);
}

inline double rms(const std::vector<float>& e) {
  double sum = 0;
  for (const float v : e) sum += double(v) * v;
  return std::sqrt(sum / static_cast<double>(e.size()));
}

}  // namespace samples
