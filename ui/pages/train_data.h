// SPDX-License-Identifier: GPL-3.0-or-later
// What the Train page shows, from a snapshot of the runs: curves, the table's rows, names and colours, and the warning when an
// update is lost to rounding. Pure functions. Colours: a run over a quantized base has its scheme family's, float bases the
// text's; a parameter has one of its own, which is no family's.
#pragma once
#include "ui/models/run_model.h"
#include "ui/plots/curve_plot.h"
#include "ui/session/trainer.h"
#include "ui/theme/theme.h"

namespace nibble {

QString methodTitle(std::string_view id);  // "qdora": "QDoRA"
QString runTitle(const RunView& run);      // "QDoRA", "QDoRA f32"
QString settingsTitle(const train::TrainSettings& settings);  // "rank 16   AdamW 0.001   f32"
QColor runColour(const Theme& theme, const TrainSnapshot& snapshot, std::size_t run);
Family familyOf(const RunView& run);  // of its base; else that of learned widths
QColor parameterColour(const Theme& theme, const std::string& name);
QString parameterTitle(const std::string& name);  // "magnitude": "m"

struct TrainCurves {
  CurveData loss, gradient;
  CurveData plane;     // magnitude against direction; where bits learn, size over the steps; of packed weights, codes that changed
  CurveData moved;
  CurveData bits{};    // least, mean and most bits over the steps, or each tensor's mean; empty: none learn
};
// `tensor` is the current one, where several train.
TrainCurves trainCurves(const TrainSnapshot& snapshot, const Theme& theme, std::uint64_t steps, const std::string& tensor = {});
std::vector<RunRow> runRows(const TrainSnapshot& snapshot, const Theme& theme);

// Where lambda is on its slider, 0..lambdaSteps: 0, then 1e-4 to 10 in equal ratios.
inline constexpr int lambdaSteps = 100;
double lambdaAt(int place);
int placeOfLambda(double lambda);

// The first parameter most of whose updates were too small for its type, or for its codes, in the last step.
struct LostUpdates {
  QString lead, text;          // "m does not move", and how that comes
  QString action, actionHelp;  // what helps: setting the option `key` to `value`
  std::string key, value;
};
std::optional<LostUpdates> lostUpdates(const TrainSnapshot& snapshot);

}  // namespace nibble
