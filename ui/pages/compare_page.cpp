// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/compare_page.h"

#include "core/base/text.h"
#include "ui/forms/elided_label.h"
#include "ui/forms/file_dialogs.h"
#include "ui/forms/panel.h"
#include "ui/forms/segments.h"
#include "ui/forms/settings_form.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/candidate_model.h"
#include "ui/models/diff_model.h"
#include "ui/models/linear_model.h"
#include "ui/pages/activations_view.h"
#include "ui/pages/compare_data.h"
#include "ui/pages/diff_view.h"
#include "ui/plots/overlay_histogram_plot.h"
#include "ui/plots/pareto_plot.h"
#include "ui/session/comparer.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/session/session_text.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QDoubleSpinBox>
#include <QGuiApplication>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QMenu>
#include <QPushButton>
#include <QSaveFile>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

namespace nibble {

namespace {

QString string(const std::string& text) { return QString::fromStdString(text); }

bool writeText(const QString& path, const QByteArray& text, QString& problem) {
  QSaveFile file(path);
  const bool ok = file.open(QIODevice::WriteOnly) && file.write(text) == text.size() && file.commit();
  if (!ok) problem = QObject::tr("%1: %2").arg(path, file.errorString());
  return ok;
}

}  // namespace

ComparePage::ComparePage(Session& session, QWidget* parent) : QWidget(parent), m_session(session) {
  setObjectName("comparePage");
  setAccessibleName(tr("Compare"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(sizes::gap, sizes::gap, sizes::gap, sizes::gap);
  column->setSpacing(sizes::gap);
  column->addWidget(buildHeader());
  auto* schemes = new QWidget;
  auto* inner = new QVBoxLayout(schemes);
  inner->setContentsMargins(0, 0, 0, 0);
  inner->setSpacing(sizes::gap);
  inner->addWidget(buildTable(), 54);
  inner->addWidget(buildPlots(), 50);
  m_files = new DiffView(session);
  m_modes = new QStackedWidget;
  m_modes->addWidget(schemes);
  m_modes->addWidget(m_files);
  m_activations = new ActivationsView(session);
  m_modes->addWidget(m_activations);
  column->addWidget(m_modes, 1);
  connect(&session, &Session::changed, this, &ComparePage::follow);
  connect(&session.comparer(), &Comparer::changed, this, &ComparePage::refresh);
  connect(&session.explorer(), &Explorer::changed, this, &ComparePage::showView);
  refresh();
  showView();
}

QToolButton* ComparePage::iconButton(const QString& objectName, const QString& iconName, const QString& tip) {
  auto* button = new QToolButton;
  button->setObjectName(objectName);
  button->setIcon(icon(iconName));
  button->setToolTip(tip);
  button->setAccessibleName(tip);
  button->setFixedSize(sizes::control, sizes::control);
  return button;
}

QWidget* ComparePage::buildHeader() {
  auto* header = new QWidget;
  header->setFixedHeight(28);
  auto* line = new QHBoxLayout(header);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::gap);
  m_name = new ElidedLabel("compareTensor", nullptr, Qt::ElideLeft);
  QFont font = fonts::fixed();
  font.setBold(true);
  m_name->setFont(font);
  auto* copy = iconButton("copyTable", "copy", tr("Copy the table as TSV"));
  auto* save = iconButton("saveTable", "save", tr("Save the table as CSV, TSV or JSON"));
  m_picture = iconButton("comparePicture", "image", tr("Copy or save a picture"));
  m_picture->setMenu(pictureMenu());
  m_picture->setPopupMode(QToolButton::InstantPopup);
  connect(copy, &QToolButton::clicked, this, &ComparePage::copyTable);
  connect(save, &QToolButton::clicked, this, &ComparePage::saveTable);
  m_mode = new Segments("compareMode", tr("What is compared"));
  m_mode->setStretching(false);
  m_mode->setTight(true);  // all three fit beside the buttons of a 1280-point window
  m_mode->setChoices({"schemes", "files", "activations"}, {tr("Schemes"), tr("Files"), tr("Activations")});
  m_mode->setFixedHeight(sizes::control);
  connect(m_mode, &Segments::chosen, this, [this](const QString& mode) {
    m_session.edit(tr("Compare %1").arg(mode), {}, [&](SessionState& state) { state.view["compare.mode"] = mode.toStdString(); });
  });
  line->addWidget(m_mode);
  line->addWidget(m_name, 1);
  buildVary(line);
  for (QWidget* widget : {copy, save, m_picture}) line->addWidget(widget);
  return header;
}

void ComparePage::buildVary(QHBoxLayout* line) {
  const auto button = [](const QString& objectName, const QString& iconName, const QString& text) {
    auto* made = new QPushButton(icon(iconName), text);
    made->setObjectName(objectName);
    made->setFixedHeight(sizes::control);
    return made;
  };
  m_bits = button("varyBits", "vary", tr("Bits 2..8"));
  m_bits->setToolTip(tr("Add the current scheme with every number of bits it has from 2 to 8"));
  m_group = button("varyGroup", "vary", tr("Group"));
  m_group->setToolTip(tr("Add the current scheme with every group size that fits"));
  m_near = button("everyScheme", "free", tr("Every scheme near"));
  m_near->setToolTip(tr("Add one candidate of each scheme whose true size is nearest to this"));
  m_nearBits = new QDoubleSpinBox;
  m_nearBits->setObjectName("nearBits");
  m_nearBits->setAccessibleName(tr("Bits per weight that every scheme is to come near"));
  m_nearBits->setToolTip(tr("True bits per weight; the current scheme's until you change it"));
  m_nearBits->setDecimals(2);
  m_nearBits->setRange(1, 16);
  m_nearBits->setSingleStep(0.25);
  m_nearBits->setSuffix(tr(" bpw"));
  m_nearBits->setAlignment(Qt::AlignRight);
  m_nearBits->setFixedHeight(sizes::control);
  m_nearBits->setMaximumWidth(88);
  connect(m_bits, &QPushButton::clicked, this, &ComparePage::addBits);
  connect(m_group, &QPushButton::clicked, this, &ComparePage::addGroups);
  connect(m_near, &QPushButton::clicked, this, &ComparePage::addNear);
  connect(m_nearBits, &QDoubleSpinBox::valueChanged, this, [this](double bits) {
    m_session.edit(tr("Near %1 bpw").arg(bits), "view.compare.near", [&](SessionState& state) { state.view["compare.near"] = text::digits(bits, 6); });
  });
  for (QWidget* widget : std::initializer_list<QWidget*>{m_bits, m_group, m_near, m_nearBits}) line->addWidget(widget);
}

QMenu* ComparePage::pictureMenu() {
  auto* menu = new QMenu(this);
  menu->setObjectName("comparePictureMenu");
  menu->addAction(tr("Copy picture of the errors"), this, [this] { m_overlay->copyImage(); });
  menu->addAction(tr("Save picture of the errors..."), this, [this] { m_overlay->saveAs(); });
  menu->addSeparator();
  menu->addAction(tr("Copy picture of size against error"), this, [this] { m_pareto->copyImage(); });
  menu->addAction(tr("Save picture of size against error..."), this, [this] { m_pareto->saveAs(); });
  menu->addSeparator();
  menu->addAction(tr("Copy as command line"), this, &ComparePage::copyCommand);
  return menu;
}

QWidget* ComparePage::buildTable() {
  auto* panel = new QFrame;
  panel->setObjectName("candidatePanel");
  panel->setProperty("look", "panel");
  auto* column = new QVBoxLayout(panel);
  column->setContentsMargins(1, 1, 1, 1);
  m_model = new CandidateModel(this);
  m_table = new QTableView;
  prepareTable(m_table, "candidateTable", tr("Candidates"));
  m_table->setModel(m_model);
  m_table->setSortingEnabled(true);
  m_table->sortByColumn(CandidateModel::Bpw, Qt::DescendingOrder);
  m_table->setContextMenuPolicy(Qt::CustomContextMenu);
  m_table->installEventFilter(this);
  auto* header = m_table->horizontalHeader();
  header->setSectionResizeMode(QHeaderView::Fixed);
  header->setSectionResizeMode(CandidateModel::SchemeText, QHeaderView::Stretch);
  const QFontMetrics head(fonts::hint()), text(fonts::bold());
  m_widths.assign(CandidateModel::ColumnCount, 28);
  const auto width = [&](int section, const QString& header, const char* widest) {
    const int wide = std::max(head.horizontalAdvance(header) + 22, text.horizontalAdvance(QLatin1String(widest)) + 19);
    m_table->setColumnWidth(section, m_widths[static_cast<std::size_t>(section)] = wide);
  };
  m_table->setColumnWidth(CandidateModel::Tick, m_widths[CandidateModel::Tick]);
  width(CandidateModel::Bpw, tr("bpw"), "16.00");
  width(CandidateModel::Kib, tr("KiB"), "1440.0");
  width(CandidateModel::Mse, tr("MSE ·%1").arg(formatPower(-5)), "0.0541");
  width(CandidateModel::Ratio, tr("÷ base"), "0.008x");
  width(CandidateModel::Sqnr, tr("SQNR dB"), "166.55");
  width(CandidateModel::RelativeF, tr("Rel. F %"), "100.00");
  width(CandidateModel::MaxError, tr("Max |e|"), "0.4504");
  width(CandidateModel::Cosine, tr("Cosine"), "0.99999");
  width(CandidateModel::Entropy, tr("Entropy"), "16.00");
  width(CandidateModel::FromBound, tr("dB to bound"), "12.34");
  width(CandidateModel::Milliseconds, tr("ms"), "184.5");
  connect(m_model, &CandidateModel::tickRequested, this, [this](int source, bool ticked) {
    m_session.edit(ticked ? tr("Tick candidate") : tr("Untick candidate"), {}, [&](SessionState& state) { state.candidates[static_cast<std::size_t>(source)].ticked = ticked; });
  });
  connect(m_model, &QAbstractItemModel::layoutChanged, this, &ComparePage::spanProblems);
  connect(m_model, &QAbstractItemModel::modelReset, this, &ComparePage::spanProblems);
  connect(m_model, &QAbstractItemModel::dataChanged, this, &ComparePage::spanProblems);
  connect(m_table, &QTableView::doubleClicked, this, [this](const QModelIndex& index) { setBaseline(m_model->sourceIndex(index.row())); });
  connect(m_table, &QWidget::customContextMenuRequested, this, &ComparePage::openRowMenu);
  auto* empty = new QLabel(tr("Nothing to compare yet. Add the current scheme on the right, or use a button above."));
  empty->setObjectName("compareEmpty");
  empty->setProperty("look", "label");
  empty->setAlignment(Qt::AlignCenter);
  m_stack = new QStackedWidget;
  m_stack->addWidget(m_table);
  m_stack->addWidget(empty);
  column->addWidget(m_stack);
  return panel;
}

QWidget* ComparePage::buildPlots() {
  auto* row = new QWidget;
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::gap);
  m_overlay = new OverlayHistogramPlot;
  m_pareto = new ParetoPlot;
  m_errorPanel = new Panel("overlayPanel", tr("Error"));
  m_errorPanel->setSubtitle(tr("of the ticked rows"));
  m_scale = new Segments("overlayScale", tr("Scale of the densities"));
  m_scale->setStretching(false);
  m_scale->setChoices({"lin", "log"}, {tr("lin"), tr("log")});
  m_errorPanel->addHeaderWidget(m_scale);
  m_errorPanel->addPlot(m_overlay);
  m_paretoPanel = new Panel("paretoPanel", tr("Size against error"));
  m_paretoPanel->setSubtitle(tr("faded: beaten in size and error"));
  m_axis = new Segments("paretoAxis", tr("Unit of the size"));
  m_axis->setStretching(false);
  m_axis->setChoices({"bpw", "mib"}, {tr("bpw"), tr("MiB")});
  m_paretoPanel->addHeaderWidget(m_axis);
  m_paretoPanel->addPlot(m_pareto);
  line->addWidget(m_errorPanel, 340);
  line->addWidget(m_paretoPanel, 441);
  const auto setOption = [this](const std::string& key, const QString& value) {
    m_session.edit(tr("Show %1").arg(value), "view." + string(key), [&](SessionState& state) { state.view[key] = value.toStdString(); });
  };
  connect(m_scale, &Segments::chosen, this, [setOption](const QString& value) { setOption("compare.scale", value); });
  connect(m_axis, &Segments::chosen, this, [setOption](const QString& value) { setOption("compare.axis", value); });
  connect(m_pareto, &ParetoPlot::pointClicked, this, [this](int point) {
    if (point < 0 || point >= static_cast<int>(m_paretoSources.size())) return;
    m_table->selectRow(m_model->rowOf(m_paretoSources[static_cast<std::size_t>(point)]));
  });
  for (PlotWidget* plot : {static_cast<PlotWidget*>(m_overlay), static_cast<PlotWidget*>(m_pareto)})
    connect(plot, &PlotWidget::saveFailed, &m_session, &Session::problem);
  m_overlay->setEmptyText(tr("Tick rows to lay their errors over each other."));
  m_pareto->setEmptyText(tr("Each candidate becomes a point here."));
  row->setMinimumHeight(200);
  return row;
}

void ComparePage::follow(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.view != before.view || now.choice != before.choice || now.asStored != before.asStored || now.tensor != before.tensor || now.file != before.file) showView();
  if (now.candidates != before.candidates || now.baseline != before.baseline) refresh();
}

