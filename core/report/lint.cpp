// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/lint.h"

#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/report/statistics.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

namespace nibble {
namespace {

constexpr double farSigmas = 20;
constexpr float largestHalf = 65504;

std::string count(std::uint64_t number, std::string_view one, std::string_view many) {
  return text::number(number) + " " + std::string(number == 1 ? one : many);
}

// What is known of a tensor when its values are looked at.
struct Facts {
  const Tensor& tensor;
  TensorStatistics figures;
  std::uint64_t zeroRows = 0, firstZeroRow = 0;
  [[nodiscard]] bool isMatrix() const { return tensor.shape().size() >= 2 && tensor.rows() > 1; }
  [[nodiscard]] bool isConstant() const { return figures.nonFinite == 0 && figures.count > 1 && figures.min == figures.max; }
};

using Said = std::optional<std::string>;

Said nonFinite(const Facts& facts) {
  const TensorStatistics& figures = facts.figures;
  if (figures.nonFinite == 0) return std::nullopt;
  const std::uint64_t first = figures.firstNonFinite, columns = facts.tensor.columns();
  return count(figures.nonFinite, "weight is", "weights are") + " NaN or infinite, the first at [" + text::number(first / columns) +
         ", " + text::number(first % columns) + "]";
}

Said constant(const Facts& facts) {
  if (!facts.isMatrix() || !facts.isConstant()) return std::nullopt;
  return "all " + text::number(facts.figures.count) + " weights are " + text::number(facts.figures.min);
}

Said zeroRows(const Facts& facts) {
  if (!facts.isMatrix() || facts.zeroRows == 0 || facts.isConstant()) return std::nullopt;
  return text::number(facts.zeroRows) + " of " + count(facts.tensor.rows(), "row", "rows") +
         (facts.zeroRows == 1 ? " is" : " are") + " all zero, the first is row " + text::number(facts.firstZeroRow);
}

Said denormals(const Facts& facts) {
  if (facts.figures.denormals == 0) return std::nullopt;
  return count(facts.figures.denormals, "weight is", "weights are") + " denormal in float32";
}

Said beyondHalf(const Facts& facts) {
  if (!(facts.figures.absMax > largestHalf)) return std::nullopt;
  return "the largest magnitude, " + text::digits(facts.figures.absMax, 4) + ", does not fit float16";
}

Said outliers(const Facts& facts) {
  const TensorStatistics& figures = facts.figures;
  if (!facts.isMatrix() || !(figures.std > 0)) return std::nullopt;
  const double farthest = std::max(figures.max - figures.mean, figures.mean - figures.min) / figures.std;
  if (farthest <= farSigmas) return std::nullopt;
  return "the farthest weight lies " + text::digits(farthest, 3) + " standard deviations from the mean";
}

struct Rule {
  LintRule about;
  Said (*says)(const Facts&);  // null: a rule of headers
};

constexpr std::array<Rule, 8> table{{
    {{"empty", Severity::Note, "A tensor without elements: there is nothing to quantize, and some readers refuse it.", false}, nullptr},
    {{"odd-dtype", Severity::Note,
      "Stored in another float type than nearly all tensors of its kind (matrices, or vectors). Mixed types are often left over "
      "from a conversion: check that no precision was lost.",
      false},
     nullptr},
    {{"non-finite", Severity::Warning,
      "NaN or infinity spreads to every output. No scheme quantizes such a tensor: repair the file, or skip the tensor.", true},
     nonFinite},
    {{"constant", Severity::Warning, "Every weight is the same number: the matrix was probably never trained or loaded.", true},
     constant},
    {{"zero-rows", Severity::Note,
      "Output channels that are always 0: pruned, padded or never trained. They cost as many bits as others.", true},
     zeroRows},
    {{"denormals", Severity::Note,
      "Magnitudes below 2^-126. Some devices flush them to 0, and scales made of them vanish in 16 bits.", true},
     denormals},
    {{"beyond-float16", Severity::Warning,
      "A weight above 65504 becomes infinite in float16, and so do scales and bounds made of it. Keep parameters in bf16 or f32.",
      true},
     beyondHalf},
    {{"outliers", Severity::Note,
      "One weight more than 20 standard deviations out stretches the range of all that share its scale. Small groups keep the "
      "damage local.",
      true},
     outliers},
}};

constexpr auto publicTable = [] {
  std::array<LintRule, table.size()> rules{};
  for (std::size_t i = 0; i < rules.size(); ++i) rules[i] = table[i].about;
  return rules;
}();

Finding finding(const LintRule& rule, const std::string& tensor, std::string what) {
  return {rule.severity, tensor, std::move(what), std::string(rule.id)};
}

// Which type three quarters of at least four tensors have; none: a mixture that is meant.
class TypeCounts {
 public:
  void add(DType type) {
    ++m_counts[type];
    ++m_total;
  }
  [[nodiscard]] std::optional<DType> usual() const {
    for (const auto& [type, number] : m_counts)
      if (m_total >= 4 && number * 4 >= m_total * 3) return type;
    return std::nullopt;
  }

