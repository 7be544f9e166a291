// SPDX-License-Identifier: GPL-3.0-or-later
// The CUDA kernels' own sources, run under the emulator, against the host backend: ranges, codes, zeros, counts and decoded
// values equal to the bit, error sums to 1e-12 of their magnitudes; over random shapes, odd pointers, tails and thread orders.
#include "kernels/cuda/decode.h"
#include "kernels/cuda/encode.h"
#include "kernels/cuda/half_quadratic.h"
#include "kernels/cuda/measure.h"
#include "kernels/cuda/ranges.h"
#include "kernels/host/host_backend.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"
#include "tests/support/cuda_cases.h"

#include <QtTest>
#include <cmath>
#include <cstring>

using namespace nibble::kernels;
namespace em = nibble::kernels::emulated;
using nibble::test::caseCount;
using nibble::test::Chance;
using nibble::test::DeviceArray;
using nibble::test::EmulatedStream;
using nibble::test::emulatorSettings;
using nibble::test::someSize;
using nibble::test::someWeights;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;

template <class T>
bool sameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Groups of weights, on the host and where kernels may read them.
struct GroupCase {
  Floats weights;
  GroupView host, device;
  DeviceArray<float> memory;
  std::string text;
  GroupCase(Chance& chance, std::size_t most, bool sideBySide = false)
      : GroupCase(chance, someSize(chance, most), chance.between(1, 40), !sideBySide && chance.one(3)) {}
  GroupCase(Chance& chance, std::size_t size, std::size_t groups, bool columns)
      : weights(someWeights(chance, size * groups)),
        host(columns ? GroupView::strided(weights.data(), groups, size) : GroupView::contiguous(weights.data(), groups, size)),
        device(host),
        memory("weights", weights, chance.of<std::size_t>({0, 0, 1, 2, 4})),
        text(std::to_string(groups) + " groups of " + std::to_string(size) + (columns ? ", columns" : "")) {
    device.data = memory.data();
  }
};

em::AffineCodes howOf(Chance& chance) {
  em::AffineCodes how;
  how.rule = chance.of(
      {CodeRule::DivideRoundAdd, CodeRule::DivideAddRound, CodeRule::SubtractDivideRound, CodeRule::MultiplyAddRound});
  how.spelling = how.rule == CodeRule::SubtractDivideRound ? AffineValue::ScalePlusBias : AffineValue::ScaleMinusZero;
  how.maxCode = static_cast<float>((1u << chance.between(1, 8)) - 1);
  return how;
}

// Scales, zeros and the scales that codes are multiplied by.
struct Parameters {
  Floats scale, zero, valueScale;
};
Parameters parametersFor(const GroupView& view, const em::AffineCodes& how) {
  Parameters p{Floats(view.groups), Floats(view.groups), Floats(view.groups)};
  Floats low(view.groups), high(view.groups);
  hostBackend().ranges(view, low.data(), high.data());
  for (std::size_t g = 0; g < view.groups; ++g) {
    const Range range{low[g], high[g]};
    if (how.rule == CodeRule::MultiplyAddRound) {
      halfQuadraticStart(low[g], high[g], how.maxCode, &p.scale[g], &p.zero[g]);
      p.valueScale[g] = 1.0f / p.scale[g];
    } else if (how.rule == CodeRule::SubtractDivideRound) {
      p.scale[g] = p.valueScale[g] = minmaxScale(range, how.maxCode);
      p.zero[g] = low[g];
    } else {
      p.scale[g] = p.valueScale[g] = affineScale(range, how.maxCode);
      p.zero[g] = -std::nearbyint(low[g] / p.scale[g]);
    }
  }
  return p;
}

// Empty, or which sum is too far from the host's.
std::string sumsDiffer(const ErrorSums& host, const Floats& weights, const Floats& values, const std::vector<double>& sums) {
  double magnitude = 0, errorMagnitude = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double w = weights[i], e = w - static_cast<double>(values[i]);
    errorMagnitude += std::fabs(e);
    magnitude += std::fabs(w * e);
  }
  const auto far = [](double a, double b, double bound) { return !(std::fabs(a - b) <= 1e-12 * bound); };
  if (far(sums[0], host.error, errorMagnitude)) return "error";
  if (far(sums[1], host.errorSquared, host.errorSquared)) return "error squared";
  if (far(sums[2], host.weightSquared, host.weightSquared)) return "weight squared";
  if (far(sums[3], host.weightError, magnitude)) return "weight times error";
  if (sums[4] != static_cast<double>(host.maxError)) return "largest error";
  return {};
}

