// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/report/report.h"

#include "ui/main_window.h"
#include "ui/models/candidate_model.h"
#include "ui/models/largest_model.h"
#include "ui/pages/beside_panel.h"
#include "ui/pages/compare_page.h"
#include "ui/plots/curve_plot.h"
#include "ui/session/activations.h"
#include "ui/session/comparer.h"
#include "ui/session/error_study.h"
#include "ui/session/explorer.h"
#include "ui/session/exporter.h"
#include "ui/session/presets.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"
#include "ui/session/session_text.h"

#include <QApplication>
#include <QCommandLineParser>
#include <QDir>
#include <QElapsedTimer>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QSaveFile>
#include <QSettings>
#include <QTemporaryDir>
#include <cstdio>
#include <functional>
#include <optional>

namespace nibble {

namespace {

constexpr int waitMinutes = 20;

int failed(const QString& message, int status) {
  std::fprintf(stderr, "nibblescope: %s\n", qPrintable(message));
  return status;
}

// Runs events until `done` says so; false when it took too long or a problem was reported meanwhile.
bool waitUntil(const std::function<bool()>& done, const QString& problem) {
  QElapsedTimer clock;
  clock.start();
  while (!done()) {
    if (!problem.isEmpty() || clock.elapsed() > waitMinutes * 60000) return false;
    QApplication::processEvents(QEventLoop::WaitForMoreEvents, 50);
  }
  return true;
}

void settle() {
  QElapsedTimer clock;
  clock.start();
  while (clock.elapsed() < 400) QApplication::processEvents(QEventLoop::AllEvents, 50);
}

bool write(const QString& path, const QByteArray& text) {
  QSaveFile file(path);
  return file.open(QIODevice::WriteOnly) && file.write(text) == text.size() && file.commit();
}

Result<std::vector<Choice>> wantedChoices(const QStringList& texts) {
  std::vector<Choice> choices;
  for (const auto& text : texts) {
    auto choice = Choice::parse(text.toStdString());
    if (!choice) return fail(choice.error());
    choices.push_back(*choice);
  }
  return choices.empty() ? reportChoices() : choices;
}

struct Pictures {
  MainWindow& window;
  QDir out;
  QStringList names;

