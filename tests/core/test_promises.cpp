// SPDX-License-Identifier: GPL-3.0-or-later
// Every scheme in the catalogue, under its defaults and under every value it offers for each setting, over shapes, distributions
// and backends: it is refused with a reason or succeeds, what comes out is sound, and it keeps what it promises.
// A new scheme is tested by being in the catalogue.
#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"
#include "kernels/backend.h"

#include <QtTest>
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>

using namespace nibble;

class TestPromises : public QObject {
  Q_OBJECT
 private slots:
  void everyChoice_data();
  void everyChoice();
  void threads_data();
  void threads();
  void notFinite_data();
  void notFinite();
  void empty_data();
  void empty();
  void moreBitsAreNeverWorse_data();
  void moreBitsAreNeverWorse();
  void definitions();
};

namespace {

const Shape shapes[] = {{32, 64}, {9, 128}, {1, 1024}, {5, 13}, {1, 1}, {3, 8, 16}, {256, 2}};

std::vector<SettingValue> offeredValues(const SettingInfo& info) {
  if (!info.offers.empty()) return info.offers;
  if (!info.choices.empty()) return info.choices;
  if (info.type == SettingType::Boolean) return {true, false};
  if (info.low == info.high) return {info.fallback};
  if (info.type == SettingType::Integer) return {static_cast<std::int64_t>(info.low), static_cast<std::int64_t>(info.high)};
  return {info.low, info.high};
}

// The defaults, and every offered value of each setting: alone, and together with each value of the setting it hangs on.
std::vector<Choice> variants(const Scheme& scheme) {
  const Choice defaults(scheme);
  std::vector<Choice> all{defaults};
  const auto add = [&](const Choice& choice) {
    if (std::find(all.begin(), all.end(), choice) == all.end()) all.push_back(choice);
  };
  for (const SettingInfo& info : scheme.settings()) {
    std::vector<Choice> bases{defaults};
    for (const SettingValue& value : info.onlyValues) {
      const auto base = defaults.with(info.onlyKey, value);
      if (!base) qFatal("%s", base.error().message.c_str());
      bases.push_back(*base);
    }
    for (const Choice& base : bases) {
      for (const SettingValue& value : offeredValues(info)) {
        const auto changed = base.with(info.key, value);
        if (!changed) qFatal("%s offers an illegal value: %s", info.key.c_str(), changed.error().message.c_str());
        add(*changed);
      }
    }
  }
  return all;
}

// The report's exact percentile costs more than a small tensor.
const ReportOptions quick{.percentile = false};

bool promises(const Choice& choice, Promise promise) {
  const auto all = choice.scheme().promises(choice.values());
  return std::find(all.begin(), all.end(), promise) != all.end();
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](float x, float y) { return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y); });
}

bool samePlane(const std::optional<Plane>& a, const std::optional<Plane>& b) {
  if (!a || !b) return !a && !b;
  return a->grouping == b->grouping && a->stored == b->stored && sameBits(a->values, b->values);
}

bool identical(const QuantizedTensor& a, const QuantizedTensor& b) {
  return a.codes == b.codes && a.width.bits == b.width.bits && a.width.uniform == b.width.uniform && samePlane(a.scale, b.scale) &&
         samePlane(a.zero, b.zero) && sameBits(a.levels.table, b.levels.table) && a.order == b.order && a.signs == b.signs;
}

#define CHECK(condition, what) \
  if (!(condition)) return QString(what)

// Codes exist, decode to finite numbers by both ways of decoding, and are as large on disk as they are said to be.
QString soundness(const QuantizedTensor& quantized, const std::vector<float>& decoded) {
  CHECK(quantized.codes.size() * quantized.levels.dimension == quantized.weightCount(), "not one code per weight");
  for (std::size_t i = 0; i < quantized.codes.size(); ++i) {
    const std::int64_t code = quantized.codes.at(i);
    if (quantized.codes.isSigned()) break;
    CHECK(code >= 0 && static_cast<std::uint64_t>(code) < codeCountAt(quantized, i * quantized.levels.dimension),
          QString("code %1 at %2 is out of range").arg(code).arg(i));
  }
  for (std::size_t i = 0; i < decoded.size(); ++i)
    CHECK(std::isfinite(decoded[i]), QString("weight %1 decodes to %2").arg(i).arg(double{decoded[i]}));
  std::vector<float> literal(quantized.weightCount());
  decodeLiterally(quantized, 0, literal);
  CHECK(sameBits(decoded, literal), "the fast decoder differs from the literal one");
  std::uint64_t bytes = 0;
  std::set<std::string> names;
  for (const PayloadPart& part : payload(quantized)) {
    bytes += part.bytes.size();
    CHECK(names.insert(part.name).second, "two payload parts have one name");
  }
  CHECK(bytes == storageSize(quantized).total(), QString("%1 payload bytes, %2 claimed").arg(bytes).arg(storageSize(quantized).total()));
  CHECK(bitsPerWeight(quantized) == 8.0 * static_cast<double>(bytes) / static_cast<double>(decoded.size()), "bits per weight is not bytes x 8 / weights");
  const Codes unpacked = quantized.layout->unpack(quantized.layout->pack(quantized.codes), quantized.codes.size());
  for (std::size_t i = 0; i < unpacked.size(); ++i)
    CHECK(static_cast<std::uint32_t>(unpacked.at(i)) == static_cast<std::uint32_t>(quantized.codes.at(i)), "codes do not survive packing");
  return {};
}

