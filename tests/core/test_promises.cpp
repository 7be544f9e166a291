// SPDX-License-Identifier: GPL-3.0-or-later
// Every scheme of the catalogue, whatever it is: over its settings, shapes and distributions it succeeds or refuses with a
// reason, keeps the promises it declares (core/schemes/scheme.cpp defines them), and what it gives is sound: codes within their
// width, one decoder, a size that is the bytes there are, the same on every backend. A new scheme is tested by being listed.
#include "core/base/text.h"
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

using namespace nibble;

class TestPromises : public QObject {
  Q_OBJECT
 private slots:
  void schemes_data();
  void schemes();
  void pairsOfSettings_data();
  void pairsOfSettings();
  void refusesWhatIsNotFinite_data();
  void refusesWhatIsNotFinite();
  void refusesTheEmpty_data();
  void refusesTheEmpty();
};

namespace {

std::vector<const kernels::Backend*> usableBackends() {
  std::vector<const kernels::Backend*> backends;
  for (const kernels::Backend* backend : kernels::allBackends())
    if (backend->unusableReason().empty()) backends.push_back(backend);
  return backends;
}

std::vector<SettingValue> valuesOf(const SettingInfo& setting, bool withEnds) {
  std::vector<SettingValue> values = setting.choices;
  values.insert(values.end(), setting.offers.begin(), setting.offers.end());
  if (setting.type == SettingType::Boolean) values = {true, false};
  if (withEnds && setting.choices.empty() && setting.low < setting.high) {
    for (const double end : {setting.low, setting.high}) {
      if (setting.type == SettingType::Integer) values.emplace_back(static_cast<std::int64_t>(end));
      if (setting.type == SettingType::Real) values.emplace_back(end);
    }
  }
  return values;
}

void addNew(std::vector<Choice>& choices, const Result<Choice>& choice) {
  if (choice && std::find(choices.begin(), choices.end(), *choice) == choices.end()) choices.push_back(*choice);
}

// The choice with one setting changed; where the setting means something only beside another, that one is set first.
std::vector<Choice> changed(const Choice& base, const SettingInfo& setting, bool withEnds) {
  std::vector<Choice> starts{base};
  for (const SettingValue& value : setting.onlyValues)
    if (const auto start = base.with(setting.onlyKey, value)) addNew(starts, start);
  std::vector<Choice> choices;
  for (const Choice& start : starts)
    for (const SettingValue& value : valuesOf(setting, withEnds)) addNew(choices, start.with(setting.key, value));
  return choices;
}

std::vector<Choice> singles(const Scheme& scheme) {
  std::vector<Choice> choices{Choice(scheme)};
  for (const SettingInfo& setting : scheme.settings())
    for (const Choice& choice : changed(Choice(scheme), setting, true)) addNew(choices, choice);
  return choices;
}

std::vector<Choice> pairs(const Scheme& scheme) {
  std::vector<Choice> choices;
  const auto& settings = scheme.settings();
  for (std::size_t i = 0; i < settings.size(); ++i)
    for (const Choice& first : changed(Choice(scheme), settings[i], false))
      for (std::size_t k = i + 1; k < settings.size(); ++k)
        for (const Choice& second : changed(first, settings[k], false)) addNew(choices, second);
  return choices;
}

std::vector<float> valuesOf(const Tensor& tensor) {
  return *tensor.readAll();
}

// The distributions, and one of each sign with zeros strewn in, so that the promise about zeros has something to hold.
std::vector<Tensor> tensorsOf(const Shape& shape) {
  std::vector<Tensor> tensors;
  for (const Distribution distribution : allDistributions()) tensors.push_back(syntheticTensor(distribution, shape, 7));
  for (const float sign : {0.0f, 1.0f, -1.0f}) {
    std::vector<float> values = valuesOf(syntheticTensor(Distribution::Gauss, shape, 11));
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i % 3 == 1) values[i] = 0;
      if (sign != 0) values[i] = sign * std::fabs(values[i]);
    }
    const std::string name = sign == 0 ? "zeros strewn" : sign > 0 ? "positive and zeros" : "negative and zeros";
    tensors.push_back(Tensor::fromFloats(name, shape, std::move(values)));
  }
  return tensors;
}