void ComparePage::showView() {
  const auto& state = m_session.state();
  const auto scale = state.viewOption("compare.scale", "log"), axis = state.viewOption("compare.axis", "bpw");
  m_scale->setValue(string(scale));
  m_axis->setValue(string(axis));
  m_overlay->setLogarithmic(scale == "log");
  m_pareto->setAxis(axis == "mib" ? ParetoAxis::Mebibytes : ParetoAxis::BitsPerWeight);
  m_name->setFullText(string(state.tensor));
  const auto& exploration = m_session.explorer().current();
  const bool explored = exploration && exploration->ok();
  m_near->setEnabled(explored);
  m_nearBits->setEnabled(explored);
  const auto typed = text::parseDouble(state.viewOption("compare.near", ""));
  const QSignalBlocker block(m_nearBits);
  if (typed || explored) m_nearBits->setValue(typed ? *typed : exploration->bitsPerWeight);
  showMode();
  const bool chosen = state.file && state.choice && state.storedLayer() == nullptr;  // what the scheme dock shows
  m_bits->setEnabled(chosen && state.choice->has("bits"));
  m_group->setEnabled(chosen && (state.choice->has("group") || state.choice->has("block")));
}

void ComparePage::showMode() {
  const bool files = m_session.state().comparesFiles(), activations = m_session.state().comparesActivations();
  m_mode->setValue(files ? "files" : activations ? "activations" : "schemes");
  m_modes->setCurrentIndex(files ? 1 : activations ? 2 : 0);
  m_name->setVisible(!files);
  for (QWidget* widget : std::initializer_list<QWidget*>{m_bits, m_group, m_near, m_nearBits, m_picture}) widget->setVisible(!files && !activations);
}