// What rounding of the value rule in float32 may hide when two levels are as near.
double slack(const QuantizedTensor& quantized, std::uint64_t index, float weight, float decoded) {
  const double scale = quantized.scale ? quantized.scale->values[quantized.scale->grouping.groupOf(index)] : 1.0;
  const double zero = quantized.zero ? quantized.zero->values[quantized.zero->grouping.groupOf(index)] : 0.0;
  const double offset = quantized.rule == ValueRule::ScaleMinusZero ? scale * zero : zero;
  return 4 * 0x1p-24 * (std::fabs(weight) + std::fabs(decoded) + std::fabs(offset)) + 2 * 0x1p-149;
}

QString nearest(const QuantizedTensor& quantized, const std::vector<float>& weights, const std::vector<float>& decoded) {
  std::uint64_t levelsOf = ~std::uint64_t{0};
  std::vector<float> levels;
  const Grouping grouping = quantized.scale ? quantized.scale->grouping
                            : quantized.levels.grouping ? *quantized.levels.grouping : Grouping::tensor(quantized.rows, quantized.columns);
  for (std::uint64_t i = 0; i < weights.size(); ++i) {
    if (grouping.groupOf(i) != levelsOf) levels = levelsAt(quantized, i);
    levelsOf = grouping.groupOf(i);
    CHECK(!levels.empty(), "it promises the nearest level but lists none");
    const double error = std::fabs(static_cast<double>(weights[i]) - decoded[i]);
    for (const float level : levels)
      CHECK(error <= std::fabs(static_cast<double>(weights[i]) - level) + slack(quantized, i, weights[i], decoded[i]),
            QString("weight %1 (%2) becomes %3 although there is a level %4").arg(i).arg(double{weights[i]}, 0, 'g', 9).arg(double{decoded[i]}, 0, 'g', 9).arg(double{level}, 0, 'g', 9));
  }
  return {};
}

QString idempotence(const Tensor& tensor, const Choice& choice, const std::vector<float>& decoded) {
  const auto again = run(Tensor::fromFloats("decoded", tensor.shape(), decoded), choice, {}, quick);
  CHECK(again.has_value(), QString::fromStdString(again ? "" : again.error().message));
  const std::vector<float> twice = decodeAll(*again->quantized);
  for (std::size_t i = 0; i < twice.size(); ++i)
    CHECK(twice[i] == decoded[i], QString("weight %1: %2, requantized %3").arg(i).arg(double{decoded[i]}, 0, 'g', 9).arg(double{twice[i]}, 0, 'g', 9));
  return {};
}

QString equivariance(const Tensor& tensor, const Choice& choice, const std::vector<float>& decoded, float factor) {
  std::vector<float> scaled = *tensor.readAll();
  for (float& weight : scaled) weight *= factor;
  const auto outcome = run(Tensor::fromFloats("scaled", tensor.shape(), std::move(scaled)), choice, {}, quick);
  CHECK(outcome.has_value(), QString::fromStdString(outcome ? "" : outcome.error().message));
  const std::vector<float> values = decodeAll(*outcome->quantized);
  for (std::size_t i = 0; i < values.size(); ++i)
    CHECK(values[i] == decoded[i] * factor, QString("times %1, weight %2: %3 instead of %4").arg(double{factor}).arg(i).arg(double{values[i]}).arg(double{decoded[i] * factor}));
  return {};
}

