// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/train_page.h"

#include "ui/forms/file_dialogs.h"
#include "ui/forms/panel.h"
#include "ui/plots/curve_plot.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QComboBox>
#include <QFormLayout>
#include <QGridLayout>
#include <QGuiApplication>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QScrollArea>
#include <QTableWidget>
#include <QToolButton>
#include <QVBoxLayout>
#include <array>
#include <cmath>

namespace nibble {
namespace {

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QString runName(const RunView& run) {
  return run.plan.reference ? QObject::tr("%1 f32").arg(string(run.plan.settings.method)) : string(run.plan.settings.method);
}

QColor runColour(const Theme& theme, const RunView& run, std::size_t index) {
  static constexpr std::array families{Family::Uniform, Family::Hqq, Family::Codebook, Family::Gguf, Family::Micro};
  if (run.plan.settings.adapter.base.empty()) return index % 2 == 0 ? theme.text : theme.text3;
  return familyColour(theme, families[index % families.size()]);
}

double figureOf(const train::StepRecord& record, std::string_view key) {
  for (const auto& figure : record.figures)
    if (figure.key == key) return figure.value;
  return std::nan("");
}

CurveSeries seriesOf(const QString& name, const QColor& colour) {
  CurveSeries series;
  series.name = series.label = name;
  series.colour = colour;
  return series;
}

}  // namespace

TrainPage::TrainPage(Session& session, QWidget* parent) : QWidget(parent), m_session(session) {
  setObjectName("trainPage");
  setAccessibleName(tr("Train"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(sizes::gap, sizes::gap, sizes::gap, sizes::gap);
  column->setSpacing(sizes::gap);
  column->addWidget(buildBar());
  m_message = new QLabel;
  m_message->setObjectName("trainMessage");
  m_message->setProperty("look", "warn");
  m_message->setWordWrap(true);
  column->addWidget(m_message);
  auto* row = new QHBoxLayout;
  row->setSpacing(sizes::gap);
  row->addWidget(buildForm());
  row->addWidget(buildPlots(), 1);
  column->addLayout(row, 1);
  connect(&session, &Session::changed, this, &TrainPage::showState);
  connect(&session.trainer(), &Trainer::changed, this, &TrainPage::refresh);
  connect(&session.trainer(), &Trainer::written, this, [this](const QString& folder, int files) { m_message->setText(tr("%1 files written to %2").arg(files).arg(folder)); });
  showState();
}

QWidget* TrainPage::buildBar() {
  auto* bar = new QWidget;
  auto* line = new QHBoxLayout(bar);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::gap);
  const auto button = [&](const char* name, const char* iconName, const QString& tip, auto act) {
    auto* made = new QToolButton;
    made->setObjectName(name);
    made->setIcon(icon(iconName));
    made->setToolTip(tip);
    made->setAccessibleName(tip);
    made->setFixedSize(sizes::control, sizes::control);
    connect(made, &QToolButton::clicked, this, act);
    line->addWidget(made);
    return made;
  };
  Trainer& trainer = m_session.trainer();
  m_reset = button("trainReset", "reset", tr("Back to the start"), [&trainer] { trainer.reset(); });
  m_back = button("trainBack", "step-back", tr("One step back"), [&trainer] { trainer.stepBack(); });
  m_play = button("trainPlay", "play", tr("Play"), [&trainer] { trainer.busy() ? trainer.pause() : trainer.play(); });
  m_step = button("trainStep", "step", tr("One step"), [&trainer] { trainer.step(); });
  m_position = new QLabel;
  m_position->setObjectName("trainPosition");
  line->addWidget(m_position);
  line->addStretch(1);
  const auto push = [&](const char* name, const QString& text) {
    auto* made = new QPushButton(text);
    made->setObjectName(name);
    made->setFixedHeight(sizes::control);
    line->addWidget(made);
    return made;
  };
  m_beside = push("trainBeside", tr("Side by side"));
  m_beside->setCheckable(true);
  m_beside->setToolTip(tr("Train every kind of adapter on the same data"));
  connect(m_beside, &QPushButton::clicked, this, [this](bool on) { choose("beside", on ? "yes" : "no"); });
  m_save = push("trainWrite", tr("Save results..."));
  connect(m_save, &QPushButton::clicked, this, [this] {
    askFolder(this, tr("Save what was trained"), [this](const QString& path) { m_session.trainer().writeResults(path); });
  });
  connect(push("trainCommand", tr("Copy as command line")), &QPushButton::clicked, this, &TrainPage::copyCommand);
  return bar;
}

QWidget* TrainPage::makeField(const TrainOption& option) {
  const std::string key = option.key;
  if (option.kind == TrainOption::Kind::Choice) {
    auto* combo = new QComboBox;
    for (const auto& text : option.choices()) combo->addItem(string(text));
    connect(combo, &QComboBox::textActivated, this, [this, key](const QString& text) { choose(key, text); });
    return combo;
  }
  auto* edit = new QLineEdit;
  connect(edit, &QLineEdit::editingFinished, this, [this, edit, key, &option] {
    train::TrainSettings probe;
    const bool good = option.set(probe, edit->text().toStdString());
    edit->setProperty("invalid", !good);
    restyle(edit);
    if (good) choose(key, edit->text());
  });
  return edit;
}

QWidget* TrainPage::buildForm() {
  auto* panel = new Panel("trainForm", tr("Settings"));
  auto* inner = new QWidget;
  m_form = new QFormLayout(inner);
  m_form->setContentsMargins(sizes::inside, 4, sizes::inside, sizes::inside);
  for (const auto& option : trainOptions()) {
    QWidget* field = makeField(option);
    field->setObjectName(QString("train_%1").arg(option.key));
    field->setAccessibleName(QCoreApplication::translate("Train", option.label));
    field->setToolTip(QCoreApplication::translate("Train", option.help));
    m_form->addRow(QCoreApplication::translate("Train", option.label), field);
    m_fields.push_back({&option, field});
  }
  auto* area = new QScrollArea;
  area->setWidget(inner);
  area->setWidgetResizable(true);
  area->setFrameShape(QFrame::NoFrame);
  panel->addBody(area);
  panel->setFixedWidth(230);
  return panel;
}

QWidget* TrainPage::buildPlots() {
  auto* whole = new QWidget;
  auto* grid = new QGridLayout(whole);
  grid->setContentsMargins(0, 0, 0, 0);
  grid->setSpacing(sizes::gap);
  int place = 0;
  const auto plot = [&](const char* name, const QString& title, const QString& empty) {
    auto* made = new CurvePlot(name, title);
    made->setEmptyText(empty);
    connect(made, &PlotWidget::saveFailed, &m_session, &Session::problem);
    auto* panel = new Panel(QString("%1Panel").arg(name), title);
    panel->addPlot(made);
    grid->addWidget(panel, place / 2, place % 2);
    ++place;
    return made;
  };
  const QString empty = tr("Press Play, or take one step.");
  m_loss = plot("trainLoss", tr("Loss"), empty);
  m_gradient = plot("trainGradient", tr("Gradients"), empty);
  m_plane = plot("trainPlane", tr("Magnitude and direction"), empty);
  m_moved = plot("trainMoved", tr("Entries moved"), empty);
  m_table = new QTableWidget(0, 6);
  m_table->setObjectName("trainTable");
  m_table->setAccessibleName(tr("Runs side by side"));
  m_table->setHorizontalHeaderLabels({tr("Run"), tr("Base"), tr("Trainable"), tr("Loss at 0"), tr("Loss now"), tr("Moved")});
  m_table->horizontalHeader()->setSectionResizeMode(QHeaderView::Stretch);
  m_table->verticalHeader()->hide();
  m_table->setEditTriggers(QAbstractItemView::NoEditTriggers);
  m_table->setFixedHeight(150);
  grid->addWidget(m_table, 2, 0, 1, 2);
  return whole;
}

void TrainPage::choose(const std::string& key, const QString& value) {
  m_session.edit(tr("Train with %1 %2").arg(string(key), value), "train." + string(key), [&](SessionState& state) { state.view["train." + key] = value.toStdString(); });
}

void TrainPage::copyCommand() { QGuiApplication::clipboard()->setText(trainCommand(m_session.state())); }

void TrainPage::showState() {
  const auto& state = m_session.state();
  const auto method = trainSettings(state).method;
  for (const auto& [option, widget] : m_fields) {
    const QString text = string(trainText(state, *option));
    if (auto* combo = qobject_cast<QComboBox*>(widget)) combo->setCurrentText(text);
    else if (auto* edit = qobject_cast<QLineEdit*>(widget); edit->text() != text && !edit->hasFocus()) edit->setText(text);
    const bool shown = appliesTo(*option, method);
    widget->setVisible(shown);
    m_form->labelForField(widget)->setVisible(shown);
  }
  m_beside->setChecked(sideBySide(state));
  refresh();
}

void TrainPage::refresh() {
  Trainer& trainer = m_session.trainer();
  const auto snapshot = trainer.snapshot();
  const std::uint64_t steps = trainSettings(m_session.state()).steps, step = snapshot ? snapshot->step() : 0;
  const std::string refusal = trainer.refusal();
  m_position->setText(tr("step %1 of %2").arg(step).arg(steps));
  m_message->setText(string(refusal.empty() ? trainer.message() : refusal));
  m_message->setVisible(!m_message->text().isEmpty());
  m_play->setIcon(icon(trainer.busy() ? "pause" : "play"));
  m_play->setAccessibleName(trainer.busy() ? tr("Pause") : tr("Play"));
  m_play->setEnabled(refusal.empty());
  m_step->setEnabled(refusal.empty() && !trainer.busy());
  m_back->setEnabled(step > 0 && !trainer.busy());
  m_reset->setEnabled(step > 0 && !trainer.busy());
  m_save->setEnabled(step > 0 && !trainer.busy());
  CurveData loss{tr("step"), tr("loss"), {}, true, static_cast<double>(steps)}, gradient{tr("step"), tr("norm"), {}, true, static_cast<double>(steps)};
  CurveData plane{tr("ΔD, direction"), tr("ΔM, magnitude"), {}}, moved{tr("step"), tr("entries moved, %"), {}, false, static_cast<double>(steps), 100};
  m_table->setRowCount(snapshot ? static_cast<int>(snapshot->runs.size()) : 0);
  const Theme& theme = themeOf(this);
  for (std::size_t i = 0; snapshot && i < snapshot->runs.size(); ++i) {
    const RunView& run = *snapshot->runs[i];
    CurveSeries losses = seriesOf(runName(run), runColour(theme, run, i)), path = losses;
    losses.chosen = path.chosen = i == 0;
    losses.dashed = path.dashed = run.plan.reference;
    path.dot = true;
    for (const auto& record : run.records) {
      losses.x.push_back(static_cast<double>(record.step - 1)), losses.y.push_back(record.loss);
      path.x.push_back(figureOf(record, "deltaD")), path.y.push_back(figureOf(record, "deltaM"));
    }
    if (std::isfinite(run.lossNow)) losses.x.push_back(static_cast<double>(run.records.size())), losses.y.push_back(run.lossNow);
    const double first = losses.y.empty() ? std::nan("") : losses.y.front(), last = losses.y.empty() ? std::nan("") : losses.y.back();
    loss.series.push_back(std::move(losses));
    if (!path.x.empty() && std::isfinite(path.x.back()) && std::isfinite(path.y.back())) plane.series.push_back(std::move(path));
    std::uint64_t movedNow = 0;
    if (!run.records.empty())
      for (const auto& parameter : run.records.back().parameters) movedNow += parameter.moved.moved;
    const QString movedText = !run.problem.empty() ? string(run.problem) : tr("%1 of %2").arg(formatCount(movedNow), formatCount(run.entries));
    const QStringList cells{runName(run), run.plan.settings.adapter.base.empty() ? tr("float base") : string(run.plan.settings.adapter.base),
                            formatCount(run.entries), formatSignificant(first, 4), formatSignificant(last, 4), movedText};
    for (int c = 0; c < cells.size(); ++c) m_table->setItem(static_cast<int>(i), c, new QTableWidgetItem(cells[c]));
  }
  if (snapshot && !snapshot->runs.empty() && !snapshot->runs.front()->records.empty()) {
    const auto& records = snapshot->runs.front()->records;
    const std::array colours{familyColour(theme, Family::Hqq), familyColour(theme, Family::Uniform), theme.text};
    for (std::size_t p = 0; p < records.front().parameters.size(); ++p) {
      CurveSeries norms = seriesOf(string(records.front().parameters[p].name), colours[p % colours.size()]), shares = norms;
      for (const auto& record : records) {
        const auto& parameter = record.parameters[p];
        norms.x.push_back(static_cast<double>(record.step)), norms.y.push_back(parameter.gradientNorm);
        shares.x.push_back(static_cast<double>(record.step));
        shares.y.push_back(100.0 * static_cast<double>(parameter.moved.moved) / static_cast<double>(std::max<std::uint64_t>(parameter.moved.total, 1)));
      }
      gradient.series.push_back(std::move(norms));
      moved.series.push_back(std::move(shares));
    }
  }
  m_loss->setData(std::move(loss));
  m_gradient->setData(std::move(gradient));
  m_plane->setData(std::move(plane));
  m_moved->setData(std::move(moved));
}

}  // namespace nibble