  // Of the window, or of one plot in it, large enough to stand alone.
  bool take(const QString& page, PlotWidget* plot = nullptr) {
    for (const QString theme : {"light", "dark"}) {
      window.setThemeOverride(theme);
      settle();
      const QString name = QString("%1-%2.png").arg(page, theme);
      if (!(plot != nullptr ? plot->image(3) : window.grab().toImage()).save(out.filePath(name))) return false;
      names << name;
    }
    return true;
  }
};

QByteArray html(const Session& session, const QStringList& pictures, const QString& table) {
  QString text = QString("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Nibblescope report</title>\n"
                         "<style>body{font:14px sans-serif;margin:24px;max-width:1480px}img{max-width:100%;border:1px solid #D3D8DF}"
                         "table{border-collapse:collapse}td,th{padding:2px 10px;text-align:right}td:first-child,th:first-child{text-align:left}"
                         "code{font-size:13px}</style></head><body>\n<h1>%1</h1>\n<p>Tensor <code>%2</code>. Repeat the numbers with:<br><code>%3</code></p>\n")
                     .arg(QString::fromStdString(session.state().file->path.filename().string()).toHtmlEscaped(),
                          QString::fromStdString(session.state().tensor).toHtmlEscaped(), compareCommand(session.state()).toHtmlEscaped());
  text += "<table>\n";
  bool header = true;
  for (const auto& line : table.split('\n', Qt::SkipEmptyParts)) {
    const QString cell = header ? "th" : "td";
    text += "<tr>";
    for (const auto& value : line.split('\t')) text += QString("<%1>%2</%1>").arg(cell, value.toHtmlEscaped());
    text += "</tr>\n";
    header = false;
  }
  text += "</table>\n";
  for (const auto& picture : pictures) text += QString("<h2>%1</h2><img src=\"%1\" alt=\"%1\">\n").arg(picture);
  return (text + "</body></html>\n").toUtf8();
}

struct Wanted {
  QString path, tensor;
  std::vector<Choice> choices;
  std::optional<Choice> shown;  // on Explore and as base of training; none: the window's own
  QSize size{1440, 900};
};

// Explore with each of the other views beside its matrix, and their numbers.
bool takeBeside(Session& session, Pictures& pictures, const QString& problem) {
  for (const auto& [view, title] : besideViews()) {
    if (view == "rows") continue;
    showBeside(session, view);
    if (!waitUntil([&] { return !session.errorStudy().lane().busy(); }, problem)) return false;
    if (!pictures.take("2-explore-" + view)) return false;
    if (const auto* plot = pictures.window.findChild<CurvePlot*>("spectrum"); view == "spectrum" && plot != nullptr && !write(pictures.out.filePath("spectrum.csv"), plot->dataTable().toCsv().toUtf8())) return false;
  }
  const auto& study = session.errorStudy().current();
  LargestModel largest;
  if (study) largest.setPairs(study->pairs);
  showBeside(session, "rows");
  return write(pictures.out.filePath("largest-errors.csv"), largest.toSeparated(',').toUtf8());
}

int report(const Wanted& wanted, const QDir& out) {
  const QString& path = wanted.path;
  QTemporaryDir scratch;
  QSettings settings(scratch.filePath("settings.ini"), QSettings::IniFormat);
  Session session;
  MainWindow window(session, settings);
  window.resize(wanted.size);
  window.show();
  QString problem;
  QObject::connect(&session, &Session::problem, &window, [&](const QString& message) { problem = message; });
  Pictures pictures{window, out, {}};
  settle();
  if (!pictures.take("1-start")) return failed(QObject::tr("cannot write to %1").arg(out.path()), 1);
  window.open(path);
  const auto explored = [&] { return session.explorer().current() && !session.explorer().lane().busy(); };
  if (!waitUntil([&] { return session.state().file != nullptr; }, problem) || (!session.state().tensor.empty() && !waitUntil(explored, problem)))
    return failed(problem.isEmpty() ? QObject::tr("%1 took too long").arg(path) : problem, 1);
  session.edit("report", {}, [&](SessionState& state) {
    if (wanted.shown) state.choose(*wanted.shown);
    for (const auto& item : state.file->tree->items())
      if (!wanted.tensor.isEmpty() && item.name == wanted.tensor.toStdString()) state.tensor = item.name, state.selection = {item.name}, state.cell.reset();
  });
  if (!wanted.tensor.isEmpty() && session.state().tensor != wanted.tensor.toStdString()) return failed(QObject::tr("%1: no tensor %2").arg(path, wanted.tensor), 1);
  if (!session.state().tensor.empty() && !waitUntil(explored, problem)) return failed(problem, 1);
  pictures.take("2-explore");
  if (!session.state().tensor.empty() && !takeBeside(session, pictures, problem)) return failed(problem.isEmpty() ? QObject::tr("cannot write to %1").arg(out.path()) : problem, 1);
  session.edit("report", {}, [](SessionState& state) { state.page = Page::Compare; });
  session.comparer().add(wanted.choices, "report");
  if (!waitUntil([&] { return !session.comparer().lane().busy(); }, problem)) return failed(problem, 1);
  pictures.take("3-compare");
  session.edit("report", {}, [](SessionState& state) { state.view["compare.mode"] = "activations"; });
  if (!waitUntil([&] { return !session.activations().busy(); }, problem)) return failed(problem, 1);
  pictures.take("3-activations");
  session.edit("report", {}, [](SessionState& state) {
    state.view.erase("compare.mode");
    state.page = Page::Train;
    state.view["train.beside"] = "yes";
  });
  if (session.trainer().refusal().empty()) {
    session.trainer().play();
    if (!waitUntil([&] { return !session.trainer().busy(); }, problem)) return failed(problem, 1);
  }
  pictures.take("4-train");
  session.edit("report", {}, [](SessionState& state) { state.page = Page::Export; });
  if (!waitUntil([&] { return session.exporter().preflight() != nullptr || session.exporter().format() == nullptr; }, problem)) return failed(problem, 1);
  pictures.take("5-export");
  const auto* compare = window.findChild<ComparePage*>("comparePage");
  QJsonObject numbers{{"path", path}, {"tensor", QString::fromStdString(session.state().tensor)},
                      {"candidates", QJsonDocument::fromJson(compare->model().toJson()).array()}};
  if (!write(out.filePath("report.json"), QJsonDocument(numbers).toJson()) ||
      !write(out.filePath("report.html"), html(session, pictures.names, compare->model().toSeparated('\t'))))
    return failed(QObject::tr("cannot write to %1").arg(out.path()), 1);
  std::printf("%s\n%s\n", qPrintable(out.absoluteFilePath("report.html")), qPrintable(out.absoluteFilePath("report.json")));
  for (const auto& name : pictures.names) std::printf("%s\n", qPrintable(out.absoluteFilePath(name)));
  return 0;
}

QJsonObject trainNumbers(const TrainSnapshot& snapshot) {
  QJsonArray runs;
  for (const auto& run : snapshot.runs) {
    QJsonArray losses;
    for (const auto& record : run->records) losses.append(record.loss);
    runs.append(QJsonObject{{"method", QString::fromStdString(run->plan.settings.method)}, {"base", QString::fromStdString(run->plan.settings.adapter.base)}, {"losses", losses}, {"loss", run->lossNow}});
  }
  return {{"runs", runs}};
}

// A saved session as it was left: its page, and on Train the run it holds with the plot of its loss.
int reportSession(const Wanted& wanted, const QDir& out) {
  QTemporaryDir scratch;
  QSettings settings(scratch.filePath("settings.ini"), QSettings::IniFormat);
  Session session;
  MainWindow window(session, settings);
  window.resize(wanted.size);
  window.show();
  QString problem;
  QObject::connect(&session, &Session::problem, &window, [&](const QString& message) { problem = message; });
  window.open(wanted.path);
  if (!waitUntil([&] { return session.state().file != nullptr; }, problem)) return failed(problem.isEmpty() ? QObject::tr("%1 took too long").arg(wanted.path) : problem, 1);
  const auto idle = [&] { return !session.explorer().lane().busy() && !session.comparer().lane().busy(); };
  if (!waitUntil(idle, problem)) return failed(problem, 1);
  Pictures pictures{window, out, {}};
  QJsonObject numbers{{"path", wanted.path}, {"tensor", QString::fromStdString(session.state().tensor)}};
  if (session.state().page != Page::Train) {
    if (!pictures.take("session")) return failed(QObject::tr("cannot write to %1").arg(out.path()), 1);
  } else {
    session.trainer().play();
    if (!waitUntil([&] { return !session.trainer().busy(); }, problem)) return failed(problem, 1);
    if (const std::string& why = session.trainer().message(); !why.empty()) std::fprintf(stderr, "nibblescope: %s\n", why.c_str());
    auto* plot = window.findChild<CurvePlot*>("trainLoss");
    if (!pictures.take("session") || !pictures.take("loss", plot) || !write(out.filePath("loss.csv"), plot->dataTable().toCsv().toUtf8()))
      return failed(QObject::tr("cannot write to %1").arg(out.path()), 1);
    if (session.trainer().snapshot()) numbers["train"] = trainNumbers(*session.trainer().snapshot());
  }
  if (!write(out.filePath("report.json"), QJsonDocument(numbers).toJson())) return failed(QObject::tr("cannot write to %1").arg(out.path()), 1);
  std::printf("%s\n", qPrintable(out.absoluteFilePath("report.json")));
  for (const auto& name : pictures.names) std::printf("%s\n", qPrintable(out.absoluteFilePath(name)));
  return 0;
}

}  // namespace

int reportCommand(const QStringList& arguments) {
  QCommandLineParser parser;
  parser.addHelpOption();
  parser.addPositionalArgument("PATH", QObject::tr("What to open; a .nibble session is shown as it was left, and trained on the Train page."));
  parser.addPositionalArgument("SCHEME", QObject::tr("Candidates to compare; none: a choice of all schemes."), "[SCHEME...]");
  const QCommandLineOption out("out", QObject::tr("Folder for pictures, report.html and report.json."), "DIR");
  const QCommandLineOption size("size", QObject::tr("Size of the window; 1440x900 unless given."), "WxH");
  const QCommandLineOption tensor("tensor", QObject::tr("The tensor to show; the first worth quantizing unless given."), "NAME");
  parser.addOptions({out, size, tensor});
  if (!parser.parse(QStringList{"nibblescope report"} + arguments)) return failed(parser.errorText(), 2);
  if (parser.isSet("help")) {
    std::printf("%s", qPrintable(parser.helpText()));
    return 0;
  }
  const QStringList words = parser.positionalArguments();
  if (words.isEmpty() || !parser.isSet(out)) return failed(QObject::tr("usage: nibblescope report PATH [SCHEME...] --out DIR"), 2);
  const auto choices = wantedChoices(words.mid(1));
  if (!choices) return failed(QString::fromStdString(choices.error().message), 1);
  const QDir folder(parser.value(out));
  if (!QDir().mkpath(folder.path())) return failed(QObject::tr("cannot make the folder %1").arg(folder.path()), 1);
  Wanted wanted{words.first(), parser.value(tensor), *choices, {}};
  if (words.size() > 1) wanted.shown = choices->front();
  if (parser.isSet(size)) {
    const QStringList numbers = parser.value(size).split('x');
    wanted.size = numbers.size() == 2 ? QSize(numbers[0].toInt(), numbers[1].toInt()) : QSize();
    if (wanted.size.width() < 640 || wanted.size.height() < 480) return failed(QObject::tr("--size %1: like 1440x900, at least 640x480").arg(parser.value(size)), 2);
  }
  return wanted.path.endsWith(".nibble") ? reportSession(wanted, folder) : report(wanted, folder);
}

}  // namespace nibble
