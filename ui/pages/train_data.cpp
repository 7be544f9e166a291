// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/train_data.h"

#include "core/base/text.h"
#include "core/run/choice.h"
#include "core/train/adapter.h"
#include "core/train/methods.h"
#include "ui/pages/compare_data.h"
#include "ui/theme/number_text.h"

#include <QObject>
#include <QRegularExpression>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

double figureOf(const train::StepRecord& record, std::string_view key) {
  for (const auto& figure : record.figures)
    if (figure.key == key) return figure.value;
  return std::nan("");
}

CurveSeries named(const QString& name, const QColor& colour) {
  CurveSeries series;
  series.name = series.label = name;
  series.colour = colour;
  return series;
}

std::optional<Choice> baseOf(const RunView& run) {
  auto choice = Choice::parse(run.plan.settings.adapter.base);
  if (run.plan.settings.adapter.base.empty() || !choice) return std::nullopt;
  return *std::move(choice);
}

double firstLoss(const RunView& run) { return run.records.empty() ? run.lossNow : run.records.front().loss; }
double lastLoss(const RunView& run) { return std::isfinite(run.lossNow) || run.records.empty() ? run.lossNow : run.records.back().loss; }

// Of the parameter whose name ends so; none: nothing of the kind is trained.
std::optional<train::Moved> movedOf(const train::StepRecord& record, std::string_view name) {
  for (const auto& parameter : record.parameters)
    if (parameter.name == name) return parameter.moved;
  return std::nullopt;
}

void addRun(TrainCurves& curves, const TrainSnapshot& snapshot, std::size_t index, const Theme& theme) {
  const RunView& run = *snapshot.runs[index];
  CurveSeries losses = named(runTitle(run), runColour(theme, snapshot, index)), path = losses;
  losses.chosen = path.chosen = index == 0;
  losses.dashed = path.dashed = run.plan.reference;
  path.dot = true;
  for (const auto& record : run.records) {
    losses.x.push_back(static_cast<double>(record.step - 1)), losses.y.push_back(record.loss);
    path.x.push_back(figureOf(record, "deltaD")), path.y.push_back(figureOf(record, "deltaM"));
  }
  if (std::isfinite(run.lossNow)) losses.x.push_back(static_cast<double>(run.records.size())), losses.y.push_back(run.lossNow);
  curves.loss.series.push_back(std::move(losses));
  if (!path.x.empty() && std::isfinite(path.x.back()) && std::isfinite(path.y.back())) curves.plane.series.push_back(std::move(path));
}

// Runs that end where they began, as those over a float base do, meet in one corner: their names there would cover the others' paths.
void unnameWhatStands(std::vector<CurveSeries>& paths) {
  constexpr double least = 0.04;
  const auto farthest = [&](std::vector<double> CurveSeries::*values) {
    double most = 0;
    for (const CurveSeries& path : paths)
      for (const double value : path.*values) most = std::max(most, std::abs(value));
    return most;
  };
  const double x = farthest(&CurveSeries::x), y = farthest(&CurveSeries::y);
  for (CurveSeries& path : paths)
    if (std::abs(path.x.back()) < least * x && std::abs(path.y.back()) < least * y) path.label.clear();
}

// A float base has its own outputs as targets from the start: its loss of about nothing must not flatten those of the others.
double leastLossShown(const std::vector<CurveSeries>& series) {
  const auto largest = [](const CurveSeries& s) { return s.y.empty() ? 0.0 : *std::max_element(s.y.begin(), s.y.end()); };
  double all = 0, least = 0;
  for (const CurveSeries& s : series) all = std::max(all, largest(s));
  for (const CurveSeries& s : series) {
    if (s.y.empty() || largest(s) < all / 100) continue;
    const double low = *std::min_element(s.y.begin(), s.y.end());
    least = least > 0 ? std::min(least, low) : low;
  }
  return least;
}

