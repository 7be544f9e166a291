// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/compare_output.h"

#include "app/program.h"
#include "app/text_table.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

// In the order of the contract; a negative weighted error was not asked for.
std::vector<std::pair<const char*, double>> figures(const ErrorReport& report) {
  std::vector<std::pair<const char*, double>> list{
      {"mse", report.mse()},
      {"rmse", report.rmse()},
      {"sqnrDb", report.sqnrDb()},
      {"relativeFrobenius", report.relativeFrobenius()},
      {"l2", report.l2()},
      {"maxError", report.maxError()},
      {"meanError", report.meanError()},
      {"p99Error", report.p99Error},
      {"cosine", report.cosine()},
  };
  if (report.weightedMse >= 0) list.emplace_back("weightedMse", report.weightedMse);
  list.emplace_back("codeEntropy", report.codeEntropy);
  return list;
}

Json candidateJson(const ComparedCandidate& candidate) {
  Json json;
  json["tensor"] = candidate.tensor;
  json["scheme"] = candidate.scheme;
  if (!candidate.mix.empty()) json["mix"] = candidate.mix;
  if (!candidate.reading.empty()) json["reading"] = candidate.reading;
  json["bitsPerWeight"] = candidate.bitsPerWeight;
  json["sizeBytes"] = candidate.size.total();
  json["breakdown"] = {{"codes", candidate.size.codes},
                       {"scales", candidate.size.scales},
                       {"zeros", candidate.size.zeros},
                       {"other", candidate.size.other}};
  for (const auto& [key, value] : figures(candidate.report)) json[key] = value;
  if (candidate.bound) json["decibelsFromBound"] = candidate.decibelsFromBound() ? Json(*candidate.decibelsFromBound()) : Json(nullptr);
  const Histogram& errors = candidate.report.errors;
  if (!errors.counts.empty()) json["histogram"] = {{"low", errors.low}, {"high", errors.high}, {"counts", errors.counts}};
  json["seconds"] = candidate.seconds;
  if (!candidate.notes.empty()) json["notes"] = candidate.notes;
  return json;
}

// As RFC 4180 quotes; for TSV, where there is no quoting, separators inside a cell become spaces.
std::string cell(std::string text, char separator) {
  if (separator == '\t') {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
    return text;
  }
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::vector<std::pair<std::string, std::string>> columnsOf(const ComparedCandidate& candidate, bool weighted, bool histogram,
                                                           bool readings, bool mixes) {
  std::vector<std::pair<std::string, std::string>> columns{{"tensor", candidate.tensor}, {"scheme", candidate.scheme}};
  if (mixes) columns.emplace_back("mix", candidate.mix);
  if (readings) columns.emplace_back("reading", candidate.reading);
  for (const auto& [title, value] :
       std::initializer_list<std::pair<std::string, std::string>>{{"bitsPerWeight", text::number(candidate.bitsPerWeight)},
                                                                  {"sizeBytes", text::number(candidate.size.total())},
                                                                  {"breakdown.codes", text::number(candidate.size.codes)},
                                                                  {"breakdown.scales", text::number(candidate.size.scales)},
                                                                  {"breakdown.zeros", text::number(candidate.size.zeros)},
                                                                  {"breakdown.other", text::number(candidate.size.other)}})
    columns.emplace_back(title, value);
  for (const auto& [key, value] : figures(candidate.report)) {
    if (weighted && candidate.report.weightedMse < 0 && std::string_view(key) == "codeEntropy")
      columns.emplace_back("weightedMse", "");
    columns.emplace_back(key, text::number(value));
  }
  const auto decibels = candidate.decibelsFromBound();
  columns.emplace_back("decibelsFromBound", decibels ? text::number(*decibels) : "");
  if (histogram) {
    const Histogram& errors = candidate.report.errors;
    std::vector<std::string> counts;
    for (const std::uint64_t count : errors.counts) counts.push_back(text::number(count));
    columns.emplace_back("histogram.low", text::number(errors.low));
    columns.emplace_back("histogram.high", text::number(errors.high));
    columns.emplace_back("histogram.counts", text::join(counts, " "));
  }
  columns.emplace_back("seconds", text::number(candidate.seconds));
  return columns;
}

// The bound of each tensor, once: what `decibelsFromBound` is measured from.
Json boundJson(const std::string& tensor, const MemorylessBound& bound) {
  Json json{{"tensor", tensor}, {"note", bound.note()}};
  if (!bound.ok()) return json;
  json["entropyBits"] = bound.density.entropyBits;
  json["errorBits"] = bound.density.errorBits;
  json["rowsKnownEntropyBits"] = bound.rowsKnown.entropyBits;
  json["share"] = bound.density.share;
  json["validBits"] = bound.density.validBits;
  json["variance"] = bound.variance;
  json["sampled"] = bound.sampled;
  json["weights"] = bound.weights;
  return json;
}

// Each candidate over all tensors together: what a choice for the whole model, a named mix above all, costs and gives.
struct Total {
  std::string scheme;  // or the mix
  std::uint64_t tensors = 0, weights = 0, bytes = 0;
  double bits = 0;
  ErrorReport report;  // its sums
};

std::vector<Total> totalsOf(const std::vector<ComparedCandidate>& candidates) {
  std::vector<Total> totals;
  std::set<std::string> tensors;
  for (const ComparedCandidate& candidate : candidates) {
    if (!candidate.reading.empty()) return {};
    tensors.insert(candidate.tensor);
    const std::string& scheme = candidate.mix.empty() ? candidate.scheme : candidate.mix;
    auto total = std::find_if(totals.begin(), totals.end(), [&](const Total& one) { return one.scheme == scheme; });
    if (total == totals.end()) {
      totals.emplace_back().scheme = scheme;
      total = totals.end() - 1;
    }
    ++total->tensors;
    total->weights += candidate.weights;
    total->bytes += candidate.size.total();
    total->bits += candidate.bitsPerWeight * static_cast<double>(candidate.weights);
    total->report.sums += candidate.report.sums;
  }
  if (tensors.size() < 2) return {};
  return totals;
}

Json totalJson(const Total& total) {
  return {{"scheme", total.scheme},
          {"tensors", total.tensors},
          {"weights", total.weights},
          {"bitsPerWeight", total.bits / static_cast<double>(total.weights)},
          {"sizeBytes", total.bytes},
          {"mse", total.report.mse()},
          {"sqnrDb", total.report.sqnrDb()},
          {"relativeFrobenius", total.report.relativeFrobenius()},
          {"maxError", total.report.maxError()},
          {"cosine", total.report.cosine()}};
}

std::string boundNotes(const std::vector<ComparedCandidate>& candidates) {
  std::string out;
  std::set<std::string> seen;
  for (const ComparedCandidate& candidate : candidates)
    if (candidate.bound && seen.insert(candidate.tensor).second)
      out += "bound: " + candidate.tensor + ": " + candidate.bound->note() + "\n";
  return out;
}

}  // namespace

