// SPDX-License-Identifier: GPL-3.0-or-later
// The session's export as rows of the page's two tables.
#pragma once
#include "ui/models/export_model.h"
#include "ui/models/preflight_model.h"

namespace nibble {

class Session;
struct Preflight;

std::vector<RuleRow> ruleRows(const Preflight& table);
// Layers to export or exported; `prefix` gets what all their names begin with.
std::vector<ExportRow> exportRows(Session& session, QString& prefix);

}  // namespace nibble
