// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/theme/focus_outline.h"

#include "ui/theme/mnemonic_style.h"
#include "ui/theme/theme.h"

#include <QAbstractItemView>
#include <QApplication>
#include <QMainWindow>
#include <QPainter>

namespace nibble {
namespace {

class AccentFrame : public QFocusFrame {
 public:
  using QFocusFrame::QFocusFrame;

 protected:
  void paintEvent(QPaintEvent* /*event*/) override {
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(themeOf(this).accent, 2));
    painter.drawRoundedRect(QRectF(rect()).adjusted(1, 1, -1, -1), sizes::radius, sizes::radius);
  }
};

// Lists, tables and pages show their current row; a frame around half the window says nothing more.
bool wantsFrame(const QWidget* widget) {
  return widget != nullptr && widget->parentWidget() != nullptr && !qobject_cast<const QAbstractItemView*>(widget) &&
         !qobject_cast<const QMainWindow*>(widget) && !widget->isWindow();
}

}  // namespace

FocusOutline::FocusOutline(QApplication* application) : QObject(application) {
  setObjectName(QStringLiteral("focusOutline"));
  connect(application, &QApplication::focusChanged, this, [this](QWidget* /*old*/, QWidget* now) { follow(now); });
}

FocusOutline::~FocusOutline() {
  delete m_frame;
}

void FocusOutline::follow(QWidget* now) {
  if (!wantsFrame(now)) {
    if (m_frame) m_frame->setWidget(nullptr);
    return;
  }
  // A frame belongs to one window; another window needs a new one.
  if (m_frame && m_frame->window() != now->window()) delete m_frame;
  if (!m_frame) m_frame = new AccentFrame(now->window());
  m_frame->setWidget(now);
}

void applyTheme(QApplication& application, bool dark) {
  const Theme& theme = themeFor(dark);
  if (application.findChild<MnemonicStyle*>({}, Qt::FindDirectChildrenOnly) == nullptr) application.setStyle(new MnemonicStyle);
  QApplication::setFont(fonts::body());
  QApplication::setPalette(paletteFor(theme));
  application.setStyleSheet(styleSheetFor(theme, fonts::body()));
  if (application.findChild<FocusOutline*>(QStringLiteral("focusOutline")) == nullptr) new FocusOutline(&application);
}

}  // namespace nibble