Json compareJson(const std::string& path, std::string_view backend, const std::vector<ComparedCandidate>& candidates) {
  Json json;
  json["path"] = path;
  json["backend"] = backend;
  json["candidates"] = Json::array();
  for (const ComparedCandidate& candidate : candidates) json["candidates"].push_back(candidateJson(candidate));
  // A document without mixes stays as scripts know it.
  if (std::any_of(candidates.begin(), candidates.end(), [](const ComparedCandidate& candidate) { return !candidate.mix.empty(); })) {
    json["totals"] = Json::array();
    for (const Total& total : totalsOf(candidates)) json["totals"].push_back(totalJson(total));
  }
  json["bounds"] = Json::array();
  std::set<std::string> seen;
  for (const ComparedCandidate& candidate : candidates)
    if (candidate.bound && seen.insert(candidate.tensor).second) json["bounds"].push_back(boundJson(candidate.tensor, *candidate.bound));
  return json;
}

std::string compareColumns(const std::vector<ComparedCandidate>& candidates, char separator) {
  const auto any = [&](auto&& has) { return std::any_of(candidates.begin(), candidates.end(), has); };
  const bool weighted = any([](const ComparedCandidate& c) { return c.report.weightedMse >= 0; });
  const bool histogram = any([](const ComparedCandidate& c) { return !c.report.errors.counts.empty(); });
  const bool readings = any([](const ComparedCandidate& c) { return !c.reading.empty(); });
  const bool mixes = any([](const ComparedCandidate& c) { return !c.mix.empty(); });
  std::string out;
  for (const ComparedCandidate& candidate : candidates) {
    std::vector<std::string> titles, cells;
    for (auto& [title, value] : columnsOf(candidate, weighted, histogram, readings, mixes)) {
      titles.push_back(title);
      cells.push_back(cell(std::move(value), separator));
    }
    if (out.empty()) out += text::join(titles, std::string(1, separator)) + "\n";
    out += text::join(cells, std::string(1, separator)) + "\n";
  }
  return out;
}

std::string compareTable(const std::vector<ComparedCandidate>& candidates) {
  TextTable table({{"tensor"},
                   {"scheme"},
                   {"bits/weight", true},
                   {"size", true},
                   {"SQNR dB", true},
                   {"MSE", true},
                   {"rel. error", true},
                   {"max error", true},
                   {"cosine", true},
                   {"entropy", true},
                   {"dB to bound", true},
                   {"seconds", true}});
  std::string previous;
  for (const ComparedCandidate& candidate : candidates) {
    const ErrorReport& report = candidate.report;
    const std::string name = candidate.reading.empty() ? candidate.tensor : candidate.tensor + " read as " + candidate.reading;
    const std::string scheme = (candidate.mix.empty() ? "" : candidate.mix + ": ") + shortScheme(candidate.scheme);
    table.add({name == previous ? "" : name, scheme, decimals(candidate.bitsPerWeight, 3),
               text::byteSize(candidate.size.total()), decimals(report.sqnrDb(), 2), figure(report.mse()),
               decimals(report.relativeFrobenius(), 5), figure(report.maxError()), decimals(report.cosine(), 6),
               decimals(report.codeEntropy, 3), candidate.decibelsFromBound() ? decimals(*candidate.decibelsFromBound(), 2) : "-",
               decimals(candidate.seconds, 3)});
    previous = name;
  }
  for (const Total& total : totalsOf(candidates)) {
    const std::string name = "all " + text::number(total.tensors) + " tensors";
    table.add({name == previous ? "" : name, shortScheme(total.scheme), decimals(total.bits / static_cast<double>(total.weights), 3),
               text::byteSize(total.bytes), decimals(total.report.sqnrDb(), 2), figure(total.report.mse()),
               decimals(total.report.relativeFrobenius(), 5), figure(total.report.maxError()), decimals(total.report.cosine(), 6), "-", "-", "-"});
    previous = name;
  }
  std::string out = table.text() + boundNotes(candidates);
  std::set<std::string> seen;
  for (const ComparedCandidate& candidate : candidates)
    for (const std::string& note : candidate.notes)
      if (seen.insert(candidate.scheme + note).second) out += "note: " + shortScheme(candidate.scheme) + ": " + oneLine(note) + "\n";
  return out;
}

}  // namespace nibble::cli
