// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/compare_data.h"

#include "ui/session/comparer.h"
#include "ui/session/session.h"

#include <cmath>

namespace nibble {

namespace {

QString string(const std::string& text) { return QString::fromStdString(text); }

void fillFigures(CandidateRow& row, const CandidateResult& result) {
  row.problem = string(result.problem);
  row.known = result.problem.empty();
  row.bitsPerWeight = result.bitsPerWeight;
  row.size = result.size;
  row.weights = result.weights;
  row.seconds = result.seconds;
  if (!row.known) return;
  row.mse = result.report.mse();
  row.sqnrDb = result.report.sqnrDb();
  row.relativeFrobenius = result.report.relativeFrobenius();
  row.maxError = result.report.maxError();
  row.cosine = result.report.cosine();
  row.codeEntropy = result.report.codeEntropy;
}

// A rate bound as a line of decibels over bits.
ParetoBound lineOf(const RateBound& bound, double meanSquare) {
  ParetoBound line;
  line.offsetDb = 10 * std::log10(meanSquare / bound.mse(0));
  line.dbPerBit = 20 * std::log10(2.0) / bound.share;
  line.mostBits = bound.validBits;
  return line;
}

// The bounds from the highest: nothing memoryless gets into the band above the first, even if it knows every row's scale.
std::vector<ParetoBound> paretoBounds(const MemorylessBound* bound) {
  if (bound == nullptr || !bound->ok()) return {gaussianBound()};
  std::vector<ParetoBound> lines = {lineOf(bound->rowsKnown, bound->meanSquare), lineOf(bound->density, bound->meanSquare), gaussianBound()};
  lines[0].label = QObject::tr("bound, row scales known");
  lines[0].dash = {1, 3};
  lines[0].tip = QObject::tr("Shannon lower bound for a code that is told each row's scale for nothing");
  lines[1].label = QObject::tr("bound of these weights");
  lines[1].tip = QObject::tr("Shannon lower bound from the density of these weights: no memoryless code gets above it; vector and trellis codes approach it, "
                             "schemes that use structure between weights may pass it. %1").arg(string(bound->note()));
  lines[2].offsetDb = 10 * std::log10(bound->meanSquare / bound->variance);
  lines[2].dash = {8, 3};
  if (lines[0].offsetDb < lines[1].offsetDb) std::swap(lines[0], lines[1]);
  return lines;
}

// Calls `take` with each candidate that has figures: its index, the candidate, its figures.
template <class Take>
void forKnown(Session& session, Take take) {
  const auto& candidates = session.state().candidates;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto* result = session.comparer().result(candidates[i].choice);
    if (result != nullptr && result->problem.empty()) take(i, candidates[i], *result);
  }
}

}  // namespace

QString shortLabel(const Choice& choice) {
  QString label = QString::fromUtf8(choice.scheme().info().id.data(), static_cast<int>(choice.scheme().info().id.size()));
  for (const char* key : {"bits", "type", "element"})
    if (choice.has(key)) label += " " + string(toText(choice.value(key)));
  if (choice.has("nested") && choice.value("nested") == SettingValue{true}) label += QObject::tr(" nested");
  return label;
}

// "q4_k = Q4_K_M": the mix that a person asks for by name. One that is called as its type is says nothing more: "q8_0".
QString withMix(QString label, const std::vector<std::string>& mixes) {
  if (mixes.empty()) return label;
  const auto sized = std::find_if(mixes.begin(), mixes.end(), [](const std::string& mix) { return mix.ends_with("_M"); });
  const QString mix = string(sized == mixes.end() ? mixes.front() : *sized);
  return mix.compare(label, Qt::CaseInsensitive) == 0 ? label : label + " = " + mix;
}

std::vector<CandidateRow> candidateRows(Session& session) {
  const auto& state = session.state();
  std::vector<CandidateRow> rows;
  for (std::size_t i = 0; i < state.candidates.size(); ++i) {
    const auto& candidate = state.candidates[i];
    CandidateRow row;
    row.text = string(candidate.choice.text());
    row.shortText = string(candidate.choice.shortText());
    row.family = candidate.choice.scheme().info().family;
    row.ticked = candidate.ticked;
    row.baseline = i == state.baseline;
    if (const auto* result = session.comparer().result(candidate.choice)) fillFigures(row, *result);
    if (const auto* bound = session.comparer().bound(); bound != nullptr && row.known) row.decibelsFromBound = bound->decibels(row.mse, row.bitsPerWeight);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<OverlaySeries> overlaySeries(Session& session) {
  std::vector<OverlaySeries> series;
  forKnown(session, [&](std::size_t i, const Candidate& candidate, const CandidateResult& result) {
    if (candidate.ticked)
      series.push_back({result.report.errors, shortLabel(candidate.choice), result.report.rmse(), candidate.choice.scheme().info().family,
                        i == session.state().baseline});
  });
  return series;
}

ParetoData paretoData(Session& session, std::vector<int>& sources) {
  ParetoData data;
  sources.clear();
  forKnown(session, [&](std::size_t i, const Candidate& candidate, const CandidateResult& result) {
    ParetoPoint point;
    point.bitsPerWeight = result.bitsPerWeight;
    point.mebibytes = static_cast<double>(result.size.total()) / (1 << 20);
    point.sqnrDb = result.report.sqnrDb();
    const auto mixes = session.comparer().mixes(candidate.choice);
    point.label = withMix(shortLabel(candidate.choice), mixes);
    point.text = string(candidate.choice.shortText());
    for (const std::string& mix : mixes) point.text += (&mix == mixes.data() ? QObject::tr(", here what these mixes make: ") : QString(" ")) + string(mix);
    point.family = candidate.choice.scheme().info().family;
    point.baseline = i == session.state().baseline;
    point.ticked = candidate.ticked;
    data.points.push_back(std::move(point));
    data.weights = static_cast<double>(result.weights);
    sources.push_back(static_cast<int>(i));
  });
  markDominated(data.points);
  data.bounds = paretoBounds(session.comparer().bound());
  return data;
}

}  // namespace nibble
