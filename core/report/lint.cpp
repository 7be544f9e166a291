// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/lint.h"

#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/report/statistics.h"
#include "core/schemes/scheme.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <new>
#include <optional>

namespace nibble {
namespace {

constexpr double outlierSigmas = 32;
constexpr std::uint64_t smallestBlock = 32;
constexpr std::array<std::uint64_t, 3> widerBlocks = {64, 128, 256};

constexpr std::array<LintRule, 10> rules = {{
    {"empty", Severity::Warning, "A tensor without elements: nothing to quantize, and some loaders refuse the file.", false},
    {"odd-dtype", Severity::Note,
     "A float tensor in another type than nearly all of its kind: the same layer elsewhere, all matrices, or all vectors of "
     "the "
     "file. Often a conversion that missed one; a norm in 16 bits among float32 ones costs accuracy.",
     false},
    {"odd-columns", Severity::Note,
     "The row length is no multiple of 32: formats made of blocks along a row refuse the matrix or leave it unquantized.",
     false},
    {"narrow-blocks", Severity::Note,
     "Row lengths that a block of 64, 128 or 256 does not divide: schemes with such blocks refuse these matrices, and "
     "converters "
     "fall back to larger types without saying so.",
     false},
    {"two-readings", Severity::Warning,
     "A packed layer that can be read in two ways, where the file does not say which or its numbers speak against what it "
     "says. "
     "Read in the wrong way every weight is off by one scale. Compare both with the original weights.",
     false},
    {"non-finite", Severity::Warning,
     "NaN or infinity among the weights: the tensor cannot be quantized, and the model is broken there.", true},
    {"constant", Severity::Note, "All weights are the same number: one value would do, and scales of such groups mean nothing.",
     true},
    {"zero-rows", Severity::Warning,
     "Output channels whose weights are all 0: pruned or never trained. They cost as many bits as others.", true},
    {"denormals", Severity::Note,
     "Weights below the normal range of float32 (2^-126): scales made of them vanish in 16 bits, and some devices flush them "
     "to 0.",
     true},
    {"outliers", Severity::Warning,
     "The largest weight is more than 32 standard deviations from the mean: whoever shares a scale with it is left with few "
     "codes. "
     "Small groups keep the damage local.",
     true},
}};

Finding finding(std::string_view rule, std::string tensor, std::string what) {
  return {findLintRule(rule)->severity, std::move(tensor), std::move(what), std::string(rule)};
}

std::string count(std::uint64_t number, std::string_view one, std::string_view many) {
  return text::number(number) + " " + std::string(number == 1 ? one : many);
}

// "layers.12.q.weight" and "layers.3.q.weight" are the same layer elsewhere: numbers become '#'.
std::string patternOf(std::string_view name) {
  std::string pattern;
  for (const char c : name) {
    const bool digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
    if (!digit)
      pattern += c;
    else if (pattern.empty() || pattern.back() != '#')
      pattern += '#';
  }
  return pattern;
}

// Which float types the tensors of one kind have. A type is usual where three quarters of at least four tensors have it.
class TypeCount {
 public:
  void add(DType type) { ++m_counts[type]; }
  [[nodiscard]] std::optional<DType> usual() const {
    std::uint64_t total = 0;
    for (const auto& [type, number] : m_counts) total += number;
    for (const auto& [type, number] : m_counts)
      if (total >= 4 && number * 4 >= total * 3) return type;
    return std::nullopt;
  }

 private:
  std::map<DType, std::uint64_t> m_counts;
};

bool isMatrix(const TensorEntry& entry) {
  return entry.shape.size() >= 2;
}

class TypeLint {
 public:
  explicit TypeLint(std::span<const TensorEntry> entries) {
    for (const TensorEntry& entry : entries) {
      if (!info(entry.type).floating) continue;
      m_kinds[isMatrix(entry) ? 1 : 0].add(entry.type);
      m_layers[patternOf(entry.name)].add(entry.type);
    }
  }
  [[nodiscard]] std::optional<Finding> operator()(const TensorEntry& entry) const {
    if (!info(entry.type).floating) return std::nullopt;
    const auto sentence = [&](DType usual, std::string_view of) {
      return finding("odd-dtype", entry.name,
                     std::string(info(entry.type).name) + ", where nearly all " + std::string(of) + " are " +
                         std::string(info(usual).name));
    };
    const std::string pattern = patternOf(entry.name);
    if (const auto usual = m_layers.at(pattern).usual()) {
      if (*usual != entry.type) return sentence(*usual, pattern);
      return std::nullopt;  // as in every other layer: meant so
    }
    const auto usual = m_kinds[isMatrix(entry) ? 1 : 0].usual();
    if (usual && *usual != entry.type) return sentence(*usual, isMatrix(entry) ? "matrices" : "vectors");
    return std::nullopt;
  }

