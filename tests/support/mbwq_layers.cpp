// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/mbwq_layers.h"

#include "core/formats/format.h"
#include "tests/support/files.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace nibble::test {
namespace {

std::uint64_t mixed(std::uint64_t x) {
  x = (x + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
  x ^= x >> 29;
  x *= 0x94D049BB133111EBu;
  return x ^ x >> 32;
}

template <class T>
T orStop(Result<T> result) {
  if (result) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.error().message.c_str());
  std::abort();
}

MbwqLayer made(const MbwqSettings& settings, const std::vector<RawTensor>& state, const std::string& name) {
  auto layer = orStop(MbwqLayer::create(name, settings));
  (void)orStop(layer.loadState(state));
  if (const auto status = layer.prepare(); !status) {
    std::fprintf(stderr, "%s\n", status.error().message.c_str());
    std::abort();
  }
  return layer;
}

}  // namespace

HandLayer handLayer(std::uint64_t outputs, std::vector<HandGroup> groups, std::uint64_t seed, bool permuted) {
  HandLayer layer;
  layer.outputs = outputs;
  layer.groups = std::move(groups);
  layer.code = [groups = layer.groups, seed](std::uint64_t k, std::uint64_t n) {
    std::uint64_t end = 0;
    for (const HandGroup& group : groups)
      if (k < (end += group.inputs)) return static_cast<unsigned>(mixed(seed + k * 65537 + n)) % (1u << group.bits);
    std::abort();
  };
  layer.nibble = [seed](std::uint64_t g, std::uint64_t n) { return static_cast<unsigned>(mixed(seed * 3 + g * 977 + n) % 16); };
  layer.maximum = [](std::uint64_t g) { return static_cast<std::uint16_t>(0x2C00 + 0x51 * (g % 8)); };
  const std::uint64_t inputs = layer.inputs();
  layer.order = [permuted, inputs](std::uint64_t k) {
    return permuted ? (k * 29 + 11) % inputs : k;
  };  // inputs: no multiple of 29
  return layer;
}

std::vector<RawTensor> uniformState(const HandLayer& hand, const std::string& module) {
  std::vector<RawTensor> state = hand.mbwq(module);
  state.pop_back();
  return state;
}

MbwqLayer mixedLayer(const HandLayer& hand, const std::string& name) {
  MbwqSettings settings{.inputs = hand.inputs(), .outputs = hand.outputs};
  settings.groups = hand.groups.size();
  settings.packedRows = hand.words().size() / hand.outputs;
  return made(settings, hand.mbwq(name), name);
}

MbwqLayer uniformLayer(const HandLayer& hand, const std::string& name) {
  MbwqSettings settings{.inputs = hand.inputs(), .outputs = hand.outputs};
  settings.mixed = false;
  settings.weightBits = static_cast<int>(hand.groups.front().bits);
  settings.groupSize = static_cast<std::int64_t>(hand.groups.front().inputs);
  return made(settings, uniformState(hand, name), name);
}

std::vector<float> someHalves(std::size_t count, std::uint64_t seed, float size) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = kernels::roundTo(FloatType::F16, size * (static_cast<float>(mixed(seed * 7919 + i) >> 40) * 0x1p-23f - 1));
  return values;
}

std::vector<float> provenWeights(const HandLayer& hand) {
  const ScratchFolder scratch;
  const auto file = scratch.file("proof.safetensors");
  writeArrays(file, hand.mbwq("m"));
  const auto rows = orStop(findFormat("mbwq")->proofDecode(file, "m.weight"));
  std::vector<float> weights(rows.size());
  const std::uint64_t inputs = hand.inputs();
  for (std::uint64_t n = 0; n < hand.outputs; ++n)
    for (std::uint64_t k = 0; k < inputs; ++k) weights[k * hand.outputs + n] = rows[n * inputs + k];
  return weights;
}

std::vector<float> valuesOf(const Result<Tensor>& tensor) {
  return orStop(orStop(tensor).readAll());
}

DoubleModel forwardInDouble(const std::vector<float>& x, const std::vector<float>& weights, std::uint64_t inputs,
                            std::uint64_t outputs, const std::vector<float>& bias) {
  DoubleModel model;
  for (std::uint64_t token = 0; token < x.size() / inputs; ++token) {
    for (std::uint64_t n = 0; n < outputs; ++n) {
      double sum = bias.empty() ? 0 : static_cast<double>(bias[n]), size = std::fabs(sum);
      for (std::uint64_t k = 0; k < inputs; ++k) {
        const double product = static_cast<double>(x[token * inputs + k]) * static_cast<double>(weights[k * outputs + n]);
        sum += product;
        size += std::fabs(product);
      }
      model.y.push_back(sum);
      model.bound.push_back(0x1p-11 * std::fabs(sum) + 0x1p-24 * static_cast<double>(inputs) * size + 0x1p-25);
    }
  }
  return model;
}

}  // namespace nibble::test
