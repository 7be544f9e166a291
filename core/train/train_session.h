// SPDX-License-Identifier: GPL-3.0-or-later
// Training as a session keeps it, so that the window and the command line make the same run of it: options of train_options.h
// under "train.KEY" among the session's view options, the base from its scheme, several tensors under "selection". Pure.
#pragma once
#include "core/run/session_file.h"
#include "core/train/stepper.h"

#include <map>
#include <string>
#include <vector>

namespace nibble::train {

using ViewOptions = std::map<std::string, std::string>;

// `scheme` is the base where the method quantizes one; `asStored`: the tensor is a packed layer that is taken as it is. A text
// that is no value counts as not given.
TrainSettings sessionSettings(const ViewOptions& view, const std::string& scheme, bool asStored);
Breakpoints sessionBreakpoints(const ViewOptions& view);
// What trains: the session's tensor, or the selected ones where the method trains several. `isMatrix` leaves others out.
std::vector<std::string> sessionTensors(const std::string& methodId, const std::string& tensor,
                                        const std::vector<std::string>& selection,
                                        const std::function<bool(const std::string&)>& isMatrix);
// The run a saved session holds. Errors: no tensor.
Result<TrainJob> sessionJob(const SessionFile& session, const WeightList& weights);

}  // namespace nibble::train