void ComparePage::refresh() {
  auto rows = candidateRows(m_session);
  m_model->setBoundNote(m_session.comparer().bound() != nullptr ? string(m_session.comparer().bound()->note()) : QString());
  m_stack->setCurrentIndex(rows.empty() ? 1 : 0);
  m_model->setRows(std::move(rows));
  auto series = overlaySeries(m_session);
  auto pareto = paretoData(m_session, m_paretoSources);
  const auto ticked = series.size();
  m_errorPanel->setSubtitle(ticked > overlaySeriesMost ? tr("of the first %1 of %2 ticked rows").arg(overlaySeriesMost).arg(ticked) : tr("of the ticked rows"));
  if (series.empty()) m_overlay->clear();
  else m_overlay->setData(std::move(series));
  if (pareto.points.empty()) m_pareto->clear();
  else m_pareto->setData(std::move(pareto));
}

void ComparePage::spanProblems() {
  m_table->clearSpans();
  for (int row = 0; row < m_model->rowCount(); ++row)
    if (m_model->impossible(row)) m_table->setSpan(row, CandidateModel::Bpw, 1, CandidateModel::ColumnCount - CandidateModel::Bpw);
}

int ComparePage::currentSource() const {
  const auto index = m_table->currentIndex();
  return index.isValid() ? m_model->sourceIndex(index.row()) : -1;
}

