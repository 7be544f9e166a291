// SPDX-License-Identifier: GPL-3.0-or-later
// The session's candidates as the Compare page shows them: rows of the table, series of the overlay, points of the Pareto plot.
#pragma once
#include "core/run/choice.h"
#include "ui/models/candidate_model.h"
#include "ui/plots/overlay_histogram_plot.h"
#include "ui/plots/pareto_plot.h"

namespace nibble {

class Session;

// "hqq 4", "nf4 nested": a choice on a plot.
QString shortLabel(const Choice& choice);

std::vector<CandidateRow> candidateRows(Session& session);
std::vector<OverlaySeries> overlaySeries(Session& session);                        // of the ticked ones that are known
ParetoData paretoData(Session& session, std::vector<int>& sources);                // `sources`: candidate of each point

}  // namespace nibble
