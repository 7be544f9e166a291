// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/train_page.h"

#include "core/base/text.h"
#include "core/train/methods.h"
#include "ui/forms/file_dialogs.h"
#include "ui/forms/panel.h"
#include "ui/forms/segments.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/run_model.h"
#include "ui/pages/forward_panel.h"
#include "ui/pages/parameters_panel.h"
#include "ui/pages/train_data.h"
#include "ui/pages/train_form.h"
#include "ui/plots/curve_plot.h"
#include "ui/session/session.h"
#include "ui/session/trained.h"
#include "ui/session/trainer.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QComboBox>
#include <QGuiApplication>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QSaveFile>
#include <QSignalBlocker>
#include <QSlider>
#include <QTableView>
#include <QTimer>
#include <QToolButton>
#include <QVBoxLayout>
#include <cmath>

namespace nibble {
namespace {

constexpr std::size_t segmentsMost = 6;
constexpr int movedLabelRoom = 90, wideFrom = 800;
constexpr int partMs = 10;  // between parts of a snapshot

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QString formatLambda(double lambda) { return QString::fromStdString(text::digits(lambda, 3)); }

QHBoxLayout* rowLayout(QWidget* row) {
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::gap);
  return line;
}

}  // namespace

TrainPage::TrainPage(Session& session, QWidget* parent) : QWidget(parent), m_session(session) {
  setObjectName("trainPage");
  setAccessibleName(tr("Train"));
  m_form = new TrainForm(session, this);
  m_frames = new QTimer(this);
  m_frames->setInterval(partMs);
  connect(m_frames, &QTimer::timeout, this, &TrainPage::showNextPart);
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(sizes::gap, sizes::gap, sizes::gap, sizes::gap);
  column->setSpacing(sizes::gap);
  column->addWidget(buildBar());
  column->addWidget(buildMessage());
  column->addWidget(buildUpperPlots(), 23);
  column->addWidget(buildLowerPlots(), 20);
  m_forward = new ForwardPanel(session);
  column->addWidget(m_forward);
  column->addWidget(buildTable());
  connect(&session, &Session::changed, this, &TrainPage::showState);
  connect(&session.trainer(), &Trainer::changed, this, &TrainPage::refresh);
  connect(&session.trainer(), &Trainer::written, this, [this](const QString& folder, int files) {
    m_note = files == 1 ? tr("1 file written to %1").arg(folder) : tr("%1 files written to %2").arg(files).arg(folder);
    m_folder = folder;
    refresh();
  });
  showState();
}

QToolButton* TrainPage::iconButton(const char* name, const char* iconName, const QString& tip, std::function<void()> act) {
  auto* made = new QToolButton;
  made->setObjectName(name);
  made->setIcon(icon(iconName));
  made->setToolTip(tip);
  made->setAccessibleName(tip);
  made->setFixedSize(sizes::control, sizes::control);
  connect(made, &QToolButton::clicked, this, [act = std::move(act)] { act(); });
  return made;
}

QWidget* TrainPage::buildBar() {
  auto* bar = new QWidget;
  auto* line = rowLayout(bar);
  buildMethods(line);
  buildStepper(line);
  line->addStretch(1);
  m_settings = new QPushButton(icon("vary"), {});
  m_settings->setObjectName("trainSettings");
  m_settings->setFixedHeight(sizes::control);
  connect(m_settings, &QPushButton::clicked, this, [this] { m_form->openUnder(m_settings); });
  line->addWidget(m_settings);
  return bar;
}

void TrainPage::buildMethods(QHBoxLayout* line) {
  QStringList ids, titles;
  for (const auto& method : train::allMethods()) ids << string(method.id), titles << methodTitle(method.id);
  const auto choose = [this](const QString& id) { this->choose("method", id); };
  if (train::allMethods().size() <= segmentsMost) {
    m_methods = new Segments("train_method", tr("What is trained"));
    m_methods->setStretching(false);
    m_methods->setChoices(ids, titles);
    m_methods->setFixedHeight(sizes::control);
    connect(m_methods, &Segments::chosen, this, choose);
    return line->addWidget(m_methods);
  }
  m_methodList = new QComboBox;
  m_methodList->setObjectName("train_method");
  m_methodList->setAccessibleName(tr("What is trained"));
  m_methodList->setFixedHeight(sizes::control);
  for (qsizetype i = 0; i < ids.size(); ++i) {
    m_methodList->addItem(titles[i], ids[i]);
    m_methodList->setItemData(static_cast<int>(i), string(train::allMethods()[static_cast<std::size_t>(i)].summary), Qt::ToolTipRole);
  }
  connect(m_methodList, &QComboBox::activated, this, [this, choose](int index) { choose(m_methodList->itemData(index).toString()); });
  line->addWidget(m_methodList);
}

