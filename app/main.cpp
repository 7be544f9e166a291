// SPDX-License-Identifier: GPL-3.0-or-later
// nibblescope: the window, and the offscreen report.
#include "ui/main_window.h"
#include "ui/report/report.h"
#include "ui/session/deferred_settings.h"
#include "ui/session/session.h"

#include <QApplication>
#include <QCommandLineParser>
#include <algorithm>
#include <string_view>

namespace {

bool wantsReport(int argc, char** argv) { return argc > 1 && std::string_view(argv[1]) == "report"; }

// These need no display.
bool wantsText(int argc, char** argv) {
  return std::any_of(argv + 1, argv + argc, [](std::string_view word) { return word == "--help" || word == "-h" || word == "--version" || word == "-v"; });
}

int runWindow(QApplication& application) {
  QCommandLineParser parser;
  parser.setApplicationDescription(QObject::tr("See what quantization does to your weights.\n\n"
                                               "nibblescope report PATH [SCHEME...] --out DIR writes pictures and numbers without a display."));
  parser.addHelpOption();
  parser.addVersionOption();
  parser.addPositionalArgument("PATH", QObject::tr("A safetensors, npy or npz file, an index, a folder, or a .nibble session."), "[PATH]");
  parser.process(application);
  nibble::DeferredSettings settings("Nibblescope", "Nibblescope");
  nibble::Session session;
  nibble::MainWindow window(session, settings);
  window.show();
  if (!parser.positionalArguments().isEmpty()) window.open(parser.positionalArguments().first());
  return QApplication::exec();
}

}  // namespace

int main(int argc, char** argv) {
  if ((wantsReport(argc, argv) || wantsText(argc, argv)) && qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) qputenv("QT_QPA_PLATFORM", "offscreen");
  QApplication application(argc, argv);
  QApplication::setApplicationName("nibblescope");
  QApplication::setApplicationVersion(NIBBLESCOPE_VERSION);
  QApplication::setDesktopFileName("nibblescope");
  if (wantsReport(argc, argv)) return nibble::reportCommand(QApplication::arguments().mid(2));
  return runWindow(application);
}