 private:
  std::array<TypeCount, 2> m_kinds;
  std::map<std::string, TypeCount> m_layers;
};

SettingValues defaultsOf(const Scheme& scheme) {
  SettingValues values;
  for (const SettingInfo& setting : scheme.settings()) values.push_back(setting.fallback);
  return values;
}

// "; refused by a, b with their defaults", or nothing.
std::string refusingSchemes(MatrixSize size) {
  std::vector<std::string> ids;
  for (const Scheme* scheme : allSchemes())
    if (scheme->refusal(defaultsOf(*scheme), size)) ids.emplace_back(scheme->info().id);
  return ids.empty() ? std::string() : "; refused with default settings by " + text::join(ids, ", ");
}

MatrixSize sizeOf(const TensorEntry& entry) {
  MatrixSize size{1, entry.shape.back()};
  for (std::size_t d = 0; d + 1 < entry.shape.size(); ++d) size.rows *= entry.shape[d];
  return size;
}

// Row lengths that a wider block does not divide are common: one finding for the file, not one for each tensor.
void lintBlocks(const std::vector<const TensorEntry*>& matrices, std::vector<Finding>& findings) {
  for (const std::uint64_t block : widerBlocks) {
    const auto undivided = [&](const TensorEntry* entry) {
      return entry->shape.back() % block != 0 && entry->shape.back() % (block / 2) == 0;
    };
    const auto first = std::find_if(matrices.begin(), matrices.end(), undivided);
    if (first == matrices.end()) continue;
    const auto number = static_cast<std::uint64_t>(std::count_if(first, matrices.end(), undivided));
    findings.push_back(finding("narrow-blocks", {},
                               "blocks of " + text::number(block) + " do not divide the columns of " +
                                   count(number, "matrix", "matrices") + ", the first " + (*first)->name + " (" +
                                   toText((*first)->shape) + ")" + refusingSchemes(sizeOf(**first))));
  }
}

// Rows without a weight other than 0. A row is left at the first such weight, so that a whole tensor is hardly ever read.
struct ZeroRows {
  std::uint64_t number = 0, first = 0;
};

Result<ZeroRows> zeroRows(const Tensor& tensor, const Context& context) {
  constexpr std::uint64_t piece = 256;
  const std::uint64_t columns = tensor.columns();
  std::vector<std::uint8_t> zero(tensor.rows());
  const std::uint64_t grain = std::max<std::uint64_t>(1, (std::uint64_t{1} << 16) / columns);
  NIBBLE_TRY(forEachPiece(tensor.rows(), grain, 0, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    std::array<float, piece> values;
    for (std::uint64_t row = begin; row < end; ++row) {
      bool all = true;
      for (std::uint64_t column = 0; column < columns && all; column += piece) {
        const auto part = std::span(values).first(std::min(piece, columns - column));
        NIBBLE_TRY(tensor.read(row * columns + column, part));
        all = std::all_of(part.begin(), part.end(), [](float value) { return value == 0; });
      }
      zero[row] = all ? 1 : 0;
    }
    return {};
  }));
  return ZeroRows{static_cast<std::uint64_t>(std::count(zero.begin(), zero.end(), std::uint8_t{1})),
                  static_cast<std::uint64_t>(std::find(zero.begin(), zero.end(), std::uint8_t{1}) - zero.begin())};
}

std::string place(const Tensor& tensor, std::uint64_t index) {
  return "[" + text::number(index / tensor.columns()) + ", " + text::number(index % tensor.columns()) + "]";
}

struct Facts {
  const Tensor& tensor;
  TensorStatistics statistics;
  ZeroRows zeroRows;
};

// What each value rule says of a tensor; nothing: it has no objection. In the order of the table.
std::optional<std::string> nonFinite(const Facts& facts) {
  const TensorStatistics& s = facts.statistics;
  if (s.nonFinite == 0) return std::nullopt;
  return count(s.nonFinite, "weight is", "weights are") + " NaN or infinite, the first at " +
         place(facts.tensor, s.firstNonFinite);
}

bool isConstant(const Facts& facts) {
  const TensorStatistics& s = facts.statistics;
  return s.nonFinite == 0 && s.count > 1 && s.min == s.max;
}

std::optional<std::string> constant(const Facts& facts) {
  if (!isConstant(facts)) return std::nullopt;
  return "all " + text::number(facts.statistics.count) + " weights are " + text::number(facts.statistics.min);
}

std::optional<std::string> rowsOfZeros(const Facts& facts) {
  if (facts.zeroRows.number == 0 || isConstant(facts)) return std::nullopt;
  return text::number(facts.zeroRows.number) + " of " + count(facts.tensor.rows(), "row", "rows") +
         (facts.zeroRows.number == 1 ? " is" : " are") + " all zero, the first is row " + text::number(facts.zeroRows.first);
}

std::optional<std::string> denormals(const Facts& facts) {
  if (facts.statistics.denormals == 0) return std::nullopt;
  return count(facts.statistics.denormals, "weight is", "weights are") +
         " denormal in float32 (below 2^-126 in magnitude, not 0)";
}

std::optional<std::string> outliers(const Facts& facts) {
  const TensorStatistics& s = facts.statistics;
  const double farthest = std::max(s.max - s.mean, s.mean - s.min);
  if (facts.tensor.rows() < 2 || !(s.std > 0) || farthest <= outlierSigmas * s.std) return std::nullopt;
  return "the largest weight is " + text::digits(farthest / s.std, 3) + " standard deviations from the mean (max |w| " +
         text::digits(s.absMax, 4) + ", std " + text::digits(s.std, 3) + ")";
}

struct ValueLint {
  std::string_view id;
  std::optional<std::string> (*says)(const Facts&);
};
constexpr std::array<ValueLint, 5> valueRules = {{
    {"non-finite", nonFinite},
    {"constant", constant},
    {"zero-rows", rowsOfZeros},
    {"denormals", denormals},
    {"outliers", outliers},
}};

}  // namespace

