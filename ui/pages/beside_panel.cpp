// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/beside_panel.h"

#include "ui/forms/file_dialogs.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/largest_model.h"
#include "ui/plots/curve_plot.h"
#include "ui/plots/reconstruction_plot.h"
#include "ui/plots/row_ranges_plot.h"
#include "ui/session/error_study.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QClipboard>
#include <QEvent>
#include <QGuiApplication>
#include <QHeaderView>
#include <QLabel>
#include <QMenu>
#include <QSaveFile>
#include <QStackedWidget>
#include <QTableView>
#include <QToolButton>
#include <cmath>

namespace nibble {
namespace {

constexpr std::size_t namedRank = 16;  // a common rank of adapters
constexpr int cellMargins = 8, headerMore = 2;
constexpr double faintest = 1e-2;      // of the smaller of both largest values: what lies below is not drawn

QString viewOf(const Session& session) { return QString::fromStdString(session.state().viewOption("explore.beside", "rows")); }

bool isSpectrum(const QString& view) { return view == "spectrum" || view == "energy"; }

QToolButton* tool(const QString& objectName, const QString& iconName, const QString& text) {
  auto* button = new QToolButton;
  button->setObjectName(objectName);
  button->setIcon(icon(iconName));
  button->setAccessibleName(text);
  button->setToolTip(text);
  return button;
}

CurveSeries curveOf(const Spectrum& spectrum, bool energy, const QString& name, const QColor& colour) {
  CurveSeries series;
  series.name = series.label = name;
  series.colour = colour;
  double held = 0;
  if (energy) series.x.push_back(0), series.y.push_back(0);
  for (std::size_t i = 0; i < spectrum.values.size(); ++i) {
    held += spectrum.values[i] * spectrum.values[i];
    series.x.push_back(static_cast<double>(i + 1));
    series.y.push_back(energy ? 100 * std::min(1.0, held / spectrum.energy) : spectrum.values[i]);
  }
  return series;
}

}  // namespace

std::vector<std::pair<QString, QString>> besideViews() {
  return {{"rows", QObject::tr("Rows")}, {"reconstruction", QObject::tr("Reconstruction")}, {"largest", QObject::tr("Largest errors")}, {"spectrum", QObject::tr("Singular values")}, {"energy", QObject::tr("Energy")}};
}

void showBeside(Session& session, const QString& view) {
  session.edit(QObject::tr("Show %1").arg(view), "view.explore.beside", [&](SessionState& state) {
    state.view["explore.beside"] = view.toStdString();
    state.page = Page::Explore;
  });
}

BesidePanel::BesidePanel(Session& session, QWidget* parent)
    : Panel("rowsPanel", tr("Rows"), parent), m_session(session), m_stack(new QStackedWidget), m_rows(new RowRangesPlot),
      m_reconstruction(new ReconstructionPlot), m_largest(new QStackedWidget), m_table(new QTableView), m_model(new LargestModel(this)),
      m_largestEmpty(new QLabel), m_spectrum(new CurvePlot("spectrum", tr("Singular values"))) {
  QStringList values, titles;
  for (const auto& [value, title] : besideViews()) values << value, titles << title;
  setTitleChoices(values, titles);
  connect(this, &Panel::titleChosen, this, [this](const QString& view) { showBeside(m_session, view); });
  m_spectrum->setMinimumSize(60, 60);
  m_spectrum->setMargins(52, 12, 36, 8);
  m_spectrum->setToolTip(tr("Singular values of w − ŵ and of w, the largest first. Energy: the share of the sum of their squares that the first r hold; "
                            "of the error it is what an adapter of rank r could take away"));
  buildLargest();
  for (QWidget* view : std::initializer_list<QWidget*>{m_rows, m_reconstruction, m_largest, m_spectrum}) m_stack->addWidget(view);
  for (PlotWidget* plot : plots()) {
    connect(plot, &PlotWidget::hoverText, this, &Panel::setHoverText);
    connect(plot, &PlotWidget::saveFailed, &session, &Session::problem);
  }
  m_rows->setEmptyText(tr("Choose a tensor on the left."));
  addBody(m_stack);
  connect(&session, &Session::changed, this, &BesidePanel::follow);
  connect(&session.explorer(), &Explorer::changed, this, &BesidePanel::refresh);
  connect(&session.errorStudy(), &ErrorStudy::changed, this, &BesidePanel::refresh);
  showView();
}

std::vector<PlotWidget*> BesidePanel::plots() const { return {m_rows, m_reconstruction, m_spectrum}; }

void BesidePanel::buildLargest() {
  auto* copy = tool("largestCopy", "copy", tr("Copy the table as TSV"));
  connect(copy, &QToolButton::clicked, this, [this] { QGuiApplication::clipboard()->setText(m_model->toSeparated('\t')); });
  auto* save = tool("largestSave", "save", tr("Save the table as CSV or TSV"));
  connect(save, &QToolButton::clicked, this, &BesidePanel::saveTable);
  m_tableTools = {copy, save};
  for (QWidget* button : m_tableTools) addHeaderWidget(button), button->setProperty("small", true);
  m_table->setProperty("tight", true);
  prepareTable(m_table, "largestTable", tr("Largest errors"));
  m_table->setModel(m_model);
  m_table->setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOn);
  m_table->horizontalHeader()->setSectionResizeMode(QHeaderView::Fixed);
  const auto choose = [this](const QModelIndex& index) {
    if (!m_choosing && index.isValid()) emit cellChosen(m_model->at(index.row()).row, m_model->at(index.row()).column);
  };
  connect(m_table, &QTableView::clicked, this, choose);
  connect(m_table->selectionModel(), &QItemSelectionModel::currentRowChanged, this, choose);
  m_largestEmpty->setObjectName("largestEmpty");
  m_largestEmpty->setProperty("look", "label");
  m_largestEmpty->setAlignment(Qt::AlignCenter);
  m_largestEmpty->setWordWrap(true);
  m_largestEmpty->setMargin(sizes::inside);
  m_largest->addWidget(m_table);
  m_largest->addWidget(m_largestEmpty);
}

