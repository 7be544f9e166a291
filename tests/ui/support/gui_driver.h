// SPDX-License-Identifier: GPL-3.0-or-later
// A person's hands for GUI tests: finds widgets by object name and sends them mouse, key, wheel and drop events, nothing else.
// A widget that is not there, hidden, disabled or covered fails the test, as it would stop a person. GUI thread only.
#pragma once
#include <QImage>
#include <QPoint>
#include <QString>
#include <QStringList>
#include <QWidget>
#include <functional>

namespace nibble::test {

// The visible widget of that name in any top-level window; null when there is none.
QWidget* findVisible(const QString& objectName);
// Waits until the widget is there, at most `milliseconds`; fails the test and returns null otherwise.
QWidget* waitFor(const QString& objectName, int milliseconds = 5000);
// Pumps events until the condition holds.
bool waitUntil(const std::function<bool()>& condition, int milliseconds = 10000);

// Each returns false, with a test failure, where a person could not have done it. Positions are in the widget; the default is
// its middle.
bool click(const QString& objectName, QPoint position = {-1, -1}, Qt::KeyboardModifiers modifiers = {});
bool doubleClick(const QString& objectName, QPoint position = {-1, -1});
bool drag(const QString& objectName, QPoint from, QPoint to, int steps = 8);
bool wheel(const QString& objectName, QPoint position, int notches);
bool hover(const QString& objectName, QPoint position);
// Clicks the widget for the focus, selects what it holds and types over it.
bool typeInto(const QString& objectName, const QString& text, bool enter = true);
// A key to whatever has the focus.
void press(Qt::Key key, Qt::KeyboardModifiers modifiers = {});
// Opens menus by clicking through them: {"File", "Save session as..."}; ampersands and trailing dots are ignored.
bool chooseMenu(const QStringList& path);
// Chooses an item of a combo box by its text, with the mouse.
bool chooseItem(const QString& comboName, const QString& text);
// The row whose first columns contain the text is clicked in an item view; the checkbox of the row when `checkBox`.
bool clickRow(const QString& viewName, const QString& text, bool checkBox = false);
// Types the path into the file dialog that `open` makes appear, and accepts it.
bool withFileDialog(const QString& path, const std::function<void()>& open);
// Drops a file or folder on the widget, as a file manager would.
bool dropPath(const QString& objectName, const QString& path);

// What the widget looks like now.
QImage picture(const QString& objectName);
// The texts of a view's cells, row by row, columns separated by tabs.
QStringList rowsOf(const QString& viewName);

}  // namespace nibble::test