// Among other weights, where ranges and tables are not made for it.
QString zeros(const Tensor& tensor, const Choice& choice) {
  std::vector<float> weights = *tensor.readAll();
  for (std::size_t i = 0; i < weights.size(); i += 5) weights[i] = 0;
  const auto outcome = run(Tensor::fromFloats("planted", tensor.shape(), weights), choice, {}, quick);
  CHECK(outcome.has_value(), QString::fromStdString(outcome ? "" : outcome.error().message));
  const std::vector<float> decoded = decodeAll(*outcome->quantized);
  for (std::size_t i = 0; i < weights.size(); ++i)
    CHECK(weights[i] != 0.0f || decoded[i] == 0.0f, QString("weight %1 becomes %2").arg(i).arg(double{decoded[i]}));
  return {};
}

QString promisesKept(const Tensor& tensor, Distribution distribution, const Outcome& outcome, const std::vector<float>& decoded) {
  const std::vector<float> weights = *tensor.readAll();
  const Choice& choice = outcome.choice;
  QString broken;
  if (promises(choice, Promise::ZeroStaysZero)) broken = zeros(tensor, choice);
  CHECK(broken.isEmpty(), "zero-stays-zero: " + broken);
  if (promises(choice, Promise::NearestLevel)) broken = nearest(*outcome.quantized, weights, decoded);
  CHECK(broken.isEmpty(), "nearest-level: " + broken);
  if (promises(choice, Promise::Idempotent)) broken = idempotence(tensor, choice, decoded);
  CHECK(broken.isEmpty(), "idempotent: " + broken);
  // A power of two shifts exponents and nothing else, but where numbers run out of exponents.
  if (promises(choice, Promise::ScaleEquivariant) && distribution != Distribution::Denormals)
    for (const float factor : {8.0f, 0.03125f})
      if (broken.isEmpty()) broken = equivariance(tensor, choice, decoded, factor);
  CHECK(broken.isEmpty(), "scale-equivariant: " + broken);
  return {};
}

// Empty, or what is wrong with this choice on this tensor.
QString verdict(const Tensor& tensor, Distribution distribution, const Choice& choice) {
  const auto reason = choice.refusal({tensor.rows(), tensor.columns()});
  std::optional<Outcome> first;
  for (const kernels::Backend* backend : kernels::allBackends()) {
    if (!backend->unusableReason().empty()) continue;
    Context context;
    context.backend = backend;
    auto outcome = run(tensor, choice, context, quick);
    if (reason) {
      CHECK(!outcome.has_value(), "it succeeds although it was refused");
      CHECK(outcome.error().message.find(*reason) != std::string::npos, "the refusal does not give its reason");
      continue;
    }
    CHECK(outcome.has_value(), QString::fromStdString(outcome ? "" : outcome.error().message));
    if (first) {
      CHECK(identical(*first->quantized, *outcome->quantized), QString("backends differ: ") + backend->name().data());
      continue;
    }
    first = std::move(*outcome);
  }
  if (!first) return {};
  CHECK(first->quantized->scheme == choice.text() && first->quantized->shape == tensor.shape(), "scheme or shape is not recorded");
  const std::vector<float> decoded = decodeAll(*first->quantized);
  const QString unsound = soundness(*first->quantized, decoded);
  CHECK(unsound.isEmpty(), unsound);
  CHECK(promises(choice, Promise::Deterministic), "no scheme may be other than deterministic");
  return promisesKept(tensor, distribution, *first, decoded);
}

void addSchemes() {
  QTest::addColumn<QByteArray>("id");
  for (const Scheme* scheme : allSchemes()) QTest::newRow(scheme->info().id.data()) << QByteArray(scheme->info().id.data());
}

}  // namespace

void TestPromises::everyChoice_data() {
  QTest::addColumn<QByteArray>("choice");
  for (const Scheme* scheme : allSchemes())
    for (const Choice& choice : variants(*scheme)) QTest::newRow(choice.text().c_str()) << QByteArray::fromStdString(choice.text());
}

void TestPromises::everyChoice() {
  QFETCH(QByteArray, choice);
  const auto parsed = Choice::parse(choice.toStdString());
  QVERIFY2(parsed, parsed ? "" : parsed.error().message.c_str());
  int quantized = 0;
  for (const Shape& shape : shapes) {
    for (const Distribution distribution : allDistributions()) {
      const Tensor tensor = syntheticTensor(distribution, shape, 42);
      const QString wrong = verdict(tensor, distribution, *parsed);
      QVERIFY2(wrong.isEmpty(), qPrintable(QString("%1 %2: %3").arg(QString::fromStdString(toText(shape)), QString::fromStdString(tensor.name()), wrong)));
      quantized += parsed->refusal({tensor.rows(), tensor.columns()}) ? 0 : 1;
    }
  }
  // Only a combination that its scheme does not define may be refused everywhere.
  if (quantized == 0) QVERIFY(!(*parsed == Choice(parsed->scheme())));
}