void BesidePanel::follow(const SessionState& before) {
  if (m_session.state().view != before.view) showView();
}

void BesidePanel::showView() {
  const QString view = viewOf(m_session);
  QWidget* shown = view == "reconstruction" ? m_reconstruction : view == "largest" ? m_largest : isSpectrum(view) ? m_spectrum : static_cast<QWidget*>(m_rows);
  m_stack->setCurrentWidget(shown);
  setTitleChoice(view);
  for (QWidget* button : m_tableTools) button->setVisible(view == "largest");
  refresh();
}

QString BesidePanel::emptyText() const {
  const auto& exploration = m_session.explorer().current();
  if (!exploration || !exploration->facts) return tr("Choose a tensor on the left.");
  if (!exploration->ok()) return tr("The scheme gives no answer for this tensor.");
  if (const auto& study = m_session.errorStudy().current(); study && study->of == exploration) {
    if (!study->problem.empty()) return QString::fromStdString(study->problem);
    if (exploration->isStored()) return tr("The file holds no weights from before it was packed.");
  }
  return tr("Working...");
}

void BesidePanel::refresh() {
  const QString view = viewOf(m_session);
  if (view == "rows") return setSubtitle(tr("min, 1 %, median, 99 %, max"));
  setSubtitle({});
  m_reconstruction->setEmptyText(emptyText());
  m_spectrum->setEmptyText(emptyText());
  m_largestEmpty->setText(emptyText());
  if (isSpectrum(view)) showSpectrum();
  else showStudy();
  showCell();
}

void BesidePanel::showStudy() {
  const auto& study = m_session.errorStudy().current();
  const auto pairs = study ? study->pairs : nullptr;
  m_reconstruction->setData(pairs);
  m_choosing = true;
  m_model->setPairs(pairs);
  m_choosing = false;
  m_largest->setCurrentIndex(pairs ? 0 : 1);
  for (QWidget* button : m_tableTools) button->setEnabled(pairs != nullptr);
  const bool isTable = viewOf(m_session) == "largest";
  if (isTable) fitColumns();
  if (!pairs) return;
  if (isTable)
    setSubtitle(counted(static_cast<qint64>(pairs->largest.size()), tr("the largest"), tr("first %1")));
  else
    setSubtitle(tr("weights per square"));
}

