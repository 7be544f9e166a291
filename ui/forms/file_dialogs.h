// SPDX-License-Identifier: GPL-3.0-or-later
// File dialogs that do not stop the event loop: the answer arrives through a function, or never when the dialog was left.
#pragma once
#include <QString>
#include <functional>

class QWidget;

namespace nibble {

using PathTaken = std::function<void(const QString& path)>;

QString weightFilter();  // of dialogs that open weights
void askOpenFile(QWidget* parent, const QString& title, const QString& filter, PathTaken taken);
void askFolder(QWidget* parent, const QString& title, PathTaken taken);
void askSaveFile(QWidget* parent, const QString& title, const QString& suggested, const QString& filter, PathTaken taken);

}  // namespace nibble
