// SPDX-License-Identifier: GPL-3.0-or-later
// Every backend, and every instruction set the SIMD backend was built for, against the host reference: codes, ranges, zeros and
// decoded values to the bit; error sums to 1e-12 of the sum of magnitudes.
#include "kernels/host/host_backend.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/math/minifloat.h"
#include "kernels/simd/simd_loops.h"

#include <QTest>
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace nibble::kernels;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

enum class Kind { Normal, Wide, Denormal, Ties, Constant, SignedZeros, Huge, OneOutlier };
constexpr Kind kinds[] = {Kind::Normal,   Kind::Wide,        Kind::Denormal, Kind::Ties,
                          Kind::Constant, Kind::SignedZeros, Kind::Huge,     Kind::OneOutlier};

Floats weights(Kind kind, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  std::uniform_int_distribution<int> integer(-20, 20);
  Floats values(count);
  for (std::size_t i = 0; i < count; ++i) {
    switch (kind) {
      case Kind::Normal:
        values[i] = normal(random);
        break;
      case Kind::Wide:
        values[i] = normal(random) * 100.0f;
        break;
      case Kind::Denormal:
        values[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random()) & 0x80000FFFu);
        break;
      case Kind::Ties:
        values[i] = static_cast<float>(integer(random)) * 0.5f;
        break;
      case Kind::Constant:
        values[i] = -0.3f;
        break;
      case Kind::SignedZeros:
        values[i] = random() % 2 == 0 ? 0.0f : -0.0f;
        break;
      case Kind::Huge:
        values[i] = normal(random) * 1e38f;
        break;
      case Kind::OneOutlier:
        values[i] = i == count / 2 ? 1e4f : normal(random);
        break;
    }
  }
  return values;
}

struct Shape {
  std::size_t groups, size;
};
// Narrower than a vector, tails of every kind, many small groups, few large ones, one that is cut into pieces.
constexpr Shape shapes[] = {{1, 1},   {3, 5},   {17, 8},    {5, 33},     {64, 64},   {37, 128},
                            {259, 7}, {16, 31}, {2, 70001}, {1, 140003}, {70001, 2}, {600, 65}};

template <class T>
bool sameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

struct Parameters {
  Floats scale, zero;
};

// Scales and zeros of a kind that fit the rule.
Parameters parameters(const GroupView& view, CodeRule rule, float maxCode) {
  Parameters p{Floats(view.groups), Floats(view.groups)};
  Floats low(view.groups), high(view.groups);
  hostBackend().ranges(view, low.data(), high.data());
  for (std::size_t g = 0; g < view.groups; ++g) {
    switch (rule) {
      case CodeRule::DivideRoundAdd:
      case CodeRule::DivideAddRound:
        p.scale[g] = affineScale({low[g], high[g]}, maxCode);
        p.zero[g] = -std::nearbyint(low[g] / p.scale[g]);
        break;
      case CodeRule::SubtractDivideRound:
        p.scale[g] = minmaxScale({low[g], high[g]}, maxCode);
        p.zero[g] = low[g];
        break;
      case CodeRule::MultiplyAddRound:
        halfQuadraticStart(low[g], high[g], maxCode, &p.scale[g], &p.zero[g]);
        break;
    }
  }
  return p;
}

GroupView viewOf(const Floats& w, Shape shape, bool strided) {
  return strided ? GroupView::strided(w.data(), shape.groups, shape.size)
                 : GroupView::contiguous(w.data(), shape.groups, shape.size);
}

}  // namespace

class TestBackends : public QObject {
  Q_OBJECT

  // Runs check(backend, kind, shape, strided) for every usable backend and instruction set.
  template <class Check>
  void everywhere(const Check& check) {
    for (const Backend* backend : allBackends()) {
      if (!backend->unusableReason().empty() || backend == &hostBackend()) continue;
      const std::vector<std::int64_t> targets = backend->name() == "simd" ? simd::targets() : std::vector<std::int64_t>{0};
      for (const std::int64_t target : targets) {
        if (target != 0) simd::useTarget(target);
        for (const Kind kind : kinds)
          for (const Shape shape : shapes)
            for (const bool strided : {false, true}) {
              // Large shapes are there for how work is cut, not for odd values.
              if (shape.groups * shape.size > 20000 && kind != Kind::Normal) continue;
              check(*backend, kind, shape, strided);
              if (QTest::currentTestFailed()) {
                qWarning() << "at" << simd::targetName().data() << "kind" << int(kind) << "groups" << shape.groups << "size"
                           << shape.size << "strided" << strided;
                simd::useTarget(0);
                return;
              }
            }
      }
      simd::useTarget(0);
    }
  }

