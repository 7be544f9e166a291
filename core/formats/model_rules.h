// SPDX-License-Identifier: GPL-3.0-or-later
// Pre-flight rules that concern a model as a whole, whatever the packed format: layers that a runtime fuses, embeddings that
// are tied, splits over several cards. One table; each rule with its source. Advice is what no runtime insists on (never
// asked): it says what will be slow or impossible later.
#pragma once
#include "core/formats/format.h"

#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct ModelFacts {
  std::string config;                  // config.json as text; may be empty
  std::vector<std::string> leftAlone;  // matrices of the model that stay as they are
  int cards = 1;                       // that the model is to be split over (tensor parallel)
};

std::vector<RuleResult> modelRules(std::string_view runtime, const std::vector<ExportLayer>& layers, const ModelFacts& facts);
std::vector<RuleResult> modelAdvice(const std::vector<ExportLayer>& layers, const ModelFacts& facts);

}  // namespace nibble
