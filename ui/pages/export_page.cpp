// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/export_page.h"

#include "ui/forms/elided_label.h"
#include "ui/forms/file_dialogs.h"
#include "ui/forms/panel.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/export_model.h"
#include "ui/models/preflight_model.h"
#include "ui/pages/export_rows.h"
#include "ui/session/explorer.h"
#include "ui/session/exporter.h"
#include "ui/session/load_command.h"
#include "ui/session/session.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QComboBox>
#include <QDesktopServices>
#include <QGridLayout>
#include <QGuiApplication>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSignalBlocker>
#include <QStandardItemModel>
#include <QTableView>
#include <QUrl>
#include <cmath>

namespace nibble {

namespace {

constexpr int labelWidth = 60;

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QLabel* fieldLabel(const QString& text, QWidget* buddy) {
  auto* label = new QLabel(text);
  label->setProperty("look", "label");
  label->setBuddy(buddy);
  return label;
}

QComboBox* combo(const QString& objectName, const QString& accessibleName) {
  auto* made = new QComboBox;
  made->setObjectName(objectName);
  made->setAccessibleName(accessibleName);
  made->setFixedHeight(sizes::control);
  made->setMinimumWidth(100);
  made->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  made->setMinimumContentsLength(10);
  return made;
}

QPushButton* button(const QString& objectName, const QString& text, const QString& iconName = {}, const char* look = nullptr) {
  auto* made = new QPushButton(text);
  made->setObjectName(objectName);
  made->setFixedHeight(sizes::control);
  if (look != nullptr) made->setProperty("look", look);
  if (!iconName.isEmpty()) made->setIcon(icon(iconName, look != nullptr ? &Theme::accentText : &Theme::text));
  return made;
}

}  // namespace

ExportPage::ExportPage(Session& session, QWidget* parent) : QWidget(parent), m_session(session) {
  setObjectName("exportPage");
  setAccessibleName(tr("Export"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(sizes::gap, sizes::gap, sizes::gap, sizes::gap);
  column->setSpacing(sizes::gap);
  column->addWidget(buildTarget());
  column->addWidget(buildPreflight(), 50);
  column->addWidget(buildRoundTrip(), 44);
  connect(&session.exporter(), &Exporter::changed, this, &ExportPage::refresh);
  connect(&session.exporter().lane(), &JobLane::changed, this, &ExportPage::showSteps);
  refresh();
}

void ExportPage::editExport(const QString& what, const QString& mergeKey, const std::function<void(ExportSettings&)>& change) {
  m_session.edit(what, mergeKey, [&](SessionState& state) { change(state.exporting); });
}

QWidget* ExportPage::buildTarget() {
  auto* panel = new QFrame;
  panel->setObjectName("exportTarget");
  panel->setProperty("look", "panel");
  auto* grid = new QGridLayout(panel);
  grid->setContentsMargins(12, sizes::inside, 12, sizes::inside);
  grid->setHorizontalSpacing(sizes::inside);
  grid->setVerticalSpacing(sizes::gap);
  m_format = combo("exportFormat", tr("Format"));
  m_runtime = combo("exportRuntime", tr("Loads in"));
  m_scope = combo("exportScope", tr("Tensors"));
  m_folder = new QLineEdit;
  m_folder->setObjectName("exportFolder");
  m_folder->setAccessibleName(tr("Destination"));
  m_folder->setFixedHeight(sizes::control);
  m_choose = button("exportChoose", tr("Choose..."), "open-folder");
  m_cancel = button("exportCancel", tr("Cancel"), "cancel");
  m_export = button("exportStart", tr("Export"), "export", "primary");
  m_problem = new QLabel;
  m_problem->setObjectName("exportProblem");
  m_problem->setProperty("look", "bad");
  m_problem->setWordWrap(true);
  grid->setColumnMinimumWidth(0, labelWidth);
  grid->addWidget(fieldLabel(tr("Format"), m_format), 0, 0);
  grid->addWidget(m_format, 0, 1);
  grid->addWidget(fieldLabel(tr("Loads in"), m_runtime), 0, 2);
  grid->addWidget(m_runtime, 0, 3);
  grid->addWidget(fieldLabel(tr("Tensors"), m_scope), 0, 5);
  grid->addWidget(m_scope, 0, 6, 1, 2);
  grid->addWidget(fieldLabel(tr("Folder"), m_folder), 1, 0);
  grid->addWidget(m_folder, 1, 1, 1, 3);
  grid->addWidget(m_choose, 1, 4, Qt::AlignLeft);
  grid->addWidget(m_cancel, 1, 6);
  grid->addWidget(m_export, 1, 7);
  grid->addWidget(m_problem, 2, 0, 1, 8);
  grid->setColumnStretch(1, 2);
  grid->setColumnStretch(4, 1);
  connect(m_format, &QComboBox::activated, this, [this](int index) {
    const auto id = m_format->itemData(index).toString().toStdString();
    editExport(tr("Format %1").arg(string(id)), {}, [&](ExportSettings& settings) { settings.format = id; settings.runtime.clear(); });
  });
  connect(m_runtime, &QComboBox::activated, this, [this](int index) {
    const auto id = m_runtime->itemData(index).toString().toStdString();
    editExport(tr("Loads in %1").arg(string(id)), {}, [&](ExportSettings& settings) { settings.runtime = id; });
  });
  connect(m_scope, &QComboBox::activated, this, [this](int index) {
    editExport(tr("Tensors to export"), {}, [&](ExportSettings& settings) { settings.selectionOnly = index == 1; });
  });
  connect(m_folder, &QLineEdit::textEdited, this, [this](const QString& text) {
    editExport(tr("Destination"), "export.out", [&](ExportSettings& settings) { settings.out = text.toStdString(); });
  });
  connect(m_choose, &QPushButton::clicked, this, [this] {
    askFolder(this, tr("Export into"), [this](const QString& path) {
      const auto name = m_session.exporter().out().filename();
      editExport(tr("Destination"), {}, [&](ExportSettings& settings) { settings.out = (std::filesystem::path(path.toStdString()) / name).string(); });
    });
  });
  connect(m_export, &QPushButton::clicked, this, &ExportPage::startExport);
  connect(m_cancel, &QPushButton::clicked, this, [this] { m_session.exporter().lane().cancel(); });
  return panel;
}

QWidget* ExportPage::buildPreflight() {
  m_preflightPanel = new Panel("preflightPanel", tr("Pre-flight"));
  m_preflightPanel->setSubtitle(tr("what each loader asks for"));
  m_preflightModel = new PreflightModel(this);
  m_preflight = new QTableView;
  prepareTable(m_preflight, "preflightTable", tr("Pre-flight rules"));
  m_preflight->setModel(m_preflightModel);
  m_preflight->setSelectionMode(QAbstractItemView::NoSelection);
  m_preflight->horizontalHeader()->setSectionResizeMode(QHeaderView::Fixed);
  m_preflight->horizontalHeader()->setSectionResizeMode(PreflightModel::Here, QHeaderView::Stretch);
  m_preflight->horizontalHeader()->setDefaultSectionSize(92);
  connect(m_preflightModel, &QAbstractItemModel::modelReset, this, [this] { m_preflight->setColumnWidth(PreflightModel::Rule, std::max(200, m_preflight->width() * 36 / 100)); });
  m_preflightPanel->addBody(m_preflight);
  return m_preflightPanel;
}

QWidget* ExportPage::buildSteps() {
  auto* row = new QFrame;
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(0);
  const QStringList names = {tr("Pre-flight"), tr("Quantize"), tr("Write"), tr("Read back"), tr("In place")};
  for (const auto& name : names) {
    if (!m_steps.empty()) {
      auto* rule = new QFrame;
      rule->setProperty("look", "rule");
      rule->setFixedWidth(1);
      rule->setStyleSheet("max-height: 10000px;");
      line->addWidget(rule);
    }
    Step step{new QLabel, new ElidedLabel("exportStep" + QString::number(m_steps.size())), new QLabel};
    step.name->setFullText(name);
    const QString id = QString::number(m_steps.size());
    step.icon->setFixedSize(sizes::icon, sizes::icon);
    step.value->setObjectName("exportStepValue" + id);
    step.value->setProperty("look", "label");
    auto* cell = new QHBoxLayout;
    cell->setContentsMargins(sizes::inside, 0, sizes::inside, 0);
    cell->setSpacing(sizes::gap);
    cell->addWidget(step.icon);
    cell->addWidget(step.name, 1);
    cell->addWidget(step.value);
    line->addLayout(cell, 1);
    m_steps.push_back(step);
  }
  row->setFixedHeight(36);
  return row;
}

QWidget* ExportPage::buildRoundTrip() {
  m_tripPanel = new Panel("roundTripPanel", tr("Round trip"));
  m_tripPanel->setSubtitle(tr("written, read again by a second decoder, compared value by value"));
  const auto addRule = [this] {
    auto* rule = new QFrame;
    rule->setProperty("look", "rule");
    rule->setFixedHeight(1);
    m_tripPanel->addBody(rule, 0);
  };
  addRule();
  m_tripPanel->addBody(buildSteps(), 0);
  addRule();
  auto* barRow = new QWidget;
  barRow->setFixedHeight(38);
  auto* line = new QHBoxLayout(barRow);
  line->setContentsMargins(12, 0, 12, 0);
  line->setSpacing(12);
  m_bar = new QProgressBar;
  m_bar->setObjectName("exportProgress");
  m_bar->setAccessibleName(tr("Progress of the export"));
  m_bar->setTextVisible(false);
  m_openFolder = button("exportOpenFolder", tr("Open folder"), "open-folder");
  m_copyLoad = button("exportCopyLoad", tr("Copy load command"), "copy");
  m_difference = new QLabel;
  m_difference->setObjectName("exportDifference");
  m_difference->setTextFormat(Qt::RichText);
  for (auto* made : {m_openFolder, m_copyLoad}) made->setSizePolicy(QSizePolicy::Maximum, QSizePolicy::Fixed);
  line->addWidget(m_bar, 1000);
  line->addWidget(m_openFolder);
  line->addWidget(m_copyLoad);
  line->addStretch(1);
  line->addWidget(m_difference);
  m_tripPanel->addBody(barRow, 0);
  m_exportModel = new ExportModel(this);
  m_layers = new QTableView;
  prepareTable(m_layers, "exportTable", tr("Exported layers"));
  m_layers->setModel(m_exportModel);
  m_layers->horizontalHeader()->setSectionResizeMode(QHeaderView::Fixed);
  m_layers->horizontalHeader()->setDefaultSectionSize(96);
  m_layers->horizontalHeader()->setSectionResizeMode(ExportModel::Layer, QHeaderView::Stretch);
  m_tripPanel->addBody(m_layers, 1);
  connect(m_openFolder, &QPushButton::clicked, this, [this] {
    if (const auto* result = m_session.exporter().result())
      QDesktopServices::openUrl(QUrl::fromLocalFile(QString::fromStdString((std::filesystem::is_directory(result->out) ? result->out : result->out.parent_path()).string())));
  });
  connect(m_copyLoad, &QPushButton::clicked, this, [this] {
    if (const auto* result = m_session.exporter().result())
      QGuiApplication::clipboard()->setText(loadCommand(string(m_session.exporter().runtime()), QString::fromStdString(result->out.string())));
  });
  return m_tripPanel;
}

void ExportPage::startExport() {
  if (m_export->isEnabled()) m_session.exporter().start();
}

void ExportPage::refresh() {
  showTarget();
  showPreflight();
  showSteps();
  showResult();
}

void ExportPage::showTarget() {
  auto& exporter = m_session.exporter();
  const auto& state = m_session.state();
  const Format* chosen = exporter.format();
  const QSignalBlocker blocks[] = {QSignalBlocker(m_format), QSignalBlocker(m_runtime), QSignalBlocker(m_scope), QSignalBlocker(m_folder)};
  QString refusal;
  m_format->clear();
  for (const auto& offer : exporter.offers()) {
    const auto id = string(offer.format->info().id);
    m_format->addItem(id, id);
    const int last = m_format->count() - 1;
    const QString reason = QString::fromStdString(offer.refusal);
    m_format->setItemData(last, reason.isEmpty() ? string(offer.format->info().summary) : reason, Qt::ToolTipRole);
    if (!reason.isEmpty() && offer.format != chosen)
      qobject_cast<QStandardItemModel*>(m_format->model())->item(last)->setEnabled(false);
    if (offer.format != chosen) continue;
    m_format->setCurrentIndex(last);
    refusal = reason;
  }
  if (chosen == nullptr) m_format->setCurrentIndex(-1);
  m_runtime->clear();
  if (chosen != nullptr)
    for (const auto runtime : chosen->info().runtimes) m_runtime->addItem(string(runtime), string(runtime));
  if (m_runtime->count() == 0) m_runtime->addItem(tr("any reader"), QString());
  m_runtime->setCurrentIndex(std::max(0, m_runtime->findData(QString::fromStdString(exporter.runtime()))));
  m_runtime->setEnabled(m_runtime->count() > 1);
  m_scope->clear();
  m_scope->addItem(tr("all %1 worth quantizing").arg(state.file ? state.file->worthwhile().size() : 0));
  m_scope->addItem(tr("the %1 selected").arg(state.selection.size()));
  m_scope->setCurrentIndex(state.exporting.selectionOnly ? 1 : 0);
  const QString out = QString::fromStdString(exporter.out().string());
  if (m_folder->text() != out && !m_folder->hasFocus()) m_folder->setText(out);
  m_folder->setToolTip(out);
  QString problem = QString::fromStdString(exporter.failure());
  if (problem.isEmpty() && !refusal.isEmpty()) problem = refusal;
  if (problem.isEmpty() && chosen == nullptr && state.file && m_session.explorer().current()) problem = exporter.keepsCodes() ? tr("No format can hold this layer as it is stored.") : tr("No format can hold this choice yet.");
  m_problem->setText(problem);
  m_problem->setVisible(!problem.isEmpty());
}

void ExportPage::showPreflight() {
  const auto* table = m_session.exporter().preflight();
  const QString chosen = string(m_session.exporter().runtime());
  if (table == nullptr || !table->problem.empty()) {
    m_preflightModel->clear();
    const bool waiting = table == nullptr && m_session.exporter().preflightLane().busy();
    m_preflightPanel->setSubtitle(table != nullptr ? QString::fromStdString(table->problem) : waiting ? tr("checking...") : tr("what each loader asks for"));
    return;
  }
  QStringList runtimes;
  for (const auto& runtime : table->runtimes) runtimes << QString::fromStdString(runtime);
  m_preflightModel->setRules(runtimes, ruleRows(*table), chosen);
  m_preflightPanel->setSubtitle(table->checkedLayers < table->layers
                                    ? tr("what each loader asks for; %1 of %2 layers looked at").arg(table->checkedLayers).arg(table->layers)
                                    : tr("what each loader asks for"));
}

void ExportPage::setStep(std::size_t step, const QString& iconName, const QString& value) {
  const auto& theme = themeOf(this);
  const auto token = iconName == "pass" ? &Theme::good : iconName == "fail" ? &Theme::bad : iconName == "waiting" ? &Theme::accent : &Theme::text3;
  m_steps[step].icon->setPixmap(icon(iconName, token).pixmap(sizes::icon, sizes::icon));
  m_steps[step].value->setText(value);
  Q_UNUSED(theme)
}

void ExportPage::showSteps() {
  auto& exporter = m_session.exporter();
  const bool busy = exporter.busy();
  const auto& progress = exporter.progress();
  const auto* result = exporter.result();
  const auto reached = static_cast<std::size_t>(progress.stage);
  for (std::size_t i = 0; i < m_steps.size(); ++i) {
    if (result != nullptr) setStep(i, "pass", i == 1 ? tr("%1 of %1").arg(result->tensors.size()) : i == 2 ? formatSize(result->sizeBytes) : QString());
    else if (busy && i < reached) setStep(i, "pass", {});
    else if (busy && i == reached) setStep(i, "waiting", progress.total > 0 ? tr("%1 of %2").arg(progress.done).arg(progress.total) : QString());
    else setStep(i, "not-asked", {});
  }
  m_bar->setVisible(result == nullptr);
  const auto total = static_cast<int>(progress.total);
  m_bar->setRange(0, std::max(1, total * 4));
  m_bar->setValue(busy && total > 0 ? static_cast<int>(reached > 0 ? reached - 1 : 0) * total + static_cast<int>(progress.done) : 0);
  m_openFolder->setVisible(result != nullptr);
  m_copyLoad->setVisible(result != nullptr);
  m_cancel->setEnabled(busy);
  const auto* table = exporter.preflight();
  m_export->setEnabled(!busy && exporter.format() != nullptr && table != nullptr && table->problem.empty());
}

void ExportPage::showResult() {
  auto& exporter = m_session.exporter();
  const auto* result = exporter.result();
  QString text;
  if (result != nullptr) {
    double most = 0;
    std::uint64_t weights = 0;
    for (const auto& tensor : result->tensors) {
      most = std::max(most, std::isnan(tensor.maxDifference) ? 0 : tensor.maxDifference);
      weights += tensor.weights;
    }
    const auto& theme = themeOf(this);
    const QColor colour = result->verified && most == 0 ? theme.good : theme.bad;
    text = result->verified ? tr("max |difference| <b style='color:%1; font-size:16px'>%2</b> in %3 weights")
                                  .arg(colour.name(), QLocale().toString(most, 'g', 3), formatCount(weights))
                            : tr("written, not read back");
  }
  m_tripPanel->setSubtitle(result != nullptr ? tr("%1 bits per weight written to %2").arg(formatBpw(result->bitsPerWeight), QString::fromStdString(result->out.filename().string()))
                                             : tr("written, read again by a second decoder, compared value by value"));
  m_difference->setText(text);
  m_difference->setVisible(!text.isEmpty());
  QString prefix;
  auto rows = exportRows(m_session, prefix);
  m_exportModel->setRows(prefix, std::move(rows));
}

}  // namespace nibble