// Parameters of several tensors together, by their kind.
std::vector<train::ParameterRecord> byKind(const train::StepRecord& record) {
  std::vector<train::ParameterRecord> kinds;
  for (const auto& parameter : record.parameters) {
    const std::string name = parameter.name.substr(parameter.name.rfind('/') + 1);
    auto kind = std::find_if(kinds.begin(), kinds.end(), [&](const auto& known) { return known.name == name; });
    if (kind == kinds.end()) kind = kinds.insert(kinds.end(), {name, 0, {}});
    kind->gradientNorm = std::hypot(kind->gradientNorm, parameter.gradientNorm);
    kind->moved.moved += parameter.moved.moved;
    kind->moved.vanished += parameter.moved.vanished;
    kind->moved.total += parameter.moved.total;
  }
  return kinds;
}

void addParameters(TrainCurves& curves, const RunView& run, const Theme& theme) {
  if (run.records.empty()) return;
  std::vector<CurveSeries> norms, shares;
  for (const auto& parameter : byKind(run.records.back())) {
    CurveSeries series = named(parameterTitle(parameter.name), parameterColour(theme, parameter.name));
    norms.push_back(series);
    const train::Moved& moved = parameter.moved;
    const std::uint64_t still = moved.total - moved.moved;
    if (still != 0 && still < moved.total / 100) series.note = QObject::tr("all but %1").arg(formatCount(still));
    else series.note = still == 0 ? QObject::tr("all %1").arg(formatCount(moved.total)) : QObject::tr("%1 of %2").arg(formatCount(moved.moved), formatCount(moved.total));
    shares.push_back(std::move(series));
  }
  for (const auto& record : run.records) {
    const auto parameters = byKind(record);
    const double step = static_cast<double>(record.step);
    for (std::size_t p = 0; p < parameters.size(); ++p) {
      const double total = static_cast<double>(std::max<std::uint64_t>(parameters[p].moved.total, 1));
      norms[p].x.push_back(step), norms[p].y.push_back(parameters[p].gradientNorm);
      shares[p].x.push_back(step), shares[p].y.push_back(100 * static_cast<double>(parameters[p].moved.moved) / total);
    }
  }
  std::move(norms.begin(), norms.end(), std::back_inserter(curves.gradient.series));
  std::move(shares.begin(), shares.end(), std::back_inserter(curves.moved.series));
}

// A figure over the steps; nothing where the run has none of the kind.
void addOver(CurveData& data, const RunView& run, const std::string& key, CurveSeries series, double factor = 1) {
  for (const auto& record : run.records) series.x.push_back(static_cast<double>(record.step)), series.y.push_back(factor * figureOf(record, key));
  if (!series.y.empty() && std::isfinite(series.y.back())) data.series.push_back(std::move(series));
}

constexpr qsizetype nameMost = 10;

// What tells tensors apart, short: "query"; "att.output" and "0.output" where "output" alone would not.
QStringList shortNames(const std::vector<std::string>& tensors) {
  const auto partsOf = [](const std::string& tensor) {
    QStringList parts = string(tensor).split('.');
    for (const char* ending : {"weight", "dense"})
      if (parts.size() > 1 && parts.last() == QLatin1String(ending)) parts.removeLast();
    return parts;
  };
  QStringList last, names;
  for (const auto& tensor : tensors) last << partsOf(tensor).last();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const QStringList parts = partsOf(tensors[i]);
    const QString name = last[static_cast<qsizetype>(i)];
    const QString unique = last.count(name) > 1 && parts.size() > 1 ? parts[parts.size() - 2].left(3) + "." + name : name;
    names << (unique.size() > nameMost ? unique.left(nameMost - 1) + QChar(0x2026) : unique);
  }
  return names;
}

constexpr std::size_t curvesMost = 8;