Bytes packBits(const Bytes& codes, unsigned bits) {
  Bytes out((codes.size() * bits + 7) / 8);
  for (std::size_t i = 0; i < codes.size(); ++i)
    for (unsigned b = 0; b < bits; ++b)
      if ((codes[i] >> b & 1) != 0) out[(i * bits + b) / 8] |= static_cast<std::uint8_t>(1u << ((i * bits + b) % 8));
  return out;
}
Bytes packHighNibbles(const Bytes& codes) {
  Bytes out((codes.size() + 1) / 2);
  for (std::size_t i = 0; i < codes.size(); ++i) out[i / 2] |= static_cast<std::uint8_t>(codes[i] << (i % 2 == 0 ? 4 : 0));
  return out;
}
Bytes packWords(const Bytes& codes, unsigned bits) {
  const std::size_t each = 32 / bits;
  std::vector<std::uint32_t> words((codes.size() + each - 1) / each);
  for (std::size_t i = 0; i < codes.size(); ++i) words[i / each] |= std::uint32_t{codes[i]} << ((each - 1 - i % each) * bits);
  Bytes out(words.size() * 4);
  std::memcpy(out.data(), words.data(), out.size());
  return out;
}
Bytes packInterleaved(const Bytes& codes, std::size_t rows, std::size_t columns, unsigned bits) {
  const std::size_t places = bits == 3 ? 10 : 8 / bits, unit = bits == 3 ? 4 : 1, step = (rows + places - 1) / places;
  Bytes out(step * columns * unit);
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t c = 0; c < columns; ++c) {
      const std::size_t at = row % step * columns + c, shift = (places - 1 - row / step) * bits;
      const std::uint32_t bitsOf = std::uint32_t{codes[row * columns + c]} << shift;
      for (std::size_t b = 0; b < unit; ++b) out[at * unit + b] |= static_cast<std::uint8_t>(bitsOf >> (8 * b));
    }
  return out;
}

}  // namespace

#define RUN(call)                                                                                 \
  do {                                                                                            \
    const Outcome outcome = (call);                                                               \
    QVERIFY2(outcome.ok(), outcome.detail.c_str());                                               \
    const Outcome done = stream.wait();                                                           \
    QVERIFY2(done.ok(), (done.detail + " with " + text + ", case " + std::to_string(i)).c_str()); \
  } while (false)
#define HOLDS(what, condition) \
  QVERIFY2(condition, (std::string(what) + " with " + text + ", case " + std::to_string(i)).c_str())

class TestCudaKernels : public QObject {
  Q_OBJECT

  EmulatedStream stream;

 private slots:
  void cleanup() { emulatorSettings() = {}; }

