// SPDX-License-Identifier: GPL-3.0-or-later
// What an export did, as JSON and as text for people. Rules that the chosen runtime does not ask for are left out.
#pragma once
#include "core/export/export.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace nibble::cli {

nlohmann::ordered_json exportJson(const ExportResult& result);
std::string exportText(const ExportResult& result, bool dryRun);
// Whether every check that was asked for passed: the pre-flight, and the round-trip proof unless it was turned off.
bool exportPassed(const ExportJob& job, const ExportResult& result);

}  // namespace nibble::cli