void TrainPage::buildStepper(QHBoxLayout* line) {
  Trainer& trainer = m_session.trainer();
  m_reset = iconButton("trainReset", "reset", tr("Back to the start"), [&trainer] { trainer.reset(); });
  m_back = iconButton("trainBack", "step-back", tr("One step back"), [&trainer] { trainer.stepBack(); });
  m_play = iconButton("trainPlay", "play", tr("Play"), [&trainer] { trainer.busy() ? trainer.pause() : trainer.play(); });
  m_play->setProperty("look", "primary");
  m_step = iconButton("trainStep", "step", tr("One step"), [&trainer] { trainer.step(); });
  for (auto* button : {m_reset, m_back, m_play, m_step}) line->addWidget(button);
  m_slider = new QSlider(Qt::Horizontal);
  m_slider->setObjectName("trainSlider");
  m_slider->setAccessibleName(tr("Step to go to"));
  m_slider->setToolTip(tr("Forward or back to any step"));
  m_slider->setTracking(false);
  m_slider->setMinimumWidth(80);
  m_slider->setMaximumWidth(180);
  connect(m_slider, &QSlider::valueChanged, this, [&trainer](int step) { trainer.goTo(static_cast<std::uint64_t>(step)); });
  line->addWidget(m_slider, 1);
  m_position = new QLabel;
  m_position->setObjectName("trainPosition");
  line->addWidget(m_position);
  m_tensors = new QLabel;
  m_tensors->setObjectName("trainTensors");
  m_tensors->setProperty("look", "label");
  line->addWidget(m_tensors);
}

QWidget* TrainPage::buildMessage() {
  m_messageBar = new QFrame;
  m_messageBar->setObjectName("trainMessageBar");
  m_messageBar->setProperty("look", "warnBar");
  m_messageBar->setMinimumHeight(32);
  auto* line = new QHBoxLayout(m_messageBar);
  line->setContentsMargins(sizes::inside, 2, 6, 2);
  line->setSpacing(sizes::gap);
  m_messageIcon = new QLabel;
  m_message = new QLabel;
  m_message->setObjectName("trainMessage");
  m_message->setWordWrap(true);
  m_message->setTextFormat(Qt::RichText);
  m_messageAction = new QPushButton;
  m_messageAction->setObjectName("trainMessageAction");
  m_messageAction->setProperty("small", true);
  connect(m_messageAction, &QPushButton::clicked, this, [this] {
    if (const auto lost = m_session.trainer().snapshot() ? lostUpdates(*m_session.trainer().snapshot()) : std::nullopt) choose(lost->key, QString::fromStdString(lost->value));
  });
  line->addWidget(m_messageIcon);
  line->addWidget(m_message, 1);
  line->addWidget(m_messageAction);
  const auto takeOn = [&](const char* name, const QString& text, const QString& tip, Page page) {
    auto* button = new QPushButton(text);
    button->setObjectName(name);
    button->setToolTip(tip);
    button->setProperty("small", true);
    connect(button, &QPushButton::clicked, this, [this, page] { openTrained(m_session, m_folder, page); });
    line->addWidget(button);
    return button;
  };
  m_toCompare = takeOn("trainToCompare", tr("Compare"), tr("Open what was written, with what was learned as a candidate"), Page::Compare);
  m_toExport = takeOn("trainToExport", tr("Export"), tr("Open what was written, to export it"), Page::Export);
  return m_messageBar;
}

CurvePlot* TrainPage::curvePlot(const char* name, const QString& title, Panel*& panel) {
  auto* made = new CurvePlot(name, title);
  connect(made, &PlotWidget::saveFailed, &m_session, &Session::problem);
  panel = new Panel(QString("%1Panel").arg(name), title);
  panel->addPlot(made);
  panel->setMinimumWidth(190);
  return made;
}

