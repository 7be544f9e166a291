// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/ui/support/gui_driver.h"

#include "tests/ui/support/watched_application.h"

#include <QAbstractItemView>
#include <QApplication>
#include <QClipboard>
#include <QComboBox>
#include <QDragEnterEvent>
#include <QDropEvent>
#include <QFileDialog>
#include <QLineEdit>
#include <QMenu>
#include <QMenuBar>
#include <QMimeData>
#include <QTest>
#include <QTimer>
#include <QUrl>
#include <QWheelEvent>

namespace nibble::test {
namespace {

bool failed(const QString& why) {
  QTest::qFail(qPrintable(why), __FILE__, __LINE__);
  return false;
}

QPoint placeIn(const QWidget* widget, QPoint position) { return position.x() < 0 ? widget->rect().center() : position; }

// The widget a person would hit there, or null with a failure: hidden, disabled, or something else lies over it.
QWidget* reachable(const QString& objectName, QPoint position) {
  QWidget* widget = waitFor(objectName);
  if (widget == nullptr) return nullptr;
  if (!widget->isEnabled()) {
    failed(objectName + " is disabled");
    return nullptr;
  }
  const QPoint place = placeIn(widget, position);
  QWidget* hit = widget->window()->childAt(widget->mapTo(widget->window(), place));
  for (const QWidget* above = hit; above != nullptr; above = above->parentWidget())
    if (above == widget) return hit;
  if (widget == widget->window() && hit == nullptr) return widget;
  failed(QStringLiteral("%1 cannot be reached at (%2, %3)").arg(objectName).arg(place.x()).arg(place.y()));
  return nullptr;
}

QString plain(QString text) {
  text.remove('&');
  while (text.endsWith('.') || text.endsWith(QChar(0x2026))) text.chop(1);
  return text;
}

QAction* actionNamed(const QList<QAction*>& actions, const QString& name) {
  for (QAction* action : actions)
    if (plain(action->text()) == plain(name) && action->isVisible()) return action;
  return nullptr;
}

QAbstractItemView* viewNamed(const QString& viewName) {
  auto* view = qobject_cast<QAbstractItemView*>(waitFor(viewName));
  if (view == nullptr) failed(viewName + " is no item view");
  return view;
}

void visitRows(const QAbstractItemModel& model, const QModelIndex& parent, const std::function<void(const QModelIndex&)>& visit) {
  for (int row = 0; row < model.rowCount(parent); ++row) {
    const QModelIndex index = model.index(row, 0, parent);
    visit(index);
    visitRows(model, index, visit);
  }
}

QString rowText(const QModelIndex& first) {
  QStringList cells;
  for (int column = 0; column < first.model()->columnCount(first.parent()); ++column)
    cells << first.siblingAtColumn(column).data().toString();
  return cells.join('\t');
}

}  // namespace

QWidget* findVisible(const QString& objectName) {
  for (QWidget* window : QApplication::topLevelWidgets()) {
    if (!window->isVisible()) continue;
    if (window->objectName() == objectName) return window;
    for (QWidget* widget : window->findChildren<QWidget*>(objectName))
      if (widget->isVisible()) return widget;
  }
  return nullptr;
}

bool waitUntil(const std::function<bool()>& condition, int milliseconds) { return QTest::qWaitFor(condition, milliseconds); }

QWidget* waitFor(const QString& objectName, int milliseconds) {
  QWidget* widget = nullptr;
  if (!waitUntil([&] { return (widget = findVisible(objectName)) != nullptr; }, milliseconds)) failed("no visible widget " + objectName);
  return widget;
}

bool click(const QString& objectName, QPoint position, Qt::KeyboardModifiers modifiers) {
  QWidget* hit = reachable(objectName, position);
  if (hit == nullptr) return false;
  QWidget* widget = findVisible(objectName);
  QTest::mouseClick(hit, Qt::LeftButton, modifiers, hit->mapFrom(widget, placeIn(widget, position)));
  return true;
}

bool doubleClick(const QString& objectName, QPoint position) {
  if (!click(objectName, position)) return false;
  QWidget* hit = reachable(objectName, position);
  if (hit == nullptr) return false;
  QWidget* widget = findVisible(objectName);
  QTest::mouseDClick(hit, Qt::LeftButton, {}, hit->mapFrom(widget, placeIn(widget, position)));
  return true;
}

bool drag(const QString& objectName, QPoint from, QPoint to, int steps) {
  QWidget* hit = reachable(objectName, from);
  if (hit == nullptr) return false;
  QWidget* widget = findVisible(objectName);
  QTest::mousePress(hit, Qt::LeftButton, {}, hit->mapFrom(widget, from));
  for (int step = 1; step <= steps; ++step) {
    const QPoint place = from + (to - from) * step / steps;
    QTest::mouseMove(hit, hit->mapFrom(widget, place));
    QTest::qWait(5);
  }
  QTest::mouseRelease(hit, Qt::LeftButton, {}, hit->mapFrom(widget, to));
  return true;
}

bool wheel(const QString& objectName, QPoint position, int notches) {
  QWidget* hit = reachable(objectName, position);
  if (hit == nullptr) return false;
  const QPoint place = hit->mapFrom(findVisible(objectName), position);
  QWheelEvent event(place, hit->mapToGlobal(QPointF(place)), {}, {0, 120 * notches}, Qt::NoButton, {}, Qt::NoScrollPhase, false);
  QApplication::sendEvent(hit, &event);
  return true;
}

bool hover(const QString& objectName, QPoint position) {
  QWidget* hit = reachable(objectName, position);
  if (hit == nullptr) return false;
  QTest::mouseMove(hit, hit->mapFrom(findVisible(objectName), position));
  return true;
}

bool typeInto(const QString& objectName, const QString& text, bool enter) {
  if (!click(objectName)) return false;
  QWidget* focus = QApplication::focusWidget();
  if (focus == nullptr) return failed(objectName + " takes no focus");
  QTest::keyClick(focus, Qt::Key_A, Qt::ControlModifier);
  if (text.isEmpty()) QTest::keyClick(focus, Qt::Key_Delete);
  QTest::keyClicks(focus, text);
  if (enter) QTest::keyClick(focus, Qt::Key_Return);
  return true;
}

void press(Qt::Key key, Qt::KeyboardModifiers modifiers) {
  QWidget* target = QApplication::activePopupWidget();
  if (target == nullptr) target = QApplication::focusWidget();
  if (target == nullptr) target = QApplication::activeWindow();
  if (target == nullptr) {
    failed("nothing has the focus");
    return;
  }
  QTest::keyClick(target, key, modifiers);
}

bool chooseMenu(const QStringList& path) {
  QMenuBar* bar = nullptr;
  for (QWidget* window : QApplication::topLevelWidgets())
    if (window->isVisible() && (bar = window->findChild<QMenuBar*>()) != nullptr) break;
  if (bar == nullptr) return failed("there is no menu bar");
  QAction* action = actionNamed(bar->actions(), path.first());
  if (action == nullptr) return failed("no menu " + path.first());
  QTest::mouseClick(bar, Qt::LeftButton, {}, bar->actionGeometry(action).center());
  for (const QString& entry : path.mid(1)) {
    QMenu* menu = action->menu();
    if (menu == nullptr || !waitUntil([&] { return menu->isVisible(); })) return failed("the menu of " + entry + " did not open");
    action = actionNamed(menu->actions(), entry);
    if (action == nullptr) return failed("no menu entry " + entry);
    if (!action->isEnabled()) return failed("the menu entry " + entry + " is disabled");
    QTest::mouseClick(menu, Qt::LeftButton, {}, menu->actionGeometry(action).center());
  }
  return true;
}

bool chooseItem(const QString& comboName, const QString& text) {
  auto* combo = qobject_cast<QComboBox*>(waitFor(comboName));
  if (combo == nullptr) return failed(comboName + " is no combo box");
  const int row = combo->findText(text);
  if (row < 0) return failed(comboName + " has no item " + text);
  if (!click(comboName)) return false;
  QAbstractItemView* list = combo->view();
  if (!waitUntil([&] { return list->isVisible(); })) return failed(comboName + " did not open");
  const QModelIndex index = list->model()->index(row, combo->modelColumn());
  list->scrollTo(index, QAbstractItemView::PositionAtCenter);
  QTest::qWait(QApplication::doubleClickInterval() + 20);  // a popup ignores a release that may belong to the click that opened it
  QTest::mouseMove(list->viewport(), list->visualRect(index).center());
  QTest::mouseClick(list->viewport(), Qt::LeftButton, {}, list->visualRect(index).center());
  return waitUntil([&] { return combo->currentText() == text; }) || failed(comboName + " did not take " + text + " but shows " + combo->currentText());
}

bool clickRow(const QString& viewName, const QString& text, bool checkBox) {
  QAbstractItemView* view = viewNamed(viewName);
  if (view == nullptr) return false;
  QModelIndex found;
  visitRows(*view->model(), {}, [&](const QModelIndex& index) {
    if (!found.isValid() && rowText(index).contains(text)) found = index;
  });
  if (!found.isValid()) return failed(viewName + " has no row " + text);
  view->scrollTo(found);
  const QRect cell = view->visualRect(checkBox ? found : found.siblingAtColumn(0));
  if (!cell.isValid()) return failed("row " + text + " of " + viewName + " cannot be seen");
  const QPoint place = checkBox ? QPoint(cell.left() + 12, cell.center().y()) : QPoint(cell.left() + cell.width() / 2, cell.center().y());
  QTest::mouseClick(view->viewport(), Qt::LeftButton, {}, place);
  return true;
}

bool withFileDialog(const QString& path, const std::function<void()>& open) {
  bool answered = false;
  int polls = 0;
  QTimer poll;
  QObject::connect(&poll, &QTimer::timeout, &poll, [&] {
    auto* dialog = qobject_cast<QFileDialog*>(QApplication::activeModalWidget());
    if (dialog == nullptr || !dialog->isVisible()) return;
    auto* edit = dialog->findChild<QLineEdit*>("fileNameEdit");
    if (edit == nullptr || polls++ % 15 != 0) return;  // a folder still being listed may swallow the first Return: again after a while
    answered = true;
    // Pasted: while a path is typed, the dialog selects each folder it passes, and with several rows selected it disables Save.
    auto* pasted = new QMimeData;
    pasted->setData("text/plain", path.toUtf8());
    QGuiApplication::clipboard()->setMimeData(pasted);
    QTest::keyClick(edit, Qt::Key_A, Qt::ControlModifier);
    QTest::keyClick(edit, Qt::Key_V, Qt::ControlModifier);
    QTest::keyClick(edit, Qt::Key_Return);
  });
  poll.start(50);
  open();
  const bool closed = waitUntil([&] { return answered && QApplication::activeModalWidget() == nullptr; });
  returnFocusToWindow();
  return closed || failed("no file dialog took " + path);
}

bool dropPath(const QString& objectName, const QString& path) {
  QWidget* hit = reachable(objectName, {-1, -1});
  if (hit == nullptr) return false;
  while (hit != nullptr && !hit->acceptDrops()) hit = hit->parentWidget();
  if (hit == nullptr) return failed("nothing at " + objectName + " takes drops");
  QMimeData data;
  data.setUrls({QUrl::fromLocalFile(path)});
  const QPoint place = hit->rect().center();
  QDragEnterEvent enter(place, Qt::CopyAction, &data, Qt::LeftButton, {});
  QApplication::sendEvent(hit, &enter);
  if (!enter.isAccepted()) return failed(objectName + " refuses the drop");
  QDropEvent drop(place, Qt::CopyAction, &data, Qt::LeftButton, {});
  QApplication::sendEvent(hit, &drop);
  return true;
}

QImage picture(const QString& objectName) {
  QWidget* widget = waitFor(objectName);
  return widget == nullptr ? QImage() : widget->grab().toImage();
}

QStringList rowsOf(const QString& viewName) {
  QStringList rows;
  if (const QAbstractItemView* view = viewNamed(viewName))
    visitRows(*view->model(), {}, [&](const QModelIndex& index) { rows << rowText(index); });
  return rows;
}

}  // namespace nibble::test