  void ranges() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const bool isLong = i % 16 == 5;
      const GroupCase groups = isLong ? GroupCase(chance, chance.between(8000, 20000), chance.between(1, 3), chance.one(2))
                                      : GroupCase(chance, 2000);
      const std::string& text = groups.text;
      Floats low(groups.host.groups), high(low);
      hostBackend().ranges(groups.host, low.data(), high.data());
      DeviceArray<float> outLow("low", low.size()), outHigh("high", low.size()),
          scratch("scratch", em::rangesScratch(groups.device));
      RUN(em::launchRanges(groups.device, outLow.data(), outHigh.data(), scratch.data(), stream.handle()));
      HOLDS("low", sameBits(outLow.values(), low));
      HOLDS("high", sameBits(outHigh.values(), high));
    }
  }

  void encode() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const GroupCase groups(chance, 2500);
      const std::string& text = groups.text;
      const em::AffineCodes how = howOf(chance);
      const Parameters p = parametersFor(groups.host, how);
      Bytes codes(groups.weights.size());
      hostBackend().encodeAffine(groups.host, how.rule, p.scale.data(), p.zero.data(), static_cast<int>(how.maxCode),
                                 codes.data());
      const DeviceArray<float> scale("scale", p.scale), zero("zero", p.zero);
      DeviceArray<std::uint8_t> out("codes", codes.size(), chance.below(4));
      RUN(em::launchEncode(groups.device, how, scale.data(), zero.data(), nullptr, out.data(), nullptr, stream.handle()));
      HOLDS("codes", sameBits(out.values(), codes));
    }
  }

  void encodeMeasured() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const GroupCase groups(chance, 2500, true);
      const std::string& text = groups.text;
      const em::AffineCodes how = howOf(chance);
      const Parameters p = parametersFor(groups.host, how);
      const std::size_t bins = chance.one(3) ? 0 : chance.between(1, 600);
      Bytes codes(groups.weights.size());
      std::vector<std::uint64_t> counts(bins);
      const ErrorSums host = hostBackend().encodeAffineMeasured(groups.host, how.rule, how.spelling, p.scale.data(),
                                                                p.zero.data(), static_cast<int>(how.maxCode),
                                                                p.valueScale.data(), codes.data(), {-0.01f, 0.01f, counts});
      const DeviceArray<float> scale("scale", p.scale), zero("zero", p.zero), valueScale("value scale", p.valueScale);
      DeviceArray<std::uint8_t> out("codes", codes.size(), chance.below(4));
      DeviceArray<double> parts("parts", em::encodeScratch(groups.device)), sums("sums", em::sumFields);
      DeviceArray<std::uint64_t> outCounts("counts", bins);
      std::fill_n(outCounts.data(), bins, 0);
      const em::Measure measure{parts.data(), sums.data(), bins > 0 ? outCounts.data() : nullptr, bins, -0.01f, 0.01f};
      RUN(em::launchEncode(groups.device, how, scale.data(), zero.data(), valueScale.data(), out.data(), &measure,
                           stream.handle()));
      HOLDS("codes", sameBits(out.values(), codes));
      HOLDS("counts", outCounts.values() == counts);
      Floats values(codes.size());
      const auto decode =
          how.spelling == AffineValue::ScalePlusBias ? &Backend::decodeScalePlusBias : &Backend::decodeScaleMinusZero;
      (hostBackend().*decode)(codes.data(), groups.host.groups, groups.host.size, p.valueScale.data(), p.zero.data(),
                              values.data());
      const std::string differs = sumsDiffer(host, groups.weights, values, sums.values());
      HOLDS(differs, differs.empty());
    }
  }

  void quantize() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      // Many groups: several blocks where errors are counted, each of several rounds.
      const GroupCase groups = i % 8 == 3 ? GroupCase(chance, chance.between(1, 40), chance.between(60, 200), false)
                                          : GroupCase(chance, em::longestQuantizeGroup, true);
      const std::string& text = groups.text;
      em::AffineCodes how = howOf(chance);
      if (how.rule == CodeRule::MultiplyAddRound) how.rule = CodeRule::DivideRoundAdd;
      const Parameters p = parametersFor(groups.host, how);
      Bytes codes(groups.weights.size());
      std::vector<std::uint64_t> counts(chance.one(2) ? 0 : chance.between(1, 600));
      const ErrorSums host = hostBackend().encodeAffineMeasured(groups.host, how.rule, how.spelling, p.scale.data(),
                                                                p.zero.data(), static_cast<int>(how.maxCode),
                                                                p.valueScale.data(), codes.data(), {-0.01f, 0.01f, counts});
      DeviceArray<float> scale("scale", p.scale.size()), zero("zero", p.zero.size());
      DeviceArray<std::uint8_t> out("codes", codes.size(), chance.below(4));
      DeviceArray<double> parts("parts", em::encodeScratch(groups.device)), sums("sums", em::sumFields);
      DeviceArray<std::uint64_t> outCounts("counts", counts.size());
      std::fill_n(outCounts.data(), counts.size(), 0);
      const em::Measure measure{parts.data(),  sums.data(), counts.empty() ? nullptr : outCounts.data(),
                                counts.size(), -0.01f,      0.01f};
      RUN(em::launchQuantize(groups.device, how, scale.data(), zero.data(), out.data(), measure, stream.handle()));
      HOLDS("counts", outCounts.values() == counts);
      HOLDS("scales", sameBits(scale.values(), p.scale));
      HOLDS("zeros", sameBits(zero.values(), p.zero));
      HOLDS("codes", sameBits(out.values(), codes));
      Floats values(codes.size());
      const auto decode =
          how.spelling == AffineValue::ScalePlusBias ? &Backend::decodeScalePlusBias : &Backend::decodeScaleMinusZero;
      (hostBackend().*decode)(codes.data(), groups.host.groups, groups.host.size, p.scale.data(), p.zero.data(), values.data());
      const std::string differs = sumsDiffer(host, groups.weights, values, sums.values());
      HOLDS(differs, differs.empty());
    }
  }

  void levels() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const GroupCase groups(chance, 2500);
      const std::string& text = groups.text;
      const std::size_t count = chance.one(2) ? 15 : chance.between(0, 255);
      Floats thresholds(count), multiplier(groups.host.groups);
      for (float& value : thresholds) value = chance.normal();
      std::sort(thresholds.begin(), thresholds.end());
      for (float& value : multiplier) value = std::fabs(chance.normal()) * 20;
      Bytes rank(count + 1), codes(groups.weights.size());
      for (auto& code : rank) code = static_cast<std::uint8_t>(chance.below(256));
      hostBackend().encodeThresholds(groups.host, multiplier.data(), thresholds, rank, codes.data());
      const DeviceArray<float> m("multiplier", multiplier), t("thresholds", thresholds);
      const DeviceArray<std::uint8_t> r("ranks", rank);
      DeviceArray<std::uint8_t> out("codes", codes.size(), chance.below(4));
      RUN(em::launchEncodeThresholds(groups.device, m.data(), t.data(), count, r.data(), out.data(), stream.handle()));
      HOLDS("codes", sameBits(out.values(), codes));
    }
  }

  void halfQuadratic() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const GroupCase groups = i % 10 == 3   ? GroupCase(chance, chance.between(1025, 3000), 2, chance.one(2))
                               : i % 10 == 7 ? GroupCase(chance, chance.between(1, 40), chance.between(250, 600), chance.one(2))
                                             : GroupCase(chance, 300);
      const std::string& text = groups.text;
      HalfQuadraticSettings settings;
      settings.iterations = static_cast<int>(chance.between(1, 8));
      settings.maxCode = static_cast<float>((1u << chance.between(1, 8)) - 1);
      settings.beta = chance.one(3) ? 1000.0f : 10.0f;  // with the larger one residuals do reach the power
      em::AffineCodes how;
      how.rule = CodeRule::MultiplyAddRound;
      how.maxCode = settings.maxCode;
      const Parameters p = parametersFor(groups.host, how);
      const auto iterations = static_cast<std::size_t>(settings.iterations);
      Floats zero = p.zero;
      std::vector<double> errors((groups.host.groups + halfQuadraticChunk - 1) / halfQuadraticChunk * iterations);
      std::vector<int> rest(groups.host.groups);
      hostBackend().halfQuadratic(groups.host, settings, p.scale.data(), zero.data(), errors.data(), rest.data());
      const DeviceArray<float> scale("scale", p.scale);
      DeviceArray<float> outZero("zero", zero.size());
      std::copy(p.zero.begin(), p.zero.end(), outZero.data());
      DeviceArray<double> outErrors("errors", errors.size()),
          scratch("scratch", em::halfQuadraticScratch(groups.device, settings.iterations));
      DeviceArray<int> outRest("rest", rest.size());
      RUN(em::launchHalfQuadratic(groups.device, settings, scale.data(), outZero.data(), outErrors.data(), outRest.data(),
                                  scratch.data(), stream.handle()));
      HOLDS("zeros", sameBits(outZero.values(), zero));
      HOLDS("errors", sameBits(outErrors.values(), errors));
      HOLDS("rests", outRest.values() == rest);
    }
  }

  void sumsAndCounts() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const std::size_t count = i % 20 == 2 ? 0 : i % 8 == 1 ? chance.between(8000, 40000) : someSize(chance, 9000);
      const std::string text = std::to_string(count) + " elements";
      const Floats w = someWeights(chance, count);
      Floats r = w;
      for (float& value : r) value += 0.001f * chance.normal();
      const DeviceArray<float> dw("weights", w, chance.below(3)), dr("reconstructed", r, chance.below(3));
      DeviceArray<double> scratch("scratch", em::sumsScratch(count)), sums("sums", em::sumFields);
      RUN(em::launchErrorSums(dw.data(), dr.data(), count, scratch.data(), sums.data(), stream.handle()));
      const std::string differs = sumsDiffer(hostBackend().errorSums(w.data(), r.data(), count), w, r, sums.values());
      HOLDS(differs, differs.empty());

      const std::size_t bins = chance.between(1, 600);
      const float low = -0.002f, high = chance.one(8) ? low : 0.002f;
      std::vector<std::uint64_t> errors(bins), values(bins), codes(256);
      hostBackend().errorHistogram(w.data(), r.data(), count, low, high, errors);
      hostBackend().histogram(w.data(), count, low, high, values);
      Bytes some(count);
      for (auto& code : some) code = static_cast<std::uint8_t>(chance.below(256));
      hostBackend().occupancy(some.data(), count, codes);
      DeviceArray<std::uint64_t> counts("counts", bins), more("counts", bins), each("counts", 256);
      std::fill_n(counts.data(), bins, 0);
      std::fill_n(more.data(), bins, 0);
      std::fill_n(each.data(), 256, 0);
      const DeviceArray<std::uint8_t> dc("codes", some, chance.below(4));
      RUN(em::launchHistogram(dw.data(), dr.data(), count, Binning(low, high, bins), bins, counts.data(), stream.handle()));
      RUN(em::launchHistogram(dw.data(), nullptr, count, Binning(low, high, bins), bins, more.data(), stream.handle()));
      RUN(em::launchOccupancy(dc.data(), count, each.data(), stream.handle()));
      HOLDS("errors' histogram", counts.values() == errors);
      HOLDS("values' histogram", more.values() == values);
      HOLDS("occupancy", each.values() == codes);

      Floats bad = w;
      for (std::size_t k = chance.below(4); k > 0 && count > 0; --k) bad[chance.below(count)] = chance.one(2) ? NAN : -INFINITY;
      const DeviceArray<float> db("values", bad, chance.below(3));
      DeviceArray<std::uint64_t> first("first", 1);
      *first.data() = count;
      RUN(em::launchFirstNonFinite(db.data(), count, first.data(), stream.handle()));
      HOLDS("first non-finite", *first.data() == hostBackend().firstNonFinite(bad.data(), count));
    }
  }

  void decode() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const em::Packing packing =
          chance.of({em::Packing::Dense, em::Packing::Dense, em::Packing::HighNibble, em::Packing::Words});
      const auto bits = static_cast<unsigned>(packing == em::Packing::HighNibble ? 4 : chance.between(1, 8));
      const std::size_t size = someSize(chance, 1100), groups = chance.between(1, 9), count = size * groups;
      const std::string text =
          std::to_string(groups) + " groups of " + std::to_string(size) + ", " + std::to_string(bits) + " bits";
      Bytes codes(count);
      for (auto& code : codes) code = static_cast<std::uint8_t>(chance.below(1u << bits));
      Floats scale(groups), zero(groups), table(1u << bits);
      for (auto* numbers : {&scale, &zero, &table})
        for (float& number : *numbers) number = chance.normal();
      const Bytes packed = packing == em::Packing::Dense        ? packBits(codes, bits)
                           : packing == em::Packing::HighNibble ? packHighNibbles(codes)
                                                                : packWords(codes, bits);
      const DeviceArray<std::uint8_t> bytes("packed", packed,
                                            packing == em::Packing::Words ? 0 : chance.of<std::size_t>({0, 0, 1, 4}));
      const DeviceArray<float> ds("scale", scale), dz("zero", zero), dt("table", table);
      const em::Spelling spelling =
          chance.of({em::Spelling::ScaleMinusZero, em::Spelling::ScalePlusBias, em::Spelling::ScaleTable});
      const em::ValueRuleOf rule{spelling, ds.data(), dz.data(), dt.data(), 1u << bits};
      DeviceArray<float> out("out", count, chance.of<std::size_t>({0, 0, 1}));
      RUN(em::launchDecode(packing, static_cast<int>(bits), bytes.data(), packed.size(), count, size, rule, out.data(),
                           stream.handle()));
      Floats expected(count);
      if (spelling == em::Spelling::ScaleMinusZero)
        hostBackend().decodeScaleMinusZero(codes.data(), groups, size, scale.data(), zero.data(), expected.data());
      else if (spelling == em::Spelling::ScalePlusBias)
        hostBackend().decodeScalePlusBias(codes.data(), groups, size, scale.data(), zero.data(), expected.data());
      else
        hostBackend().decodeTable(codes.data(), groups, size, scale.data(), table, expected.data());
      HOLDS("values", sameBits(out.values(), expected));
    }
  }

  void decodeInterleaved() {
    for (int i = 0; i < caseCount(); ++i) {
      Chance chance(static_cast<unsigned>(i));
      emulatorSettings().seed = static_cast<unsigned>(i % 4);
      const unsigned bits = chance.of({1u, 2u, 3u, 4u, 8u});
      const std::size_t rows = chance.between(1, 130), columns = chance.between(1, 140);
      const bool eachRow = chance.one(2);
      const std::string text = std::to_string(rows) + " x " + std::to_string(columns) + ", " + std::to_string(bits) + " bits";
      Bytes codes(rows * columns);
      for (auto& code : codes) code = static_cast<std::uint8_t>(chance.below(1u << bits));
      const std::size_t groups = eachRow ? rows : columns;
      Floats scale(groups), zero(groups), expected(codes.size());
      for (auto* numbers : {&scale, &zero})
        for (float& number : *numbers) number = chance.normal();
      const DeviceArray<std::uint8_t> bytes("packed", packInterleaved(codes, rows, columns, bits));
      const DeviceArray<float> ds("scale", scale), dz("zero", zero);
      DeviceArray<float> out("out", codes.size());
      RUN(em::launchDecodeInterleaved(static_cast<int>(bits), bytes.data(), rows, columns, eachRow,
                                      {em::Spelling::ScaleMinusZero, ds.data(), dz.data(), nullptr, 0}, out.data(),
                                      stream.handle()));
      for (std::size_t k = 0; k < codes.size(); ++k) {
        const std::size_t g = eachRow ? k / columns : k % columns;
        expected[k] = scale[g] * (static_cast<float>(codes[k]) - zero[g]);
      }
      HOLDS("values", sameBits(out.values(), expected));
    }
  }

  void emptyAndRefused() {
    const DeviceArray<float> in("in", Floats(8));
    DeviceArray<std::uint8_t> out("out", 8);
    GroupView none = GroupView::contiguous(in.data(), 0, 8);
    QVERIFY(em::launchRanges(none, nullptr, nullptr, nullptr, stream.handle()).ok());
    QVERIFY(stream.wait().ok());
    GroupView tooLong = GroupView::contiguous(in.data(), 1, 2000);
    QVERIFY(em::launchQuantize(tooLong, {}, nullptr, nullptr, out.data(), {}, stream.handle()).fault == Fault::BadCall);
    QVERIFY(em::launchHistogram(in.data(), nullptr, 8, Binning(0, 1, 9000), 9000, nullptr, stream.handle()).fault ==
            Fault::BadCall);
    QVERIFY(em::launchDecode(em::Packing::Dense, 9, out.data(), 8, 8, 8, {}, nullptr, stream.handle()).fault == Fault::BadCall);
    QVERIFY(em::launchRanges(GroupView::contiguous(in.data(), 1, 8), nullptr, nullptr, nullptr, nullptr).fault ==
            Fault::BadCall);
  }
};

QTEST_APPLESS_MAIN(TestCudaKernels)
#include "test_cuda_kernels.moc"
