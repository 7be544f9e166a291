// SPDX-License-Identifier: GPL-3.0-or-later
// The benchmark's rows of packed linear layers: one token against 4 and 8 bit weights in groups of 128. Their unit is the time
// to read these packed bytes (codes, scales and offsets) once.
#include "core/layers/factored_linear.h"
#include "core/layers/mbwq_layer.h"
#include "core/layers/packed_linear.h"
#include "core/quant/layout.h"
#include "core/run/bench_rows.h"
#include "kernels/backend.h"
#include "kernels/simd/simd_loops.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

namespace nibble::benchmarks {
namespace {

constexpr std::uint64_t columns = 4096, group = 128;

QuantizedTensor someWeights(std::uint64_t outputs, int bits) {
  QuantizedTensor tensor;
  tensor.rows = outputs;
  tensor.columns = columns;
  tensor.shape = {outputs, columns};
  std::vector<std::uint8_t> codes(outputs * columns);
  std::uint64_t x = 1;
  for (std::uint8_t& code : codes) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    code = static_cast<std::uint8_t>(x >> (64 - bits));
  }
  tensor.codes = Codes(std::move(codes));
  tensor.width.uniform = static_cast<std::uint8_t>(bits);
  tensor.layout = denseLayout(outputs * columns, bits);
  tensor.rule = ValueRule::ScaleMinusZero;
  const Grouping grouping = Grouping::blocks(outputs, columns, 1, group);
  tensor.scale = Plane::numbers(grouping, std::vector<float>(grouping.groupCount(), 0.01f), Stored::F16);
  tensor.zero = Plane::implied(grouping, static_cast<float>(1 << (bits - 1)));
  return tensor;
}

// One layer of a width, made at its first use: the best of several repetitions counts.
struct Layers {
  std::optional<FactoredLinear> fast;
  std::optional<PackedLinear> exact;
};

Status prepare(Layers& layers, std::uint64_t outputs, int bits, const Context& context) {
  if (layers.fast) return {};
  auto made = FactoredLinear::make("benchmark", someWeights(outputs, bits), {}, context);
  if (!made) return fail(made.error());
  layers.fast = *std::move(made);
  return {};
}

Status readPacked(const FactoredLinear& layer, std::span<const float>, const Context& context) {
  std::atomic<std::uint64_t> sink{0};
  const std::span<const std::byte> bytes = layer.packed();
  const auto body = [&](std::size_t begin, std::size_t end) {
    sink.fetch_xor(kernels::simd::readAll(reinterpret_cast<const float*>(bytes.data()) + begin, end - begin),
                   std::memory_order_relaxed);
  };
  context.backend->parallelFor(bytes.size() / sizeof(float), 32 * 1024, body);
  return {};
}

using Work = Status (*)(const FactoredLinear& layer, std::span<const float> x, const Context& context);

template <Activations activations>
Status multiply(const FactoredLinear& layer, std::span<const float> x, const Context& context) {
  const auto y = layer.forward(x, activations, context);
  return y ? Status() : fail(y.error());
}

struct Kind {
  const char* what;
  double goal;
  Work work;
};

constexpr Kind kinds[] = {{" x 8-bit activations", 1.3, multiply<Activations::Bytes>},
                          {" x float activations", 2.6, multiply<Activations::Floats>}};

}  // namespace

void addLinearRows(std::vector<Row>& rows, Buffers& buffers, const Context& context) {
  const std::uint64_t outputs = buffers.weights().size() / columns;
  if (outputs == 0) return;
  const std::span<const float> x = buffers.weights().first(columns);
  const std::array<std::shared_ptr<Layers>, 2> both{std::make_shared<Layers>(), std::make_shared<Layers>()};
  for (const Kind& kind : kinds) {
    for (const int bits : {4, 8}) {
      const auto with = [=, &context, made = both[bits / 8]](Work work) -> std::function<Status()> {
        return [=, &context]() -> Status {
          Context own = context;
          own.progress = nullptr;
          NIBBLE_TRY(prepare(*made, outputs, bits, own));
          return work(*made->fast, x, own);
        };
      };
      rows.push_back({"packed " + std::to_string(bits) + " bit g128" + kind.what, outputs * columns, kind.goal, with(kind.work),
                      with(readPacked)});
    }
  }
  const std::uint64_t few = std::max<std::uint64_t>(outputs / 16, 1);
  const auto layers = std::make_shared<Layers>();
  rows.push_back({"4 bit g128 decoded in tiles x float activations", few * columns, 0, [=, &context]() -> Status {
                    if (!layers->exact) {
                      auto made = PackedLinear::make("benchmark", someWeights(few, 4));
                      if (!made) return fail(made.error());
                      layers->exact = *std::move(made);
                    }
                    Context own = context;
                    own.progress = nullptr;
                    const auto y = layers->exact->forward(x, own);
                    return y ? Status() : fail(y.error());
                  }});
  const std::uint64_t square = std::min(outputs, columns);
  const auto mbwq = std::make_shared<std::optional<MbwqLayer>>();
  rows.push_back({"MBWQ layer, 4 bit g128 x float16 activations", square * columns, 0, [=, &context]() -> Status {
                    if (!*mbwq) {
                      auto made = MbwqLayer::of("benchmark", someWeights(square, 4));
                      if (!made) return fail(made.error());
                      *mbwq = *std::move(made);
                    }
                    Context own = context;
                    own.progress = nullptr;
                    const auto y = (*mbwq)->forward(Tensor::fromFloats("x", {1, columns}, {x.begin(), x.end()}), own);
                    return y ? Status() : fail(y.error());
                  }});
}

}  // namespace nibble::benchmarks