QWidget* TrainPage::buildUpperPlots() {
  auto* row = new QWidget;
  auto* line = rowLayout(row);
  m_loss = curvePlot("trainLoss", tr("Loss"), m_lossPanel);
  m_loss->setLabelRoom(82);
  m_gradient = curvePlot("trainGradient", tr("Gradients"), m_gradientPanel);
  m_gradient->setLabelRoom(34);
  m_plane = curvePlot("trainPlane", tr("Magnitude and direction"), m_planePanel);
  m_plane->setLabelRoom(82);
  m_lambdaText = new QLabel;
  m_lambdaText->setObjectName("trainLambdaText");
  m_lambdaText->setProperty("look", "label");
  m_lambda = new QSlider(Qt::Horizontal);
  m_lambda->setObjectName("trainLambda");
  m_lambda->setAccessibleName(tr("Lambda, the price of a MB in the loss"));
  m_lambda->setToolTip(tr("Lambda, the price of a MB in the loss; it may change while the run goes on"));
  m_lambda->setRange(0, lambdaSteps);
  m_lambda->setFixedWidth(84);
  connect(m_lambda, &QSlider::valueChanged, this, [this](int place) { choose("lambda", formatLambda(lambdaAt(place))); });
  m_planePanel->addHeaderWidget(m_lambdaText);
  m_planePanel->addHeaderWidget(m_lambda);
  line->addWidget(m_lossPanel, 298);
  line->addWidget(m_gradientPanel, 246);
  line->addWidget(m_planePanel, 256);
  row->setMinimumHeight(150);
  return row;
}

QWidget* TrainPage::buildLowerPlots() {
  auto* row = new QWidget;
  auto* line = rowLayout(row);
  m_moved = curvePlot("trainMoved", tr("Moved in this step"), m_movedPanel);
  m_moved->setLabelRoom(movedLabelRoom);
  m_parameters = new ParametersPanel(m_session);
  line->addWidget(m_movedPanel, 298);
  line->addWidget(m_parameters, 512);
  row->setMinimumHeight(150);
  return row;
}

QWidget* TrainPage::buildTable() {
  auto* panel = new Panel("trainRunsPanel", tr("Runs"));
  panel->setSubtitle(tr("same data, same step"));
  m_beside = new QPushButton(tr("Side by side"));
  m_beside->setObjectName("trainBeside");
  m_beside->setCheckable(true);
  m_beside->setToolTip(tr("Train every kind of adapter on the same data"));
  connect(m_beside, &QPushButton::clicked, this, [this](bool on) { choose("beside", on ? "yes" : "no"); });
  m_save = new QPushButton(icon("export"), tr("Save results..."));
  m_save->setObjectName("trainWrite");
  m_save->setToolTip(tr("Write the adapter, the merged weights and what merging costs into a folder"));
  connect(m_save, &QPushButton::clicked, this, [this] {
    askFolder(this, tr("Save what was trained"), [this](const QString& path) { m_session.trainer().writeResults(path); });
  });
  panel->addHeaderWidget(m_beside);
  panel->addHeaderWidget(m_save);
  auto* command = new QPushButton(tr("Copy as command line"));
  command->setObjectName("trainCommand");
  connect(command, &QPushButton::clicked, this, &TrainPage::copyCommand);
  panel->addHeaderWidget(command);
  panel->addHeaderWidget(iconButton("trainTableCopy", "copy", tr("Copy the table as TSV"), [this] { QGuiApplication::clipboard()->setText(m_runs->toSeparated('\t')); }));
  panel->addHeaderWidget(iconButton("trainTableSave", "save", tr("Save the table as CSV or TSV"), [this] { saveTable(); }));
  m_runs = new RunModel(this);
  m_table = new QTableView;
  prepareTable(m_table, "trainTable", tr("Runs side by side"));
  m_table->setModel(m_runs);
  m_table->setSelectionMode(QAbstractItemView::NoSelection);
  auto* header = m_table->horizontalHeader();
  header->setSectionResizeMode(QHeaderView::Fixed);
  header->setSectionResizeMode(RunModel::Base, QHeaderView::Stretch);
  const QFontMetrics head(fonts::hint()), text(fonts::bold());
  const auto width = [&](int section, const char* widest) {
    const int title = head.horizontalAdvance(m_runs->headerData(section, Qt::Horizontal).toString()) + 20;
    m_table->setColumnWidth(section, std::max(title, text.horizontalAdvance(QLatin1String(widest)) + 14));
  };
  width(RunModel::Name, "---- QDoRA f32");
  width(RunModel::Trainable, "1,234,567");
  width(RunModel::FirstLoss, "0.1234567");
  width(RunModel::LastLoss, "0.1234567");
  width(RunModel::Moved, "1,234,567");
  width(RunModel::MagnitudeMoved, "1,536 of 1,536");
  width(RunModel::DeltaM, "0.1234");
  width(RunModel::DeltaD, "0.1234");
  panel->addBody(m_table);
  return panel;
}