 private slots:
  void init() { setThreadCount(3); }
  void cleanup() { simd::useTarget(0); }

  void listsHostSimdAndCuda() {
    QCOMPARE(allBackends().size(), std::size_t{3});
    QCOMPARE(findBackend("host")->name(), std::string_view("host"));
    QVERIFY(findBackend("simd")->unusableReason().empty());
    QCOMPARE(findBackend("cuda")->name(), std::string_view("cuda"));
    if (!findBackend("cuda")->unusableReason().empty())
      qInfo("cuda cannot run here: %s", std::string(findBackend("cuda")->unusableReason()).c_str());
    QVERIFY(findBackend("nothing") == nullptr);
    QVERIFY(findBackend("auto") == &defaultBackend());
    QVERIFY(simd::targets().size() >= 1);
    QCOMPARE(threadCount(), 3);
    qInfo("default: %s", std::string(defaultBackend().description()).c_str());
  }

  // A loop over all of them inside another loop would otherwise see one from its second turn on.
  void targetsAreAllWhicheverIsUsed() {
    const std::vector<std::int64_t> all = simd::targets();
    for (const std::int64_t target : all) {
      simd::useTarget(target);
      QCOMPARE(simd::targets(), all);
      QCOMPARE(simd::targetName(), simd::targetName(target));
    }
  }

  void knownCodes() {
    // Half to even, and clamping after rounding.
    const Floats w{0.5f, 1.5f, 2.5f, -0.5f, 15.5f, 16.5f, 1e30f, -1e30f};
    for (const Backend* backend : {&hostBackend(), findBackend("simd")}) {
      Bytes codes(w.size());
      const float one = 1.0f, zero = 0.0f;
      backend->encodeAffine(GroupView::contiguous(w.data(), 1, w.size()), CodeRule::DivideRoundAdd, &one, &zero, 15,
                            codes.data());
      QCOMPARE(codes, (Bytes{0, 2, 2, 0, 15, 15, 15, 0}));
    }
  }