void addBits(TrainCurves& curves, const RunView& run, const Theme& theme, const std::string& tensor) {
  const QColor colour = familyColour(theme, Family::Learned);
  const std::string ending = "/bitsMean";
  std::vector<std::string> tensors;
  for (const auto& figure : run.records.front().figures)
    if (figure.key.ends_with(ending)) tensors.push_back(figure.key.substr(0, figure.key.size() - ending.size()));
  const auto styled = [](CurveSeries series, bool chosen) {
    series.chosen = chosen;
    return series;
  };
  if (tensors.size() > 1 && tensors.size() <= curvesMost) {
    const QStringList names = shortNames(tensors);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const bool chosen = tensors[i] == tensor;
      addOver(curves.bits, run, tensors[i] + ending, styled(named(names[static_cast<qsizetype>(i)], chosen ? colour : theme.text3), chosen));
    }
    return;
  }
  addOver(curves.bits, run, "bitsMax", named(QObject::tr("most"), theme.text3));
  addOver(curves.bits, run, "bitsMean", styled(named(QObject::tr("mean"), colour), true));
  addOver(curves.bits, run, "bitsMin", named(QObject::tr("least"), theme.text3));
}

void addCodes(TrainCurves& curves, const RunView& run, const Theme& theme, const QColor& colour, double end) {
  if (run.records.empty() || !std::isfinite(figureOf(run.records.front(), "changedShare"))) return;
  curves.plane = {QObject::tr("step"), QObject::tr("codes changed, %"), {}, false, end, 0, curves.loss.marker};
  CurveSeries changed = named(QObject::tr("so far"), colour), flipped = named(QObject::tr("in the step"), theme.text2);
  changed.chosen = true;
  addOver(curves.plane, run, "changedShare", std::move(changed), 100);
  for (const auto& record : run.records)
    if (const auto moved = movedOf(record, "codes")) {
      flipped.x.push_back(static_cast<double>(record.step));
      flipped.y.push_back(100 * static_cast<double>(moved->moved) / static_cast<double>(std::max<std::uint64_t>(moved->total, 1)));
    }
  curves.plane.series.push_back(std::move(flipped));
}

void addSize(TrainCurves& curves, const RunView& run, const Theme& theme, double end, const std::string& tensor) {
  if (run.records.empty() || !std::isfinite(figureOf(run.records.front(), "sizeMb"))) return;
  curves.plane = {QObject::tr("step"), QObject::tr("MB"), {}, false, end, 0, curves.loss.marker};
  curves.plane.fromZero = false;
  CurveSeries exact = named(QObject::tr("true"), familyColour(theme, Family::Learned)), learned = named(QObject::tr("learned"), theme.text2);
  exact.chosen = true, learned.dashed = true;
  addOver(curves.plane, run, "trueSizeMb", std::move(exact));
  addOver(curves.plane, run, "sizeMb", std::move(learned));
  curves.bits = {QObject::tr("step"), QObject::tr("bits"), {}, false, end, 0, curves.loss.marker};
  addBits(curves, run, theme, tensor);
}

// Mean size of a trained tensor's numbers in the pass that is looked at.
double meanSize(const TrainSnapshot& snapshot, const std::string& name) {
  const auto found = snapshot.arrays.find(name);
  if (found == snapshot.arrays.end() || found->second->values.empty()) return 0;
  double sum = 0;
  for (const double value : found->second->values) sum += std::abs(value);
  return sum / static_cast<double>(found->second->values.size());
}

void lostCodes(const train::Moved& moved, LostUpdates& lost) {
  lost.lead = moved.moved == 0 ? QObject::tr("No code moves:") : QObject::tr("Codes hardly move:");
  lost.text = QObject::tr("%1 of %2 weights were to change by less than half a code, and nothing of that is kept.").arg(formatCount(moved.vanished), formatCount(moved.total));
  lost.action = QObject::tr("Keep the residual");
  lost.actionHelp = QObject::tr("Keep in float32 what rounding takes: the run starts again");
  lost.key = "residual", lost.value = "yes";
}

