// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/ui/support/window_under_test.h"

#include "tests/support/golden.h"
#include "ui/main_window.h"
#include "ui/session/deferred_settings.h"
#include "ui/session/session.h"

#include <QFile>

namespace nibble::test {

struct TestWindow::Parts {
  explicit Parts(const QString& settingsFile) : settings(settingsFile, QSettings::IniFormat), window(session, settings) {}
  DeferredSettings settings;
  Session session;
  MainWindow window;
};

TestWindow::TestWindow(const QString& argument, QSize size) : m_parts(std::make_unique<Parts>(m_folder.filePath("settings.ini"))) {
  m_parts->window.resize(size);
  m_parts->window.show();
  m_parts->window.activateWindow();
  if (!QTest::qWaitForWindowActive(&m_parts->window)) QTest::qFail("the window did not become active", __FILE__, __LINE__);
  if (!argument.isEmpty()) m_parts->window.open(argument);
}

TestWindow::~TestWindow() = default;

QString sampleFile() { return QString::fromStdString(resourcePath("sample/minilm-sample.safetensors").string()); }

QByteArray fileBytes(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

void writeFile(const QString& path, const QByteArray& bytes) {
  QFile file(path);
  if (!file.open(QIODevice::WriteOnly) || file.write(bytes) != bytes.size()) QTest::qFail(qPrintable("cannot write " + path), __FILE__, __LINE__);
}

WatchedApplication& watchedApplication() { return *static_cast<WatchedApplication*>(qApp); }

}  // namespace nibble::test