std::string_view name(Severity severity) {
  return severity == Severity::Warning ? "warning" : "note";
}

std::span<const LintRule> lintRules() {
  return rules;
}

const LintRule* findLintRule(std::string_view id) {
  const auto found = std::find_if(rules.begin(), rules.end(), [&](const LintRule& rule) { return rule.id == id; });
  return found == rules.end() ? nullptr : &*found;
}

std::vector<Finding> lintHeaders(std::span<const TensorEntry> entries) {
  std::vector<Finding> findings;
  std::vector<const TensorEntry*> matrices;
  const TypeLint types(entries);
  for (const TensorEntry& entry : entries) {
    if (std::find(entry.shape.begin(), entry.shape.end(), 0u) != entry.shape.end())
      findings.push_back(finding("empty", entry.name, "no elements (" + toText(entry.shape) + ")"));
    if (auto odd = types(entry)) findings.push_back(*std::move(odd));
    if (!worthQuantizing(entry)) continue;
    if (entry.shape.back() % smallestBlock != 0)
      findings.push_back(
          finding("odd-columns", entry.name,
                  text::number(entry.shape.back()) + " columns, no multiple of 32" + refusingSchemes(sizeOf(entry))));
    matrices.push_back(&entry);
  }
  lintBlocks(matrices, findings);
  return findings;
}

std::vector<Finding> lintReadings(std::span<const DetectedLayer> layers) {
  std::vector<Finding> findings;
  std::map<std::string, std::uint64_t> others;  // doubts told already, and how many more layers share them
  std::map<std::string, std::size_t> place;
  for (const DetectedLayer& detected : layers) {
    const PackedLayer& layer = detected.layer;
    if (layer.doubt.empty()) continue;
    if (place.contains(layer.doubt)) {
      ++others[layer.doubt];
      continue;
    }
    place[layer.doubt] = findings.size();
    findings.push_back(
        finding("two-readings", layer.name, "can be read as " + text::join(layer.readings, " or ") + ": " + layer.doubt));
  }
  for (const auto& [doubt, number] : others)
    findings[place[doubt]].what += "; so for " + count(number, "more layer", "more layers");
  return findings;
}

Result<std::vector<Finding>> lintValues(const Tensor& tensor, const Context& context) try {
  std::vector<Finding> findings;
  if (!info(tensor.type()).floating || tensor.size() == 0) return findings;
  const auto statistics = tensorStatistics(tensor, context);
  if (!statistics) return fail(statistics.error());
  Facts facts{tensor, *statistics, {}};
  if (tensor.shape().size() >= 2) {
    const auto rows = zeroRows(tensor, context);
    if (!rows) return fail(rows.error());
    facts.zeroRows = *rows;
  }
  for (const ValueLint& rule : valueRules)
    if (auto what = rule.says(facts)) findings.push_back(finding(rule.id, tensor.name(), *std::move(what)));
  return findings;
} catch (const std::bad_alloc&) {
  return fail(tensor.name() + ": not enough memory to look at its values");
}

}  // namespace nibble