void lostDigits(const TrainSnapshot& snapshot, const train::ParameterRecord& parameter, LostUpdates& lost) {
  const RunView& run = *snapshot.runs.front();
  const auto type = run.plan.settings.numberType();
  const double size = train::storedAs(type, meanSize(snapshot, parameter.name));
  lost.text = QObject::tr("near %1, %2 counts in steps of %3; %4 of %5 updates are under half a step.")
                  .arg(formatSignificant(size, 3), string(train::name(type)), formatSignificant(2 * train::halfUlp(type, size), 3),
                       formatCount(parameter.moved.vanished), formatCount(parameter.moved.total));
  for (const auto& other : snapshot.runs)
    if (other->plan.reference && std::isfinite(lastLoss(*other)) && std::isfinite(lastLoss(run)))
      lost.text += QObject::tr(" In %1: loss %2, not %3.")
                       .arg(string(train::name(other->plan.settings.numberType())), formatSignificant(lastLoss(*other), 3), formatSignificant(lastLoss(run), 3));
  lost.action = QObject::tr("Store in f32");
  lost.actionHelp = QObject::tr("Keep trained numbers as f32: the run starts again");
  lost.key = "dtype", lost.value = train::name(train::NumberType::F32);
}

}  // namespace

QString methodTitle(std::string_view id) {
  QString title = string(id);
  static const QRegularExpression vowel("[aeiou]");
  if (title.size() <= 3 || !title.contains(vowel)) return title.toUpper();
  if (title.endsWith("ora")) {
    const QString prefix = title.chopped(4);
    return (prefix.size() == 1 ? prefix.toUpper() : prefix) + title[title.size() - 4].toUpper() + "oRA";
  }
  title[0] = title[0].toUpper();
  if (title.endsWith('q')) title.back() = QChar('Q');
  return title;
}

QString runTitle(const RunView& run) {
  const QString title = methodTitle(run.plan.settings.method);
  return run.plan.reference ? title + " " + string(train::name(run.plan.settings.numberType())) : title;
}

QString settingsTitle(const train::TrainSettings& settings) {
  QString optimizer = string(settings.optimizer.kind);
  optimizer = optimizer.size() <= 3 ? optimizer.toUpper() : optimizer.left(1).toUpper() + optimizer.mid(1);
  if (optimizer.endsWith('w')) optimizer.back() = QChar('W');
  QStringList parts;
  if (train::kindOf(settings.method) == train::MethodKind::Adapter) parts << QObject::tr("rank %1").arg(settings.adapter.rank);
  parts << QString("%1 %2").arg(optimizer, string(text::number(settings.optimizer.learningRate))) << string(train::name(settings.numberType()));
  return parts.join("  ");
}

Family familyOf(const RunView& run) {
  const auto base = baseOf(run);
  return base ? base->scheme().info().family : Family::Learned;
}

// Runs over one base share its family; those beside the chosen one are paler. Magnitude or none tells float runs apart.
QColor runColour(const Theme& theme, const TrainSnapshot& snapshot, std::size_t index) {
  const RunView& run = *snapshot.runs[index];
  const auto base = baseOf(run);
  const bool pale = index > 0 && !run.plan.reference;
  if (base) {
    const QColor family = familyColour(theme, base->scheme().info().family);
    return pale ? mixed(family, theme.panel, 0.6) : family;
  }
  const std::string& method = run.plan.settings.method;
  if (train::kindOf(method) != train::MethodKind::Adapter) return familyColour(theme, Family::Learned);
  if (train::hasMagnitude(method)) return theme.text;
  return method == "lora" ? theme.text3 : mixed(theme.text3, theme.panel, 0.6);
}

QColor parameterColour(const Theme& theme, const std::string& name) {
  if (name == "A" || name == "weight" || name == "codes") return theme.dark ? QColor("#E8A557") : QColor("#C0741A");
  if (name == "B" || name == "logits" || name == "step" || name == "zeros") return theme.dark ? QColor("#A9CDF4") : QColor("#6A98D0");
  return name == "magnitude" ? theme.text : theme.text2;
}