bool sameBits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}
bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return sameBits(x, y); });
}
// Equal as numbers: +0 and -0 are the same value.
bool sameValues(const std::vector<float>& a, const std::vector<float>& b) {
  return a == b;
}

bool samePlane(const std::optional<Plane>& a, const std::optional<Plane>& b);
bool sameTensor(const QuantizedTensor& a, const QuantizedTensor& b) {
  return a.codes == b.codes && samePlane(a.scale, b.scale) && samePlane(a.zero, b.zero) &&
         sameBits(a.levels.table, b.levels.table) && a.signs == b.signs && a.order == b.order &&
         sameBits(a.channelScale, b.channelScale) && a.width.bits == b.width.bits;
}
bool samePlane(const std::optional<Plane>& a, const std::optional<Plane>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  if ((a->nested == nullptr) != (b->nested == nullptr)) return false;
  return a->stored == b->stored && a->grouping == b->grouping && sameBits(a->values, b->values) &&
         (a->nested == nullptr || sameTensor(*a->nested, *b->nested));
}

Result<Outcome> runOn(const Tensor& tensor, const Choice& choice, const kernels::Backend& backend) {
  Context context;
  context.backend = &backend;
  return run(tensor, choice, context, {.percentile = false});
}

// What one tensor says against a scheme: lines of what went wrong, with the place.
class Judge {
 public:
  Judge(const Choice& choice, const Tensor& tensor) : m_choice(choice), m_tensor(tensor) {}
  QStringList judge();

 private:
  void against(const std::string& what) {
    m_objections << QString::fromStdString(m_choice.text() + " on " + toText(m_tensor.shape()) + " " + m_tensor.name() + ": " +
                                           what);
  }
  void at(std::size_t index, const std::string& what, float weight, float decoded) {
    against("weight " + text::number(std::uint64_t{index}) + " " + what + ": " + text::number(weight) + " -> " +
            text::number(decoded));
  }
  void sound();
  void sameEverywhere();
  void zeroStaysZero();
  void nearestLevel();
  void idempotent();
  void scaleEquivariant();

  const Choice& m_choice;
  const Tensor& m_tensor;
  std::shared_ptr<const QuantizedTensor> m_quantized;
  std::vector<float> m_weights, m_decoded;
  QStringList m_objections;
};

void Judge::sound() {
  std::vector<float> literal(m_weights.size());
  decodeLiterally(*m_quantized, 0, literal);
  if (!sameBits(literal, m_decoded)) against("the decoder's fast path differs from the literal one");
  std::uint64_t bytes = 0;
  for (const PayloadPart& part : payload(*m_quantized)) bytes += part.bytes.size();
  if (bytes != storageSize(*m_quantized).total())
    against("says " + text::number(storageSize(*m_quantized).total()) + " bytes and writes " + text::number(bytes));
  for (std::size_t i = 0; i < m_decoded.size(); ++i)
    if (!std::isfinite(m_decoded[i])) return at(i, "is not finite", m_weights[i], m_decoded[i]);
  if (m_quantized->codes.isSigned()) return;  // codes that leave their width, or the bits of floats
  const bool table = m_quantized->levels.kind == Levels::Kind::Table;
  for (std::size_t i = 0; i < m_quantized->codes.size(); ++i) {
    const std::int64_t codes =
        table ? m_quantized->levels.levelCount : std::int64_t{1} << m_quantized->width.at(i * m_quantized->levels.dimension);
    if (m_quantized->codes.at(i) >= codes)
      return against("code " + text::number(m_quantized->codes.at(i)) + " is beyond its width");
  }
}

void Judge::sameEverywhere() {
  for (const kernels::Backend* backend : usableBackends()) {
    const auto again = runOn(m_tensor, m_choice, *backend);
    if (!again) return against("refused by " + std::string(backend->name()) + " alone: " + again.error().message);
    if (!sameTensor(*again->quantized, *m_quantized)) against("is not the same again on " + std::string(backend->name()));
  }
}

void Judge::zeroStaysZero() {
  for (std::size_t i = 0; i < m_weights.size(); ++i)
    if (m_weights[i] == 0 && m_decoded[i] != 0) return at(i, "is 0 and does not stay so", m_weights[i], m_decoded[i]);
}

