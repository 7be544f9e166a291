// SPDX-License-Identifier: GPL-3.0-or-later
// A session's state as a session file and back; the checkpoint itself is opened by the caller. Also the state as a command line
// that repeats it.
#pragma once
#include "core/run/session_file.h"
#include "ui/session/session_state.h"

#include <QString>

namespace nibble {

SessionFile writeSession(const SessionState& state);
// Fills everything but `file`; refuses choices that this program does not know.
Status readSession(const SessionFile& file, SessionState& state);

QString compareCommand(const SessionState& state);  // of what the Compare page shows: schemes, or two files
QString diffCommand(const SessionState& state);
// Of the layer with inputs from a file; empty: inputs are drawn, which the command line does not do.
QString linearCommand(const SessionState& state);
QString inspectCommand(const SessionState& state, const Cell& cell);
// Whether what is not quantized goes along: asked for, and the format has a place for it (an .npz holds quantized tensors only).
bool copiesRest(const ExportSettings& settings);
QString exportCommand(const SessionState& state);

}  // namespace nibble
