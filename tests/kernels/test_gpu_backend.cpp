// SPDX-License-Identifier: GPL-3.0-or-later
// The CUDA backend on a real device, where there is one: the host's numbers first, then times. Label `gpu`. Times are of whole
// calls: from the weights in memory to the results in memory, transfers included, beside the CPU's in the same run.
#include "kernels/linear.h"
#include "kernels/products.h"
#include "kernels/simd/simd_backend.h"
#include "tests/support/backend_case.h"
#include "tests/support/mbwq_layers.h"

#include <QtTest>
#include <chrono>
#include <cmath>
#include <functional>

using namespace nibble::kernels;
using namespace nibble::test;

namespace {

// The best of five, after one that does not count.
double milliseconds(const std::function<void()>& work) {
  double best = 0;
  for (int i = 0; i < 6; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const double taken = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    best = i < 2 ? taken : std::min(best, taken);
  }
  return best;
}

}  // namespace

class TestGpuBackend : public QObject {
  Q_OBJECT

  const Backend* m_gpu = findBackend("cuda");

 private slots:
  void initTestCase() {
    if (const std::string reason(m_gpu->unusableReason()); !reason.empty())
      QSKIP(("no device to test: " + reason).c_str());
    std::printf("device: %s\n", std::string(m_gpu->description()).c_str());
  }

  void hostsNumbers() {
    const BackendShape shapes[] = {{64, 128},  {4096, 64},        {300, 8192},        {2, 3000000}, {1, 5000003},
                                   {77, 1025}, {4096, 512, true}, {33, 100000, true}, {900, 33, false, 7}};
    unsigned seed = 0;
    for (const BackendShape& shape : shapes) {
      const BackendCase work(shape, ++seed);
      const std::string differs = work.differs(work.of(hostBackend()), work.of(*m_gpu));
      QVERIFY2(differs.empty(), (differs + ": " + shape.text()).c_str());
    }
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      const bool columns = chance.one(3);
      const BackendShape shape{chance.between(1, 600), someSize(chance, 3000), columns, columns ? 0 : chance.below(3)};
      const BackendCase work(shape, static_cast<unsigned>(i));
      const std::string differs = work.differs(work.of(hostBackend()), work.of(*m_gpu));
      QVERIFY2(differs.empty(), (differs + ": " + shape.text() + ", case " + std::to_string(i)).c_str());
    }
    const std::string notice = m_gpu->notice();
    QVERIFY2(notice.empty() || notice.find("do not fit") != std::string::npos, notice.c_str());
  }

  // MBWQ layers within the bound of float32 sums, integer products to the bit.
  void layersAndIntegers() {
    nibble::Context context;
    context.backend = m_gpu;
    const std::uint64_t outputs = 777;
    const HandLayer hand = handLayer(outputs, {{8, 128}, {6, 256}, {5, 128}, {4, 1024}, {3, 256}, {2, 256}}, 3, true);
    const nibble::MbwqLayer layer = mixedLayer(hand);
    const std::vector<float> weights = provenWeights(hand);
    for (const std::uint64_t tokens : {1u, 4u, 16u, 64u, 200u}) {
      const std::vector<float> x = someHalves(tokens * hand.inputs(), tokens);
      const DoubleModel model = forwardInDouble(x, weights, hand.inputs(), outputs);
      for (const auto path : {nibble::MbwqPath::Packed, nibble::MbwqPath::Reconstructed}) {
        const auto y = layer.forward(nibble::Tensor::fromFloats("x", {tokens, hand.inputs()}, x), context, path);
        QVERIFY2(y.has_value(), y ? "" : y.error().message.c_str());
        const auto found = *y->readAll();
        for (std::size_t i = 0; i < found.size(); ++i)
          QVERIFY2(std::fabs(static_cast<double>(found[i]) - model.y[i]) <= model.bound[i], std::to_string(tokens).c_str());
      }
    }
    Chance chance(4);
    std::vector<std::int8_t> a(std::size_t{333} * 3001), b(std::size_t{1025} * 3001);
    for (auto* codes : {&a, &b})
      for (std::int8_t& code : *codes) code = static_cast<std::int8_t>(static_cast<int>(chance.below(256)) - 128);
    std::vector<std::int32_t> found(std::size_t{333} * 1025), expected(found.size());
    hostLinearLoops().integerProducts(a.data(), 333, b.data(), 1025, 3001, expected.data());
    QVERIFY(m_gpu->products()->integerProducts(a.data(), 333, b.data(), 1025, 3001, found.data()));
    QVERIFY(found == expected);
  }

  void times() {
    constexpr std::size_t group = 128, count = std::size_t{4096} * 11008, groups = count / group;
    std::vector<float> weights(count), low(groups), high(groups), scale(groups), values(count);
    std::vector<std::uint8_t> codes(count);
    Chance chance(1);
    for (std::size_t i = 0; i < count; ++i) weights[i] = i < 65536 ? 0.05f * chance.normal() : weights[i - 65536];
    const GroupView view = GroupView::contiguous(weights.data(), groups, group);
    std::printf("%-34s %10s %10s   (4096 x 11008 weights, ms, from memory to memory)\n", "call", "cuda", "simd");
    const auto row = [&](const char* name, const std::function<void(const Backend&)>& call) {
      const double gpu = milliseconds([&] { call(*m_gpu); }), cpu = milliseconds([&] { call(simdBackend()); });
      std::printf("%-34s %10.2f %10.2f\n", name, gpu, cpu);
    };
    row("ranges", [&](const Backend& backend) { backend.ranges(view, low.data(), high.data()); });
    for (std::size_t g = 0; g < groups; ++g) scale[g] = minmaxScale({low[g], high[g]}, 15);
    row("codes and error sums, 4 bits", [&](const Backend& backend) {
      const ErrorSums sums =
          backend.encodeAffineMeasured(view, CodeRule::SubtractDivideRound, AffineValue::ScalePlusBias, scale.data(),
                                       low.data(), 15, scale.data(), codes.data(), {});
      QCOMPARE(sums.count, std::uint64_t{count});
    });
    row("decode", [&](const Backend& backend) {
      backend.decodeScalePlusBias(codes.data(), groups, group, scale.data(), low.data(), values.data());
    });
    row("error sums", [&](const Backend& backend) { QVERIFY(backend.errorSums(weights.data(), values.data(), count).count > 0); });
    row("half-quadratic, 20 iterations", [&](const Backend& backend) {
      std::vector<float> inverse(groups, 40.0f), zero(groups, 7.5f);
      std::vector<double> errors((groups + halfQuadraticChunk - 1) / halfQuadraticChunk * 20);
      std::vector<int> rest(groups);
      backend.halfQuadratic(view, {}, inverse.data(), zero.data(), errors.data(), rest.data());
    });
  }
};

QTEST_APPLESS_MAIN(TestGpuBackend)
#include "test_gpu_backend.moc"