 private:
  std::map<DType, std::uint64_t> m_counts;
  std::uint64_t m_total = 0;
};

bool isMatrix(const TensorEntry& entry) { return entry.shape.size() >= 2; }

// Rows are left at their first weight that is not 0, so that a matrix is hardly read.
Status findZeroRows(const Context& context, Facts& facts) {
  const Tensor& tensor = facts.tensor;
  const std::uint64_t columns = tensor.columns();
  constexpr std::uint64_t look = 256;
  std::vector<std::uint8_t> isZero(tensor.rows());
  const std::uint64_t grain = std::max<std::uint64_t>(1, (std::uint64_t{1} << 16) / columns);
  NIBBLE_TRY(forEachPiece(tensor.rows(), grain, 0, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    std::array<float, look> values;
    for (std::uint64_t row = begin; row < end; ++row) {
      isZero[row] = 1;
      for (std::uint64_t column = 0; column < columns && isZero[row] != 0; column += look) {
        const std::span<float> part(values.data(), std::min(look, columns - column));
        NIBBLE_TRY(tensor.read(row * columns + column, part));
        if (std::any_of(part.begin(), part.end(), [](float value) { return value != 0.0f; })) isZero[row] = 0;
      }
    }
    return {};
  }));
  facts.zeroRows = static_cast<std::uint64_t>(std::count(isZero.begin(), isZero.end(), 1));
  facts.firstZeroRow = static_cast<std::uint64_t>(std::find(isZero.begin(), isZero.end(), 1) - isZero.begin());
  return {};
}

}  // namespace

std::string_view name(Severity severity) { return severity == Severity::Warning ? "warning" : "note"; }

std::span<const LintRule> lintRules() { return publicTable; }

const LintRule* findLintRule(std::string_view id) {
  const auto found = std::find_if(publicTable.begin(), publicTable.end(), [&](const LintRule& rule) { return rule.id == id; });
  return found == publicTable.end() ? nullptr : &*found;
}

std::vector<Finding> lintHeaders(std::span<const TensorEntry> entries) {
  std::array<TypeCounts, 2> kinds;
  for (const TensorEntry& entry : entries)
    if (info(entry.type).floating) kinds[isMatrix(entry) ? 1 : 0].add(entry.type);
  const std::array<std::optional<DType>, 2> usual{kinds[0].usual(), kinds[1].usual()};
  std::vector<Finding> findings;
  for (const TensorEntry& entry : entries) {
    if (elementCount(entry.shape) == 0)
      findings.push_back(finding(*findLintRule("empty"), entry.name, "no elements (" + toText(entry.shape) + ")"));
    const auto expected = usual[isMatrix(entry) ? 1 : 0];
    if (!info(entry.type).floating || !expected || *expected == entry.type) continue;
    findings.push_back(finding(*findLintRule("odd-dtype"), entry.name,
                               std::string(info(entry.type).name) + ", where nearly all " + (isMatrix(entry) ? "matrices" : "vectors") +
                                   " are " + std::string(info(*expected).name)));
  }
  return findings;
}

Result<std::vector<Finding>> lintValues(const Tensor& tensor, const Context& context) {
  std::vector<Finding> findings;
  if (!info(tensor.type()).floating || tensor.size() == 0) return findings;
  const auto figures = tensorStatistics(tensor, context);
  if (!figures) return fail(figures.error());
  Facts facts{tensor, *figures};
  if (facts.isMatrix() && figures->zeros >= tensor.columns()) NIBBLE_TRY(findZeroRows(context, facts));
  for (const Rule& rule : table)
    if (rule.says != nullptr)
      if (auto what = rule.says(facts)) findings.push_back(finding(rule.about, tensor.name(), *std::move(what)));
  return findings;
}

}  // namespace nibble