// Codes are chosen and decoded in float32: a few roundings of the numbers that go into a level decide near a midpoint.
double slack(const QuantizedTensor& tensor, std::size_t i, float weight, float decoded) {
  const double scale = tensor.scale ? tensor.scale->values[tensor.scale->grouping.groupOf(i)] : 1;
  const double zero = tensor.zero ? tensor.zero->values[tensor.zero->grouping.groupOf(i)] : 0;
  const double offset = tensor.rule == ValueRule::ScaleMinusZero ? scale * zero : zero;
  return 4 * (0x1p-24 * (std::fabs(weight) + std::fabs(decoded) + std::fabs(offset)) + 0x1p-149);
}

void Judge::nearestLevel() {
  const QuantizedTensor& tensor = *m_quantized;
  const bool fewLevels = tensor.levels.kind == Levels::Kind::Table || tensor.width.uniform <= 8;
  for (std::size_t i = 0; i < m_weights.size(); ++i) {
    std::vector<float> levels;
    if (fewLevels) {
      levels = levelsAt(tensor, i);
    } else {  // the neighbours of a code, where levels ascend with codes
      const float scale = tensor.scale->values[tensor.scale->grouping.groupOf(i)];
      const float zero = tensor.zero ? tensor.zero->values[tensor.zero->grouping.groupOf(i)] : 0;
      for (const std::int64_t step : {-1, 1}) {
        const std::int64_t code = tensor.codes.at(i) + step;
        if (code < 0 || code >= std::int64_t{1} << tensor.width.at(i)) continue;
        levels.push_back(applyRule(tensor.rule, tensor.arithmetic, true, static_cast<float>(code), scale, zero));
      }
    }
    double best = HUGE_VAL;
    for (const float level : levels) best = std::min(best, std::fabs(static_cast<double>(level) - m_weights[i]));
    const double ours = std::fabs(static_cast<double>(m_decoded[i]) - m_weights[i]);
    if (ours > best + slack(tensor, i, m_weights[i], m_decoded[i]))
      return at(i, "has a nearer level (" + text::number(ours) + " against " + text::number(best) + ")", m_weights[i],
                m_decoded[i]);
  }
}

void Judge::idempotent() {
  const auto again = runOn(Tensor::fromFloats("again", m_tensor.shape(), m_decoded), m_choice, *usableBackends().front());
  if (!again) return against("refuses what it decoded: " + again.error().message);
  const std::vector<float> twice = decodeAll(*again->quantized);
  for (std::size_t i = 0; i < twice.size(); ++i)
    if (twice[i] != m_decoded[i]) return at(i, "moves when quantized again", m_decoded[i], twice[i]);
}

// A product with a power of two is exact only where nothing is denormal: the promise speaks of no others.
bool anyDenormal(const std::vector<float>& values) {
  return std::any_of(values.begin(), values.end(), [](float value) { return value != 0 && std::fabs(value) < 0x1p-126f; });
}

void Judge::scaleEquivariant() {
  for (const float power : {0.125f, 16.0f}) {
    std::vector<float> scaled(m_weights), expected(m_decoded);
    for (float& value : scaled) value *= power;
    for (float& value : expected) value *= power;
    if (anyDenormal(m_weights) || anyDenormal(m_decoded) || anyDenormal(scaled) || anyDenormal(expected)) continue;
    const auto other = runOn(Tensor::fromFloats("scaled", m_tensor.shape(), scaled), m_choice, *usableBackends().front());
    if (!other) return against("refuses " + text::number(power) + " times the weights: " + other.error().message);
    if (!sameValues(decodeAll(*other->quantized), expected))
      against("is not " + text::number(power) + " times as much for such weights");
  }
}

