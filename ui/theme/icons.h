// SPDX-License-Identifier: GPL-3.0-or-later
// Icons of the window: 16 px line drawings in the resource, drawn in a colour token of the current application palette each
// time they are painted, so one QIcon serves light and dark and follows a change. Disabled icons take text3. GUI thread. Names:
// explore compare model train export open-file open-folder sample search filter undo redo add vary copy save image play pause
// step step-back reset cancel pass fail not-asked warning note pin tie free waiting chevron-down chevron-right close.
#pragma once
#include "ui/theme/theme.h"

#include <QIcon>
#include <QStringList>

namespace nibble {

QIcon icon(const QString& name, QColor Theme::*token = &Theme::text);
// For painters: the drawing at the device's scale.
void drawIcon(QPainter& painter, const QRect& rect, const QString& name, const QColor& colour);
QStringList iconNames();

}  // namespace nibble
