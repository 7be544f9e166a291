// SPDX-License-Identifier: GPL-3.0-or-later
// What a person should know about a checkpoint before quantizing it. Two tables of rules: those that need names, types and
// shapes only (cheap: run on every open file), and those that look at the values of one tensor. Findings come in the order of
// the tensors, then of the rules; what concerns the file as a whole comes last. Errors of the value lint: cancelled, a file
// that shrank.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/formats/format.h"
#include "core/io/checkpoint.h"
#include "core/tensor/tensor.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

enum class Severity : std::uint8_t { Note, Warning };
std::string_view name(Severity severity);  // "note", "warning"

struct Finding {
  Severity severity = Severity::Note;
  std::string tensor;  // empty: the file as a whole
  std::string what;    // one line: "3 weights are NaN or infinite, the first at [0, 17]"
  std::string rule;    // id of the rule
  bool operator==(const Finding&) const = default;
};

struct LintRule {
  std::string_view id;  // "non-finite"
  Severity severity = Severity::Note;
  std::string_view explanation;  // what it means and what to do: a tooltip
  bool readsValues = false;
};
std::span<const LintRule> lintRules();
const LintRule* findLintRule(std::string_view id);

// Reads no values.
std::vector<Finding> lintHeaders(std::span<const TensorEntry> entries);
// Packed layers that can be read in two ways, one finding for each reason.
std::vector<Finding> lintReadings(std::span<const DetectedLayer> layers);
// Reads all values of one tensor.
Result<std::vector<Finding>> lintValues(const Tensor& tensor, const Context& context);

}  // namespace nibble
