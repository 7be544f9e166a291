// SPDX-License-Identifier: GPL-3.0-or-later
// Pre-flight rules as a table: what a loader asks for, which loaders ask for it, where it stands, and a check over the layers
// that are to be written.
#pragma once
#include "core/formats/format.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::formats {

struct Verdict {
  bool ok = false;
  std::string detail;
};

struct Rule {
  std::string_view text;
  std::vector<std::string_view> runtimes;  // that ask for it; empty: the format itself does
  std::string_view source;
  Verdict (*check)(const std::vector<ExportLayer>& layers) = nullptr;
};

std::vector<RuleResult> apply(std::span<const Rule> rules, std::string_view runtime, const std::vector<ExportLayer>& layers);

// "4" or "4 and 8": the distinct values over the layers, in order of appearance.
std::string distinct(const std::vector<ExportLayer>& layers, std::string (*value)(const ExportLayer&));
// All layers give the same text.
Verdict sameOverLayers(const std::vector<ExportLayer>& layers, std::string (*value)(const ExportLayer&));
// ok when `refusal` finds nothing; else the first layer it refuses, with the reason.
Verdict noneRefused(const std::vector<ExportLayer>& layers, std::optional<std::string> (*refusal)(const ExportLayer&),
                    std::string detailWhenOk);

// Rules that several formats share.
Verdict namesEndInWeight(const std::vector<ExportLayer>& layers);
Verdict twoDimensional(const std::vector<ExportLayer>& layers);

}  // namespace nibble::formats