void ComparePage::setBaseline(int sourceIndex) {
  m_session.edit(tr("Set baseline"), {}, [&](SessionState& state) { state.baseline = static_cast<std::size_t>(sourceIndex); });
}

void ComparePage::useScheme(int sourceIndex) {
  const Choice choice = m_session.state().candidates[static_cast<std::size_t>(sourceIndex)].choice;
  m_session.edit(tr("Scheme %1").arg(string(choice.shortText())), {}, [&](SessionState& state) {
    state.choose(choice);
  });
}

void ComparePage::openRowMenu(const QPoint& place) {
  const auto index = m_table->indexAt(place);
  if (!index.isValid()) return;
  const int source = m_model->sourceIndex(index.row());
  auto* menu = new QMenu(this);
  menu->setObjectName("candidateMenu");
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->addAction(tr("Set as baseline"), this, [this, source] { setBaseline(source); });
  menu->addAction(tr("Use this scheme"), this, [this, source] { useScheme(source); });
  menu->addAction(tr("Copy its text form"), this, [this, source] {
    QGuiApplication::clipboard()->setText(string(m_session.state().candidates[static_cast<std::size_t>(source)].choice.text()));
  });
  menu->addAction(tr("Copy as command line"), this, &ComparePage::copyCommand);
  menu->addSeparator();
  menu->addAction(tr("Remove"), this, [this, source] { m_session.comparer().remove(static_cast<std::size_t>(source)); });
  menu->popup(m_table->viewport()->mapToGlobal(place));
}

