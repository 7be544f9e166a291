// SPDX-License-Identifier: GPL-3.0-or-later
// `nibblescope report PATH [SCHEME...] --out DIR`: the window without a display. Writes a picture of each page in light and dark, the
// numbers as JSON and a page that shows both; says on standard output where. Exit status as of the command line: 0 done, 1 the input
// is wrong, 2 the arguments are. Needs an application; runs its event loop.
#pragma once
#include <QStringList>

namespace nibble {

int reportCommand(const QStringList& arguments);

}  // namespace nibble
