// SPDX-License-Identifier: GPL-3.0-or-later
// The pre-flight table of one format over all its loaders. Off the GUI thread; layers are quantized one after the other, at most
// `mostWeights` weights of them (one of each shape first), so that a large model answers soon; the export checks every layer.
#pragma once
#include "ui/session/exporter.h"

namespace nibble {

Result<Preflight> preflightTable(const OpenedFile& file, const std::vector<std::string>& tensors, const std::optional<Choice>& choice,
                                 const Format& format, const Context& context, std::uint64_t mostWeights = 64u << 20);

}  // namespace nibble