QString parameterTitle(const std::string& name) { return name == "magnitude" ? QStringLiteral("m") : string(name); }

TrainCurves trainCurves(const TrainSnapshot& snapshot, const Theme& theme, std::uint64_t steps, const std::string& tensor) {
  const double end = static_cast<double>(steps), now = snapshot.step() > 0 ? static_cast<double>(snapshot.step()) : -1;
  TrainCurves curves{{QObject::tr("step"), QObject::tr("loss"), {}, true, end, 0, now},
                     {QObject::tr("step"), QObject::tr("norm"), {}, true, end, 0, now},
                     {QObject::tr("ΔD, direction"), QObject::tr("ΔM, magnitude"), {}},
                     {QObject::tr("step"), QObject::tr("entries moved, %"), {}, false, end, 100, now}};
  for (std::size_t i = 0; i < snapshot.runs.size(); ++i) addRun(curves, snapshot, i, theme);
  unnameWhatStands(curves.plane.series);
  if (!snapshot.runs.empty()) addParameters(curves, *snapshot.runs.front(), theme);
  if (!snapshot.runs.empty()) addSize(curves, *snapshot.runs.front(), theme, end, tensor);
  if (!snapshot.runs.empty()) addCodes(curves, *snapshot.runs.front(), theme, runColour(theme, snapshot, 0), end);
  curves.loss.yLeast = leastLossShown(curves.loss.series);
  return curves;
}

double lambdaAt(int place) { return place <= 0 ? 0 : std::pow(10.0, -4 + 5.0 * (place - 1) / (lambdaSteps - 1)); }

int placeOfLambda(double lambda) {
  if (!(lambda > 0)) return 0;
  return std::clamp(static_cast<int>(std::nearbyint((std::log10(lambda) + 4) / 5 * (lambdaSteps - 1))) + 1, 1, lambdaSteps);
}

std::vector<RunRow> runRows(const TrainSnapshot& snapshot, const Theme& theme) {
  std::vector<RunRow> rows;
  for (std::size_t i = 0; i < snapshot.runs.size(); ++i) {
    const RunView& run = *snapshot.runs[i];
    const auto base = baseOf(run);
    RunRow row;
    row.name = runTitle(run);
    row.base = base ? shortLabel(*base) : QObject::tr("original");
    row.colour = runColour(theme, snapshot, i);
    row.dashed = run.plan.reference;
    row.chosen = i == 0;
    row.problem = string(run.problem);
    row.trainable = run.entries;
    row.firstLoss = firstLoss(run), row.lastLoss = lastLoss(run);
    if (!run.records.empty()) {
      const auto& record = run.records.back();
      row.stepped = true;
      for (const auto& parameter : record.parameters) row.moved += parameter.moved.moved;
      row.magnitude = movedOf(record, "magnitude");
      row.deltaM = figureOf(record, "deltaM"), row.deltaD = figureOf(record, "deltaD");
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<LostUpdates> lostUpdates(const TrainSnapshot& snapshot) {
  if (snapshot.runs.empty() || snapshot.runs.front()->records.empty()) return std::nullopt;
  const RunView& run = *snapshot.runs.front();
  const bool packed = train::kindOf(run.plan.settings.method) == train::MethodKind::Packed;
  for (const auto& parameter : byKind(run.records.back())) {
    const train::Moved& moved = parameter.moved;
    if (moved.vanished * 2 <= moved.total) continue;
    const QString name = parameterTitle(parameter.name);
    LostUpdates lost;
    lost.lead = moved.moved == 0 ? QObject::tr("%1 does not move:").arg(name) : QObject::tr("%1 hardly moves:").arg(name);
    if (packed) lostCodes(moved, lost);
    else lostDigits(snapshot, parameter, lost);
    return lost;
  }
  return std::nullopt;
}

}  // namespace nibble
