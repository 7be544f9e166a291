// SPDX-License-Identifier: GPL-3.0-or-later
// The choices that are offered before a person has chosen: the only place in the window that knows schemes by name.
#pragma once
#include "core/run/choice.h"

#include <optional>
#include <vector>

namespace nibble {

// What the scheme dock starts with; none where no scheme is built in.
std::optional<Choice> firstChoice();
// The same scheme at so many bits, for the start page's preview.
Result<Choice> previewChoice(int bits);
// A spread of sizes, then every other scheme but plain floats with its defaults: what a report compares when nothing is named.
std::vector<Choice> reportChoices();
// What the activations view sets beside the chosen weights, and what it does to the layer's inputs.
std::vector<Choice> layerWeightChoices();
std::vector<Choice> layerInputChoices();

}  // namespace nibble