QStringList Judge::judge() {
  const auto first = runOn(m_tensor, m_choice, *usableBackends().front());
  if (!first) {
    if (first.error().kind != ErrorKind::Input || !first.error().message.starts_with(m_tensor.name() + ": "))
      against("a refusal that does not name the tensor: " + first.error().message);
    for (const kernels::Backend* backend : usableBackends())
      if (runOn(m_tensor, m_choice, *backend)) against("refused by some backends only");
    return m_objections;
  }
  m_quantized = first->quantized;
  m_weights = valuesOf(m_tensor);
  m_decoded = decodeAll(*m_quantized);
  sound();
  for (const Promise promise : m_choice.scheme().promises(m_choice.values())) {
    switch (promise) {
      case Promise::Deterministic:
        sameEverywhere();
        break;
      case Promise::ZeroStaysZero:
        zeroStaysZero();
        break;
      case Promise::NearestLevel:
        nearestLevel();
        break;
      case Promise::Idempotent:
        idempotent();
        break;
      case Promise::ScaleEquivariant:
        scaleEquivariant();
        break;
    }
  }
  return m_objections;
}

const std::vector<Tensor>& tensorsOfAllShapes() {
  static const std::vector<Tensor> tensors = [] {
    std::vector<Tensor> all;
    for (const Shape& shape : {Shape{64, 64}, Shape{33, 128}, Shape{1, 4096}, Shape{5, 13}, Shape{1, 1}})
      for (Tensor& tensor : tensorsOf(shape)) all.push_back(std::move(tensor));
    return all;
  }();
  return tensors;
}

void holdToIt(const std::vector<Choice>& choices, const std::vector<Tensor>& tensors) {
  QStringList objections;
  for (const Choice& choice : choices)
    for (const Tensor& tensor : tensors) objections << Judge(choice, tensor).judge();
  const QString shown = QStringList(objections.mid(0, 12)).join("\n  ");
  QVERIFY2(objections.isEmpty(), qPrintable(QString("%1 objections\n  %2").arg(objections.size()).arg(shown)));
}

void rowPerScheme() {
  QTest::addColumn<QString>("id");
  for (const Scheme* scheme : allSchemes()) {
    const QString id = QString::fromStdString(std::string(scheme->info().id));
    QTest::newRow(qPrintable(id)) << id;
  }
}

void rowPerChoice() {
  QTest::addColumn<QString>("choice");
  for (const Scheme* scheme : allSchemes())
    for (const Choice& choice : singles(*scheme)) QTest::newRow(choice.text().c_str()) << QString::fromStdString(choice.text());
}

}  // namespace

void TestPromises::schemes_data() {
  rowPerChoice();
}

void TestPromises::schemes() {
  QFETCH(QString, choice);
  holdToIt({*Choice::parse(choice.toStdString())}, tensorsOfAllShapes());
}

void TestPromises::pairsOfSettings_data() {
  rowPerScheme();
}

void TestPromises::pairsOfSettings() {
  QFETCH(QString, id);
  static const std::vector<Tensor> tensors = [] {
    std::vector<Tensor> small = tensorsOf({5, 13});
    for (Tensor& tensor : tensorsOf({4, 64})) small.push_back(std::move(tensor));
    return small;
  }();
  holdToIt(pairs(*findScheme(id.toStdString())), tensors);
}

void TestPromises::refusesWhatIsNotFinite_data() {
  rowPerScheme();
}

void TestPromises::refusesWhatIsNotFinite() {
  QFETCH(QString, id);
  const Choice choice(*findScheme(id.toStdString()));
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    std::vector<float> values(64 * 256, 0.5f);  // wide enough for super-blocks
    values[515] = bad;
    values[4000] = bad;
    for (const kernels::Backend* backend : usableBackends()) {
      const auto outcome = runOn(Tensor::fromFloats("layer.weight", {64, 256}, values), choice, *backend);
      QVERIFY(!outcome.has_value());
      const QString message = QString::fromStdString(outcome.error().message);
      QVERIFY2(message.startsWith("layer.weight: ") && message.contains("weight 515 at [2, 3]"), qPrintable(message));
    }
  }
}

void TestPromises::refusesTheEmpty_data() {
  rowPerScheme();
}

void TestPromises::refusesTheEmpty() {
  QFETCH(QString, id);
  for (const Shape& shape : {Shape{0, 64}, Shape{64, 0}, Shape{0}}) {
    const auto outcome = run(Tensor::fromFloats("nothing", shape, {}), Choice(*findScheme(id.toStdString())), {});
    QVERIFY(!outcome.has_value());
    QVERIFY2(outcome.error().message.starts_with("nothing: "), outcome.error().message.c_str());
  }
}

QTEST_APPLESS_MAIN(TestPromises)
#include "test_promises.moc"
