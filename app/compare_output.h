// SPDX-License-Identifier: GPL-3.0-or-later
// Compared candidates as text: the JSON document, delimited columns, a table for people. Numbers in JSON and columns read back
// to the same value; an infinite SQNR (exact reconstruction) is null in JSON, which has no infinity, and "inf" elsewhere.
#pragma once
#include "core/run/compare.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace nibble::cli {

nlohmann::ordered_json compareJson(const std::string& path, std::string_view backend,
                                   const std::vector<ComparedCandidate>& candidates);
std::string compareColumns(const std::vector<ComparedCandidate>& candidates, char separator);
std::string compareTable(const std::vector<ComparedCandidate>& candidates);

}  // namespace nibble::cli
