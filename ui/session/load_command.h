// SPDX-License-Identifier: GPL-3.0-or-later
// One line that loads an exported folder or file in a runtime, for the clipboard.
#pragma once
#include <QString>

namespace nibble {

QString loadCommand(const QString& runtime, const QString& path);

}  // namespace nibble
