// SPDX-License-Identifier: GPL-3.0-or-later
// The real window with settings of its own in a temporary folder, as main() builds it, and the watched application around a
// GUI test. GUI tests hold one; everything else they do goes through events (gui_driver.h).
#pragma once
#include "tests/ui/support/gui_driver.h"
#include "tests/ui/support/watched_application.h"

#include <QTemporaryDir>
#include <QTest>
#include <memory>

namespace nibble::test {

class TestWindow {
 public:
  // `argument` is what a person would put on the command line; `size` is the window's.
  explicit TestWindow(const QString& argument = {}, QSize size = {1440, 900});
  ~TestWindow();
  [[nodiscard]] QString folder() const { return m_folder.path(); }
  [[nodiscard]] QString file(const QString& name) const { return m_folder.filePath(name); }

 private:
  struct Parts;
  QTemporaryDir m_folder;
  std::unique_ptr<Parts> m_parts;
};

QString sampleFile();  // the bundled checkpoint

// Runs a GUI test object in a watched application; a stall of the event loop fails it.
template <class Test>
int runGuiTest(int argc, char** argv) {
  WatchedApplication application(argc, argv);
  QApplication::setApplicationName("nibblescope-test");
  QApplication::setAttribute(Qt::AA_DontUseNativeDialogs);
  QApplication::setDoubleClickInterval(50);
  Test test;
  return QTest::qExec(&test, argc, argv);
}

WatchedApplication& watchedApplication();

}  // namespace nibble::test