void TrainPage::choose(const std::string& key, const QString& value) {
  m_session.edit(tr("Train with %1 %2").arg(string(key), value), "train." + string(key), [&](SessionState& state) { state.view["train." + key] = value.toStdString(); });
}

void TrainPage::copyCommand() { QGuiApplication::clipboard()->setText(trainCommand(m_session.state())); }

void TrainPage::saveTable() {
  askSaveFile(this, tr("Save the table"), "train.csv", tr("Comma separated (*.csv);;Tab separated (*.tsv)"), [this](const QString& path) {
    QSaveFile file(path);
    const QByteArray text = m_runs->toSeparated(path.endsWith(".tsv") ? '\t' : ',').toUtf8();
    if (!file.open(QIODevice::WriteOnly) || file.write(text) != text.size() || !file.commit()) emit m_session.problem(tr("%1: %2").arg(path, file.errorString()));
  });
}

void TrainPage::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && m_table != nullptr && isVisible()) refresh();  // the curves' colours
}

void TrainPage::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (m_stale) showState();
}

void TrainPage::showState() {
  m_stale = !isVisible();
  if (m_stale) return;
  const auto& state = m_session.state();
  const auto settings = trainSettings(state);
  const QString method = string(settings.method);
  if (m_methods != nullptr) m_methods->setValue(method);
  else m_methodList->setCurrentIndex(m_methodList->findData(method));
  showSettings();
  const auto kind = train::kindOf(settings.method);
  const bool learnsBits = kind == train::MethodKind::LearnedBits;
  m_planePanel->setTitle(trainsSeveral(kind) ? tr("Size") : kind == train::MethodKind::Packed ? tr("Codes away from the start") : tr("Magnitude and direction"));
  for (QWidget* widget : std::initializer_list<QWidget*>{m_lambda, m_lambdaText}) widget->setVisible(learnsBits);
  const QSignalBlocker block(m_lambda);
  m_lambda->setValue(placeOfLambda(settings.diffq.lambda));
  m_lambdaText->setText(QStringLiteral("λ %1").arg(formatLambda(settings.diffq.lambda)));
  showTensors(trainTensors(state));
  m_forward->setVisible(kind == train::MethodKind::Adapter);
  m_beside->setChecked(sideBySide(state));
  m_beside->setEnabled(kind == train::MethodKind::Adapter);
  refresh();
}

void TrainPage::showTensors(const std::vector<std::string>& tensors) {
  m_tensors->setVisible(trainsSeveral(train::kindOf(trainSettings(m_session.state()).method)));
  m_tensors->setText(tensors.size() > 1 ? tr("%1 tensors").arg(tensors.size()) : tr("1 tensor"));
  QStringList names;
  for (const auto& tensor : tensors) names << string(tensor);
  m_tensors->setToolTip(tr("Trained together under one size; select more on the left (Ctrl or Shift and a click):\n%1").arg(names.join('\n')));
}

// Where there is no room for the figures, the button says what it is.
void TrainPage::showSettings() {
  const QString title = settingsTitle(trainSettings(m_session.state()));
  m_settings->setText(width() < wideFrom ? tr("Settings") : title);
  m_settings->setToolTip(tr("All settings of training: %1").arg(title));
  m_settings->setAccessibleName(m_settings->toolTip());
}

void TrainPage::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  showSettings();
}

}  // namespace nibble