bool ComparePage::eventFilter(QObject* watched, QEvent* event) {
  if (event->type() != QEvent::KeyPress || currentSource() < 0) return QWidget::eventFilter(watched, event);
  switch (static_cast<QKeyEvent*>(event)->key()) {
    case Qt::Key_Delete: m_session.comparer().remove(static_cast<std::size_t>(currentSource())); return true;
    case Qt::Key_B: setBaseline(currentSource()); return true;
    case Qt::Key_Return:
    case Qt::Key_Enter: useScheme(currentSource()); return true;
    case Qt::Key_Space: {
      const auto tick = m_table->currentIndex().siblingAtColumn(CandidateModel::Tick);
      const auto state = tick.data(Qt::CheckStateRole);
      if (state.isValid()) m_model->setData(tick, state.toInt() == Qt::Checked ? Qt::Unchecked : Qt::Checked, Qt::CheckStateRole);
      return true;
    }
    default: return QWidget::eventFilter(watched, event);
  }
}

void ComparePage::vary(const std::string& key, const std::vector<std::string>& values, const QString& what) {
  const auto& choice = *m_session.state().choice;
  std::vector<Choice> choices;
  for (const auto& value : values)
    if (auto changed = choice.with(key, std::string_view(value))) choices.push_back(*changed);
  m_session.comparer().add(choices, what);
}

void ComparePage::addBits() {
  if (!m_bits->isEnabled()) return;
  vary("bits", {"8", "7", "6", "5", "4", "3", "2"}, tr("Add bits 2..8"));
}

void ComparePage::addGroups() {
  const auto& choice = m_session.state().choice;
  if (!m_group->isEnabled()) return;
  const std::string key = choice->has("group") ? "group" : "block";
  for (const auto& info : choice->scheme().settings()) {
    if (info.key != key) continue;
    std::vector<std::string> values;
    for (const auto& value : offeredValues(info)) values.push_back(toText(value));
    if (values.empty()) values = {"16", "32", "64", "128", "256"};
    vary(key, values, tr("Add group sizes"));
  }
}

void ComparePage::addNear() {
  const auto& exploration = m_session.explorer().current();
  if (exploration && exploration->ok()) m_session.comparer().addNear(m_nearBits->value());
}

void ComparePage::compareFiles() {
  m_session.edit(tr("Compare files"), {}, [](SessionState& state) {
    state.page = Page::Compare;
    state.view["compare.mode"] = "files";
  });
  m_files->askOther();
}

QString ComparePage::tableText(QChar separator) const {
  const auto& state = m_session.state();
  if (state.comparesFiles()) return m_files->model().toSeparated(separator);
  return state.comparesActivations() ? m_activations->model().toSeparated(separator) : m_model->toSeparated(separator);
}

QByteArray ComparePage::tableJson() const {
  const auto& state = m_session.state();
  if (state.comparesFiles()) return m_files->model().toJson();
  return state.comparesActivations() ? m_activations->model().toJson() : m_model->toJson();
}

void ComparePage::copyTable() {
  QGuiApplication::clipboard()->setText(tableText('\t'));
}

void ComparePage::copyCommand() { QGuiApplication::clipboard()->setText(compareCommand(m_session.state())); }

void ComparePage::saveTable() {
  const QString filter = tr("Comma separated (*.csv);;Tab separated (*.tsv);;JSON (*.json)");
  const auto& state = m_session.state();
  const QString name = state.comparesFiles() ? "diff.csv" : state.comparesActivations() ? "linear.csv" : "compare.csv";
  askSaveFile(this, tr("Save the table"), name, filter, [this](const QString& path) {
    const QString suffix = path.section('.', -1).toLower();
    const QChar separator = suffix == "tsv" ? '\t' : ',';
    const QByteArray text = suffix == "json" ? tableJson() : tableText(separator).toUtf8();
    QString problem;
    if (!writeText(path, text, problem)) emit m_session.problem(problem);
  });
}

// Columns that are told elsewhere too give way to the text of the schemes.
void ComparePage::hideColumns() {
  constexpr int schemeLeast = 210;
  int needed = schemeLeast;
  for (int column = 0; column < CandidateModel::ColumnCount; ++column)
    if (column != CandidateModel::SchemeText) needed += m_widths[static_cast<std::size_t>(column)];
  for (const int column : {CandidateModel::Cosine, CandidateModel::RelativeF, CandidateModel::Milliseconds, CandidateModel::MaxError,
                           CandidateModel::Entropy, CandidateModel::Kib}) {
    const bool hidden = needed > width() - 2 * sizes::gap;
    if (hidden) needed -= m_widths[static_cast<std::size_t>(column)];
    m_table->setColumnHidden(column, hidden);
  }
}

void ComparePage::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  hideColumns();
}

}  // namespace nibble