  void rangesAgree() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      const Floats w = weights(kind, shape.groups * shape.size, 1);
      const GroupView view = viewOf(w, shape, strided);
      Floats low(shape.groups), high(shape.groups), low2(shape.groups), high2(shape.groups);
      hostBackend().ranges(view, low.data(), high.data());
      backend.ranges(view, low2.data(), high2.data());
      QVERIFY(sameBits(low, low2));
      QVERIFY(sameBits(high, high2));
    });
  }

  void codesAgree() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      const Floats w = weights(kind, shape.groups * shape.size, 2);
      const GroupView view = viewOf(w, shape, strided);
      for (const CodeRule rule :
           {CodeRule::DivideRoundAdd, CodeRule::DivideAddRound, CodeRule::SubtractDivideRound, CodeRule::MultiplyAddRound}) {
        for (const int maxCode : {1, 15, 255}) {
          const Parameters p = parameters(view, rule, static_cast<float>(maxCode));
          Bytes expected(w.size()), codes(w.size());
          hostBackend().encodeAffine(view, rule, p.scale.data(), p.zero.data(), maxCode, expected.data());
          backend.encodeAffine(view, rule, p.scale.data(), p.zero.data(), maxCode, codes.data());
          QVERIFY(sameBits(expected, codes));
        }
      }
    });
  }

  void thresholdsAgree() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      const Floats w = weights(kind, shape.groups * shape.size, 3);
      const GroupView view = viewOf(w, shape, strided);
      for (const std::size_t count : {std::size_t{1}, std::size_t{15}, std::size_t{255}}) {
        Floats thresholds(count);
        Bytes codeOfRank(count + 1);
        for (std::size_t i = 0; i < count; ++i) thresholds[i] = (static_cast<float>(i) - static_cast<float>(count) / 2) * 0.25f;
        for (std::size_t i = 0; i <= count; ++i) codeOfRank[i] = static_cast<std::uint8_t>(count - i);
        const Floats multiplier(shape.groups, kind == Kind::Ties ? 1.0f : 3.7f);
        Bytes expected(w.size()), codes(w.size());
        hostBackend().encodeThresholds(view, multiplier.data(), thresholds, codeOfRank, expected.data());
        backend.encodeThresholds(view, multiplier.data(), thresholds, codeOfRank, codes.data());
        QVERIFY(sameBits(expected, codes));
      }
    });
  }

  void halfQuadraticAgrees() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      if (kind == Kind::Huge) return;  // ranges beyond float32's are refused before
      const Floats w = weights(kind, shape.groups * shape.size, 4);
      const GroupView view = viewOf(w, shape, strided);
      const HalfQuadraticSettings settings{.p = 0.7f, .beta = 10.0f, .iterations = 7, .maxCode = 7};
      const Parameters p = parameters(view, CodeRule::MultiplyAddRound, settings.maxCode);
      const std::size_t chunks = (shape.groups + halfQuadraticChunk - 1) / halfQuadraticChunk;
      Floats zero = p.zero, zero2 = p.zero;
      std::vector<double> errors(chunks * 7), errors2(chunks * 7);
      std::vector<int> rest(shape.groups), rest2(shape.groups);
      hostBackend().halfQuadratic(view, settings, p.scale.data(), zero.data(), errors.data(), rest.data());
      backend.halfQuadratic(view, settings, p.scale.data(), zero2.data(), errors2.data(), rest2.data());
      QVERIFY(sameBits(zero, zero2));
      QVERIFY(sameBits(errors, errors2));
      for (std::size_t g = 0; g < shape.groups; ++g) QVERIFY(rest2[g] >= rest[g]);
    });
  }

  // What restAfter says holds: running only so many iterations gives the same zeros.
  void restMeansRest() {
    const Floats w = weights(Kind::Normal, 64 * 32, 5);
    const GroupView view = GroupView::contiguous(w.data(), 64, 32);
    const Parameters p = parameters(view, CodeRule::MultiplyAddRound, 15);
    for (const Backend* backend : {&hostBackend(), findBackend("simd")}) {
      Floats last = p.zero;
      std::vector<double> errors(20);
      std::vector<int> rest(64);
      backend->halfQuadratic(view, {}, p.scale.data(), last.data(), errors.data(), rest.data());
      QVERIFY(*std::min_element(rest.begin(), rest.end()) < 20);
      for (std::size_t g = 0; g < 64; ++g) {
        if (rest[g] > 20 || rest[g] == 0) continue;
        HalfQuadraticSettings fewer;
        fewer.iterations = rest[g];
        float zero = p.zero[g];
        int unused = 0;
        backend->halfQuadratic(GroupView::contiguous(w.data() + g * 32, 1, 32), fewer, &p.scale[g], &zero, errors.data(),
                               &unused);
        QCOMPARE(zero, last[g]);
      }
    }
  }

  void shrinkIsZeroBelowItsThreshold() {
    for (const float p : {0.1f, 0.5f, 0.7f, 1.0f}) {
      for (const float beta : {0.5f, 10.0f, 1e4f}) {
        HalfQuadraticSettings settings;
        settings.p = p;
        settings.beta = beta;
        const Shrink shrink(settings);
        for (float x = 0; x <= shrink.threshold; x += shrink.threshold / 1000) QCOMPARE(shrink(x), 0.0f);
        QCOMPARE(shrink(shrink.threshold), 0.0f);
        QVERIFY(shrink(shrink.threshold * 1.001f) > 0.0f);
        QVERIFY(shrink(-shrink.threshold * 1.001f) < 0.0f);
      }
    }
    const Shrink shrink{HalfQuadraticSettings{}};
    QVERIFY(std::fabs(shrink(0.5f) - 0.3769f) < 1e-4f);
    QVERIFY(std::fabs(shrink(1.0f) - 0.9f) < 1e-6f);
  }

  void decodingAgrees() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      if (strided) return;
      const std::size_t count = shape.groups * shape.size;
      Bytes codes(count);
      std::mt19937 random(6);
      for (auto& code : codes) code = static_cast<std::uint8_t>(random() % 16);
      const Floats scale = weights(kind, shape.groups, 7), zero = weights(Kind::Wide, shape.groups, 8);
      const Floats table = weights(Kind::Normal, 16, 9), big = weights(Kind::Normal, 256, 10);
      Floats expected(count), values(count);
      hostBackend().decodeScaleMinusZero(codes.data(), shape.groups, shape.size, scale.data(), zero.data(), expected.data());
      backend.decodeScaleMinusZero(codes.data(), shape.groups, shape.size, scale.data(), zero.data(), values.data());
      QVERIFY(sameBits(expected, values));
      hostBackend().decodeScalePlusBias(codes.data(), shape.groups, shape.size, scale.data(), zero.data(), expected.data());
      backend.decodeScalePlusBias(codes.data(), shape.groups, shape.size, scale.data(), zero.data(), values.data());
      QVERIFY(sameBits(expected, values));
      for (const Floats& levels : {table, big}) {
        hostBackend().decodeTable(codes.data(), shape.groups, shape.size, scale.data(), levels, expected.data());
        backend.decodeTable(codes.data(), shape.groups, shape.size, scale.data(), levels, values.data());
        QVERIFY(sameBits(expected, values));
      }
    });
  }

  void statisticsAgree() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      if (strided) return;
      const std::size_t count = shape.groups * shape.size;
      const Floats w = weights(kind, count, 11);
      Floats r = weights(kind, count, 12);
      for (std::size_t i = 0; i < count; ++i) r[i] = w[i] + (r[i] - w[i]) * 0.01f;
      const ErrorSums a = hostBackend().errorSums(w.data(), r.data(), count), b = backend.errorSums(w.data(), r.data(), count);
      QCOMPARE(a.count, b.count);
      QCOMPARE(a.maxError, b.maxError);
      const auto close = [](double x, double y, double magnitude) { return std::fabs(x - y) <= 1e-12 * magnitude; };
      QVERIFY(close(a.error, b.error, std::sqrt(static_cast<double>(a.count) * a.errorSquared)));
      QVERIFY(close(a.errorSquared, b.errorSquared, a.errorSquared));
      QVERIFY(close(a.weightError, b.weightError, std::sqrt(a.weightSquared * a.errorSquared)));
      QVERIFY(close(a.weightSquared, b.weightSquared, a.weightSquared));
      QVERIFY(close(a.reconstructedSquared(), b.reconstructedSquared(), a.reconstructedSquared()));
      QVERIFY(close(a.product(), b.product(), a.weightSquared + a.reconstructedSquared()));
      for (const float half : {a.maxError, 0.02f, 0.0f}) {
        std::vector<std::uint64_t> expected(512), counts(512), expectedErrors(512), errors(512);
        hostBackend().histogram(w.data(), count, -half, half, expected);
        backend.histogram(w.data(), count, -half, half, counts);
        QVERIFY(expected == counts);
        hostBackend().errorHistogram(w.data(), r.data(), count, -half, half, expectedErrors);
        backend.errorHistogram(w.data(), r.data(), count, -half, half, errors);
        QVERIFY(expectedErrors == errors);
      }
      Bytes codes(count);
      for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(i * 7);
      std::vector<std::uint64_t> expected(256), counts(256);
      hostBackend().occupancy(codes.data(), count, expected);
      backend.occupancy(codes.data(), count, counts);
      QVERIFY(expected == counts);
    });
  }

  void measuredCodesAgree() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      if (strided || kind == Kind::Huge) return;  // steps of such groups are infinite
      const Floats w = weights(kind, shape.groups * shape.size, 16);
      const GroupView view = GroupView::contiguous(w.data(), shape.groups, shape.size);
      for (const CodeRule rule :
           {CodeRule::DivideRoundAdd, CodeRule::DivideAddRound, CodeRule::SubtractDivideRound, CodeRule::MultiplyAddRound}) {
        const Parameters p = parameters(view, rule, 15);
        Floats valueScale = p.scale;
        if (rule == CodeRule::MultiplyAddRound)
          for (float& scale : valueScale) scale = 1 / scale;
        for (const AffineValue spelling : {AffineValue::ScaleMinusZero, AffineValue::ScalePlusBias}) {
          Bytes expected(w.size()), codes(w.size());
          std::vector<std::uint64_t> expectedBins(512), bins(512);
          const auto sums = [&](const Backend& of, Bytes& out, std::span<std::uint64_t> counts) {
            return of.encodeAffineMeasured(view, rule, spelling, p.scale.data(), p.zero.data(), 15, valueScale.data(),
                                           out.data(), {-0.01f, 0.01f, counts});
          };
          const ErrorSums a = sums(hostBackend(), expected, expectedBins), b = sums(backend, codes, bins);
          QVERIFY(sameBits(expected, codes));
          QCOMPARE(a.count, b.count);
          QCOMPARE(a.maxError, b.maxError);
          QVERIFY(std::fabs(a.errorSquared - b.errorSquared) <= 1e-12 * a.errorSquared);
          QVERIFY(std::fabs(a.product() - b.product()) <= 1e-12 * (a.weightSquared + a.reconstructedSquared()));
          QVERIFY(std::fabs(a.error - b.error) <= 1e-12 * std::sqrt(static_cast<double>(a.count) * a.errorSquared));
          QVERIFY(expectedBins == bins);
        }
      }
    });
  }

  // Quotients a rounding away from a tie.
  void codesAtTiesAgree() {
    std::mt19937 random(17);
    std::uniform_real_distribution<float> scales(1e-3f, 1.0f);
    for (const std::int64_t target : simd::targets()) {
      simd::useTarget(target);
      for (int trial = 0; trial < 400; ++trial) {
        const float scale = scales(random), zero = trial % 2 == 0 ? 3.0f : -0.7f * scale;
        Floats w(512);
        for (std::size_t i = 0; i < w.size(); ++i) {
          w[i] = (static_cast<float>(i) - 128.5f) * scale + (trial % 2 == 0 ? 0.0f : zero);
          for (std::size_t step = 0; step < i % 5; ++step) w[i] = std::nextafter(w[i], i % 2 == 0 ? 1e9f : -1e9f);
        }
        for (const CodeRule rule : {CodeRule::DivideRoundAdd, CodeRule::SubtractDivideRound}) {
          Bytes expected(w.size()), codes(w.size());
          const GroupView view = GroupView::contiguous(w.data(), 1, w.size());
          hostBackend().encodeAffine(view, rule, &scale, &zero, 255, expected.data());
          findBackend("simd")->encodeAffine(view, rule, &scale, &zero, 255, codes.data());
          QVERIFY(sameBits(expected, codes));
        }
      }
    }
  }

  void errorSumsDoNotDependOnThreads() {
    const Floats w = weights(Kind::Normal, 300001, 13), r = weights(Kind::Normal, 300001, 14);
    setThreadCount(1);
    const ErrorSums one = findBackend("simd")->errorSums(w.data(), r.data(), w.size());
    for (const int threads : {2, 5}) {
      setThreadCount(threads);
      const ErrorSums many = findBackend("simd")->errorSums(w.data(), r.data(), w.size());
      QCOMPARE(one.errorSquared, many.errorSquared);
      QCOMPARE(one.product(), many.product());
      QCOMPARE(one.error, many.error);
    }
  }

  void findsTheFirstNonFinite() {
    everywhere([](const Backend& backend, Kind kind, Shape shape, bool strided) {
      if (strided || kind == Kind::Huge) return;
      const std::size_t count = shape.groups * shape.size;
      Floats w = weights(kind, count, 15);
      QCOMPARE(backend.firstNonFinite(w.data(), count), count);
      if (count < 2) return;
      w[count / 2] = std::numeric_limits<float>::infinity();
      w[count - 1] = std::nanf("");
      QCOMPARE(backend.firstNonFinite(w.data(), count), count / 2);
      w[count / 2] = std::numeric_limits<float>::max();
      QCOMPARE(backend.firstNonFinite(w.data(), count), count - 1);
    });
  }

  void widensEveryHalf() {
    std::vector<std::uint16_t> halves(65536 + 3);
    for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
    for (const std::int64_t target : simd::targets()) {
      simd::useTarget(target);
      Floats expected(halves.size()), values(halves.size());
      hostBackend().widenHalf(halves.data(), halves.size(), expected.data());
      findBackend("simd")->widenHalf(halves.data(), halves.size(), values.data());
      QVERIFY(sameBits(expected, values));
      hostBackend().widenBfloat(halves.data(), halves.size(), expected.data());
      findBackend("simd")->widenBfloat(halves.data(), halves.size(), values.data());
      QVERIFY(sameBits(expected, values));
    }
  }

  void parallelForCoversEverythingOnce() {
    for (const Backend* backend : {&hostBackend(), findBackend("simd")}) {
      for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{1003}}) {
        std::vector<int> seen(count, 0);
        const auto body = [&](std::size_t begin, std::size_t end) {
          QVERIFY(begin % 10 == 0 && (end == count || end == begin + 10));
          // Work inside work must not start another outer piece on this thread.
          const auto inner = [](std::size_t, std::size_t) {};
          backend->parallelFor(4, 1, inner);
          for (std::size_t i = begin; i < end; ++i) ++seen[i];
        };
        backend->parallelFor(count, 10, body);
        QVERIFY(std::all_of(seen.begin(), seen.end(), [](int n) { return n == 1; }));
      }
    }
  }
};

QTEST_APPLESS_MAIN(TestBackends)
#include "test_backends.moc"