void BesidePanel::showSpectrum() {
  const auto& study = m_session.errorStudy().current();
  CurveData data;
  if (!study || !study->weights) return m_spectrum->setData(data);
  const Theme& theme = themeOf(this);
  const bool energy = viewOf(m_session) == "energy";
  const bool errors = study->errors && study->errors->energy > 0, weights = study->weights->energy > 0;
  data.xTitle = energy ? tr("rank") : tr("direction");
  data.yTitle = energy ? tr("energy held (%)") : tr("singular value");
  data.logarithmic = !energy;
  if (weights) data.series.push_back(curveOf(*study->weights, energy, tr("weights"), theme.text2));
  if (errors) data.series.push_back(curveOf(*study->errors, energy, tr("error"), familyColour(theme, study->of->family)));
  for (CurveSeries& series : data.series) series.chosen = errors && &series == &data.series.back();
  double smallest = HUGE_VAL;
  for (const auto& series : data.series) smallest = std::min(smallest, series.y[energy ? 1 : 0]);
  data.yLeast = data.series.empty() ? 0 : faintest * smallest;
  data.xEnd = static_cast<double>(study->weights->values.size());
  if (energy && study->weights->complete()) data.yEnd = 100;
  m_spectrum->setData(std::move(data));
  const Spectrum& named = errors ? *study->errors : *study->weights;
  const std::size_t rank = std::min(namedRank, named.values.size());
  const QString share = formatPercent(named.share(rank), 1);
  if (study->errors && !errors) setSubtitle(tr("no error"));
  else if (energy) setSubtitle((errors ? tr("rank %1: %2 of error") : tr("rank %1: %2 of weights")).arg(rank).arg(share));
  else setSubtitle(named.complete() ? tr("all %1").arg(named.directions) : tr("the first %1 of %2").arg(named.values.size()).arg(named.directions));
}

void BesidePanel::showCell() {
  const auto& exploration = m_session.explorer().current();
  if (!exploration || !exploration->facts) return m_reconstruction->setSelected({});
  const auto cell = m_session.explorer().cell();
  m_rows->setSelectedRow(static_cast<qint64>(cell.row));
  std::optional<QPointF> place;
  if (exploration->quantized && !exploration->isStored()) {
    const MatrixSource source(exploration->facts->tensor, exploration->quantized);
    place = QPointF(static_cast<double>(source.at(Quantity::Value, cell.row, cell.column)), static_cast<double>(source.reconstructed(cell.row, cell.column)));
  }
  m_reconstruction->setSelected(place);
  const int line = m_model->rowOf(cell.row, cell.column);
  if (line == m_table->currentIndex().row()) return;
  m_choosing = true;
  if (line >= 0) m_table->setCurrentIndex(m_model->index(line, 0));
  else m_table->selectionModel()->clear();
  m_choosing = false;
}

// Each column as wide as its widest text; what is left goes to all alike.
void BesidePanel::fitColumns() {
  const QFontMetrics metrics(fonts::hint());
  std::vector<int> widths(LargestModel::ColumnCount);
  int total = 0;
  for (int column = 0; column < LargestModel::ColumnCount; ++column) {
    int widest = metrics.horizontalAdvance(m_model->headerData(column, Qt::Horizontal).toString()) + headerMore;
    for (int row = 0; row < m_model->rowCount(); ++row)
      widest = std::max(widest, metrics.horizontalAdvance(m_model->index(row, column).data().toString()));
    total += widths[static_cast<std::size_t>(column)] = widest + cellMargins;
  }
  const int more = std::max(0, (m_table->viewport()->width() - total) / LargestModel::ColumnCount);
  for (int column = 0; column < LargestModel::ColumnCount; ++column) m_table->setColumnWidth(column, widths[static_cast<std::size_t>(column)] + more);
}

void BesidePanel::saveTable() {
  askSaveFile(this, tr("Save the table"), "largest-errors.csv", tr("Comma separated (*.csv);;Tab separated (*.tsv)"), [this](const QString& path) {
    QSaveFile file(path);
    const QByteArray text = m_model->toSeparated(path.endsWith(".tsv") ? '\t' : ',').toUtf8();
    if (!file.open(QIODevice::WriteOnly) || file.write(text) != text.size() || !file.commit()) emit m_session.problem(tr("%1: %2").arg(path, file.errorString()));
  });
}

void BesidePanel::changeEvent(QEvent* event) {
  Panel::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && isSpectrum(viewOf(m_session))) showSpectrum();  // the curves' colours
}

void BesidePanel::resizeEvent(QResizeEvent* event) {
  Panel::resizeEvent(event);
  if (viewOf(m_session) == "largest") fitColumns();
}

}  // namespace nibble