void TestPromises::threads_data() { addSchemes(); }

// Codes, parameters and every figure of the report are the same for any number of threads.
void TestPromises::threads() {
  QFETCH(QByteArray, id);
  const Choice choice(*findScheme(id.constData()));
  const Tensor tensor = syntheticTensor(Distribution::HeavyTail, {640, 512}, 4);
  std::optional<Outcome> first;
  for (const int count : {1, 4}) {
    kernels::setThreadCount(count);
    auto outcome = run(tensor, choice, {}, {.histogramBins = 64, .perGroup = true, .perRow = true});
    kernels::setThreadCount(0);
    QVERIFY2(outcome, outcome ? "" : outcome.error().message.c_str());
    if (!first) {
      first = std::move(*outcome);
      continue;
    }
    QVERIFY(identical(*first->quantized, *outcome->quantized));
    for (const Metric& metric : metrics())
      QVERIFY2(metric.value(outcome->report) == metric.value(first->report), metric.key.data());
    QVERIFY(outcome->report.errors == first->report.errors && outcome->report.weights == first->report.weights);
    QCOMPARE(outcome->report.occupancy, first->report.occupancy);
  }
}

void TestPromises::notFinite_data() { addSchemes(); }

void TestPromises::notFinite() {
  QFETCH(QByteArray, id);
  const Choice choice(*findScheme(id.constData()));
  for (const float bad : {NAN, HUGE_VALF, -HUGE_VALF}) {
    std::vector<float> weights = *syntheticTensor(Distribution::Gauss, {64, 128}, 1).readAll();
    weights[3 * 128 + 17] = bad;
    weights[5000] = bad;
    const auto outcome = run(Tensor::fromFloats("model.layer.weight", {64, 128}, std::move(weights)), choice, {});
    QVERIFY(!outcome);
    const QString message = QString::fromStdString(outcome.error().message);
    QVERIFY2(message.contains("model.layer.weight") && message.contains("401") && message.contains("[3, 17]"), qPrintable(message));
    QVERIFY(outcome.error().kind == ErrorKind::Input);
  }
}

void TestPromises::empty_data() { addSchemes(); }

void TestPromises::empty() {
  QFETCH(QByteArray, id);
  const Choice choice(*findScheme(id.constData()));
  for (const Shape& shape : {Shape{0}, Shape{0, 64}, Shape{64, 0}, Shape{2, 0, 3}}) {
    const auto outcome = run(Tensor::fromFloats("nothing", shape, {}), choice, {});
    QVERIFY(!outcome);
    QVERIFY2(outcome.error().message.find("nothing") != std::string::npos, outcome.error().message.c_str());
  }
}

void TestPromises::moreBitsAreNeverWorse_data() { addSchemes(); }

void TestPromises::moreBitsAreNeverWorse() {
  QFETCH(QByteArray, id);
  const Scheme& scheme = *findScheme(id.constData());
  const auto& settings = scheme.settings();
  const auto bits = std::find_if(settings.begin(), settings.end(), [](const SettingInfo& info) { return info.key == "bits"; });
  if (bits == settings.end()) return;
  for (const Distribution distribution : {Distribution::Gauss, Distribution::HeavyTail, Distribution::OneOutlier}) {
    const Tensor tensor = syntheticTensor(distribution, {64, 128}, 9);
    std::vector<SettingValue> widths = offeredValues(*bits);
    std::sort(widths.begin(), widths.end());
    double before = std::numeric_limits<double>::infinity();
    for (const SettingValue& width : widths) {
      const auto outcome = run(tensor, *Choice(scheme).with("bits", width), {});
      QVERIFY2(outcome, outcome ? "" : outcome.error().message.c_str());
      QVERIFY2(outcome->report.mse() <= before, qPrintable(QString("%1 bits").arg(QString::fromStdString(toText(width)))));
      before = outcome->report.mse();
    }
  }
}

void TestPromises::definitions() {
  for (const Scheme* scheme : allSchemes()) {
    QVERIFY(!scheme->info().title.empty() && !scheme->info().summary.empty() && !scheme->info().reference.empty());
    for (const SettingInfo& info : scheme->settings()) {
      QVERIFY2(!info.help.empty() && !info.label.empty(), info.key.c_str());
      QVERIFY2(checkSetting(info, info.fallback), info.key.c_str());
    }
    for (const Promise promise : scheme->promises(Choice(*scheme).values())) QVERIFY(!definition(promise).empty() && !name(promise).empty());
  }
}

QTEST_APPLESS_MAIN(TestPromises)
#include "test_promises.moc"
