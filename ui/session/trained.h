// SPDX-License-Identifier: GPL-3.0-or-later
// What training wrote, taken on: its weights are opened in place of the checkpoint, with the learned choice, on Compare or Export.
#pragma once
#include "ui/session/session_state.h"

#include <QString>

namespace nibble {

class Session;

// The folder is one that Trainer wrote. Where a recipe lies in it, the current tensor's learned choice is chosen and becomes a
// candidate; on Export the trained tensors are what is exported. Problems are the session's.
void openTrained(Session& session, const QString& folder, Page page);

}  // namespace nibble
