// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/explore_page.h"

#include "core/quant/decode.h"
#include "ui/forms/elided_label.h"
#include "ui/forms/panel.h"
#include "ui/forms/segments.h"
#include "ui/pages/beside_panel.h"
#include "ui/pages/group_frame.h"
#include "ui/pages/matrix_data.h"
#include "ui/pages/microscope_panel.h"
#include "ui/plots/error_histogram_plot.h"
#include "ui/plots/histogram_plot.h"
#include "ui/plots/matrix_plot.h"
#include "ui/plots/occupancy_plot.h"
#include "ui/plots/row_ranges_plot.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QStackedWidget>
#include <QVBoxLayout>

namespace nibble {

namespace {

constexpr int narrowBelow = 780;
constexpr std::uint64_t cellsAtOnce = std::uint64_t{1} << 20;

QLabel* chip(const QString& objectName, const char* look = "chip") {
  auto* label = new QLabel;
  label->setObjectName(objectName);
  label->setProperty("look", look);
  return label;
}

}  // namespace

ExplorePage::ExplorePage(Session& session, QWidget* parent) : QWidget(parent), m_session(session) {
  setObjectName("explorePage");
  setAccessibleName(tr("Explore"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(sizes::gap, sizes::gap, sizes::gap, sizes::gap);
  column->setSpacing(sizes::gap);
  column->addWidget(buildHeader());
  m_problem = new QLabel;
  m_problem->setObjectName("exploreProblem");
  m_problem->setProperty("look", "bad");
  m_problem->setWordWrap(true);
  m_problem->hide();
  column->addWidget(m_problem);
  column->addWidget(buildDistributions(), 20);
  column->addWidget(buildMatrix(), 28);
  m_microscope = new MicroscopePanel(session);
  column->addWidget(m_microscope, 0);
  connectPlots();
  connect(&session, &Session::changed, this, &ExplorePage::followSession);
  connect(&session.explorer(), &Explorer::changed, this, &ExplorePage::showExploration);
  connect(&session.explorer().lane(), &JobLane::cancelledByUser, this, [this] { setExactness(tr("cancelled"), "chipWarn"); });
  showExploration();
}

QWidget* ExplorePage::buildHeader() {
  auto* header = new QWidget;
  header->setFixedHeight(38);
  auto* line = new QHBoxLayout(header);
  line->setContentsMargins(sizes::grid, 0, 0, 0);
  line->setSpacing(sizes::gap);
  m_name = new ElidedLabel("tensorName", nullptr, Qt::ElideLeft);
  QFont font = fonts::fixed();
  font.setPixelSize(QFontInfo(fonts::body()).pixelSize() + 1);
  font.setBold(true);
  m_name->setFont(font);
  m_name->setProperty("look", "mono");
  m_type = chip("tensorType");
  m_shape = chip("tensorShape");
  m_size = chip("tensorSize");
  m_facts = new QLabel;
  m_facts->setObjectName("tensorFacts");
  m_facts->setProperty("look", "label");
  m_facts->setToolTip(tr("Kurtosis: fourth central moment over the squared variance; 3 for a Gaussian, more with heavy tails"));
  m_exactness = chip("exactness", "chipGood");
  line->addWidget(m_name);
  for (auto* label : {m_type, m_shape, m_size}) line->addWidget(label, 0, Qt::AlignVCenter);
  line->addStretch(1);
  line->addWidget(m_facts);
  line->addWidget(m_exactness, 0, Qt::AlignVCenter);
  return header;
}

QWidget* ExplorePage::buildDistributions() {
  auto* row = new QWidget;
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::gap);
  m_weights = new HistogramPlot;
  m_errors = new ErrorHistogramPlot;
  m_codes = new OccupancyPlot;
  m_weightsPanel = new Panel("weightsPanel", tr("Weights"));
  m_scale = new Segments("weightScale", tr("Scale of the counts"));
  m_scale->setStretching(false);
  m_scale->setChoices({"lin", "log"}, {tr("lin"), tr("log")});
  m_weightsPanel->addHeaderWidget(m_scale);
  m_weightsPanel->addPlot(m_weights);
  m_errorPanel = new Panel("errorPanel", tr("Error"));
  m_errorOrCodes = new Segments("errorOrCodes", tr("Error or codes"));
  m_errorOrCodes->setStretching(false);
  m_errorOrCodes->setChoices({"error", "codes"}, {tr("error"), tr("codes")});
  m_errorOrCodes->setValue("error");
  m_errorOrCodes->hide();
  m_errorPanel->addHeaderWidget(m_errorOrCodes);
  m_errorStack = new QStackedWidget;
  m_errorStack->addWidget(m_errors);
  connect(m_errors, &PlotWidget::hoverText, m_errorPanel, &Panel::setHoverText);
  m_errorPanel->addBody(m_errorStack);
  m_codesPanel = new Panel("codesPanel", tr("Codes"));
  m_codesPanel->addPlot(m_codes);
  line->addWidget(m_weightsPanel, 364);
  line->addWidget(m_errorPanel, 236);
  line->addWidget(m_codesPanel, 173);
  for (auto* panel : {m_weightsPanel, m_errorPanel, m_codesPanel}) panel->setMinimumWidth(120);
  row->setMinimumHeight(168);
  row->setMaximumHeight(260);
  return row;
}

QWidget* ExplorePage::buildMatrix() {
  auto* row = new QWidget;
  auto* line = new QHBoxLayout(row);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::gap);
  m_matrix = new MatrixPlot;
  m_matrixPanel = new Panel("matrixPanel", tr("Matrix"));
  m_quantity = new Segments("matrixQuantity", tr("What the matrix shows"));
  m_quantity->setStretching(false);
  m_quantity->setChoices({"value", "error", "scale", "code", "zero"}, {tr("value"), tr("|error|"), tr("scale"), tr("code"), tr("zero")});
  m_matrixPanel->addHeaderWidget(m_quantity);
  m_matrixPanel->addPlot(m_matrix);
  m_rowsPanel = new BesidePanel(m_session);
  m_rows = m_rowsPanel->rows();
  line->addWidget(m_matrixPanel, 486);
  line->addWidget(m_rowsPanel, 297);
  m_matrixPanel->setMinimumWidth(300);
  m_rowsPanel->setMinimumWidth(160);
  row->setMinimumHeight(196);
  return row;
}

void ExplorePage::connectPlots() {
  connect(m_scale, &Segments::chosen, this, [this](const QString& value) { setViewOption("weights.scale", value, tr("Scale of the counts")); });
  connect(m_quantity, &Segments::chosen, this, [this](const QString& value) { setViewOption("matrix.quantity", value, tr("Show %1").arg(value)); });
  connect(m_errorOrCodes, &Segments::chosen, this, [this](const QString& value) { m_errorStack->setCurrentIndex(value == "codes" ? 1 : 0); });
  connect(m_matrix, &MatrixPlot::cellClicked, this, &ExplorePage::chooseCell);
  connect(m_matrix, &MatrixPlot::rowRangeChanged, m_rows, &RowRangesPlot::setRowRange);
  connect(m_matrix, &MatrixPlot::regionChanged, this, &ExplorePage::showMatrixLine);
  connect(m_rows, &RowRangesPlot::rowRangeChanged, m_matrix, &MatrixPlot::setRowRange);
  connect(m_rows, &RowRangesPlot::rowClicked, this, [this](quint64 row) { chooseCell(row, m_session.explorer().cell().column); });
  connect(m_rowsPanel, &BesidePanel::cellChosen, this, &ExplorePage::chooseCell);
  for (PlotWidget* plot : {static_cast<PlotWidget*>(m_weights), static_cast<PlotWidget*>(m_errors), static_cast<PlotWidget*>(m_codes), static_cast<PlotWidget*>(m_matrix)}) {
    connect(plot, &PlotWidget::saveFailed, &m_session, &Session::problem);
    plot->setEmptyText(tr("Choose a tensor on the left."));
  }
}

void ExplorePage::setViewOption(const std::string& key, const QString& value, const QString& what) {
  m_session.edit(what, "view." + QString::fromStdString(key), [&](SessionState& state) { state.view[key] = value.toStdString(); });
}

void ExplorePage::chooseCell(std::uint64_t row, std::uint64_t column) {
  m_session.edit(tr("Select [%1, %2]").arg(row).arg(column), "cell", [&](SessionState& state) {
    state.cell = Cell{row, column};
    state.whatIf.reset();
  });
}

void ExplorePage::followSession(const SessionState& before) {
  const auto& now = m_session.state();
  const bool other = now.choice != before.choice || now.asStored != before.asStored || now.tensor != before.tensor || now.reading() != before.reading();
  if (other && m_session.explorer().lane().busy()) m_exactness->setText(tr("working"));  // what is shown is not of this choice yet
  if (now.view != before.view) {
    showLevels();
    if (now.viewOption("matrix.quantity", "value") != before.viewOption("matrix.quantity", "value") ||
        now.viewOption("matrix.pool", "max") != before.viewOption("matrix.pool", "max"))
      showMatrix();
  }
  if (now.cell != before.cell) {
    showLevels();
    showCell();
  }
}

void ExplorePage::showExploration() {
  const auto& exploration = m_session.explorer().current();
  if (!exploration) {
    m_shown.reset();
    showEmpty({});
    return;
  }
  m_shown = exploration;
  m_problem->setText(QString::fromStdString(exploration->problem));
  m_problem->setVisible(!exploration->problem.empty());
  if (!exploration->facts) {
    showEmpty(QString::fromStdString(exploration->problem));
    return;
  }
  showHeader(*exploration);
  showDistributions(*exploration);
  showLevels();
  if (exploration->exact()) {
    m_source = std::make_shared<const MatrixSource>(exploration->facts->tensor, exploration->quantized);
    showMatrix();
  } else if (!m_source || m_source->rows() != exploration->facts->tensor.rows()) {
    m_source = std::make_shared<const MatrixSource>(exploration->facts->tensor, nullptr);
    showMatrix();
  }
  std::vector<RowRange> ranges;
  ranges.reserve(exploration->facts->rows.size());
  for (const auto& row : exploration->facts->rows) ranges.push_back({row.min, row.p01, row.median, row.p99, row.max});
  m_rows->setData(std::move(ranges));
  showCell();
}

void ExplorePage::showHeader(const Exploration& exploration) {
  const auto& tensor = exploration.facts->tensor;
  m_name->setFullText(QString::fromStdString(tensor.name()));
  const auto* item = m_session.state().file ? m_session.state().file->find(tensor.name()) : nullptr;
  const auto typeName = info(tensor.type()).name;
  m_type->setText(item != nullptr ? QString::fromStdString(item->type) : QString::fromUtf8(typeName.data(), static_cast<int>(typeName.size())));
  m_shape->setText(formatShape(tensor.shape()));
  m_size->setText(formatSize(item != nullptr ? item->sizeBytes : tensor.bytes().size()));
  m_facts->setText(tr("max |w| %1   kurtosis %2").arg(formatFixed(static_cast<double>(exploration.facts->statistics.absMax), 4), formatFixed(exploration.facts->statistics.kurtosis, 2)));
  if (exploration.exact()) setExactness(tr("exact"), "chipGood");
  else setExactness(tr("sampled 1/%1").arg(exploration.sampledEvery), "chipWarn");
  for (auto* label : {m_type, m_shape, m_size, m_exactness}) label->show();
}

void ExplorePage::setExactness(const QString& text, const char* look) {
  m_exactness->setText(text);
  if (m_exactness->property("look").toString() == look) return;
  m_exactness->setProperty("look", look);
  restyle(m_exactness);
}

void ExplorePage::showDistributions(const Exploration& exploration) {
  if (!exploration.ok()) {
    m_errors->clear();
    m_codes->clear();
    m_codes->setEmptyText(tr("no codes"));
    m_codesPanel->setSubtitle({});
    return;
  }
  const Family family = exploration.family;
  m_errors->setEmptyText(exploration.isStored() ? tr("The file holds no weights from before it was packed.") : tr("Choose a tensor on the left."));
  if (exploration.isStored()) m_errors->clear();
  else m_errors->setData({exploration.steps.errors, exploration.steps.outsideShare, exploration.steps.inSteps, family});
  if (exploration.report.occupancy.empty()) m_codes->clear();
  else m_codes->setData({exploration.report.occupancy, family, -1});
  m_codes->setEmptyText(tr("more than 4096 codes"));
  m_codesPanel->setSubtitle(tr("entropy %1 bit").arg(formatFixed(exploration.report.codeEntropy, 2)));
}

void ExplorePage::showLevels() {
  const auto scale = m_session.state().viewOption("weights.scale", "log");
  m_scale->setValue(QString::fromStdString(scale));
  m_weights->setLogarithmic(scale == "log");
  if (!m_shown || !m_shown->facts) return;
  HistogramData data{m_shown->facts->weights, {}, m_shown->family, {}};
  if (m_shown->quantized) {
    const Cell cell = m_session.explorer().cell();
    const MatrixSource place(m_shown->facts->tensor, m_shown->quantized);
    for (const float level : levelsAt(*m_shown->quantized, place.storedIndex(cell.row, cell.column))) data.levels.push_back(level);
    m_weightsPanel->setSubtitle(data.levels.empty() ? QString() : tr("levels of %1").arg(describeGroup(*m_shown->quantized, place, cell)));
  } else {
    m_weightsPanel->setSubtitle({});
  }
  m_weights->setData(std::move(data));
}

// Why the matrix cannot show a quantity; empty: it can.
QString ExplorePage::whyNot(Quantity quantity, const QString& name) const {
  if (quantity == Quantity::Error && m_shown->isStored() && m_shown->ok()) return tr("the file holds no weights from before it was packed");
  return m_source->has(quantity) ? QString() : tr("this scheme stores no %1").arg(name);
}

void ExplorePage::showMatrix() {
  if (!m_source || !m_shown || !m_shown->facts) return;
  auto quantity = quantityFrom(m_session.state().viewOption("matrix.quantity", "value"));
  for (const auto& value : m_quantity->values())
    m_quantity->setImpossible(value, whyNot(quantityFrom(value.toStdString()), value));
  if (!whyNot(quantity, {}).isEmpty()) quantity = Quantity::Value;
  m_quantity->setValue(QString::fromStdString(quantityName(quantity)));
  auto data = matrixData(*m_source, quantity, *m_shown);
  data.pooled = [this](const MatrixRegion& region, int width, int height) { return pooled(region, width, height); };
  data.cellText = [source = m_source](std::uint64_t row, std::uint64_t column) { return cellText(*source, row, column); };
  m_matrix->setData(std::move(data));
  showMatrixLine();
}

PooledMatrix ExplorePage::pooled(const MatrixRegion& region, int width, int height) {
  if (!m_source || width <= 0 || height <= 0) return {};
  const auto quantity = quantityFrom(m_quantity->value().toStdString());
  const auto mode = m_session.state().viewOption("matrix.pool", "max") == "mean" ? Pooling::Mean : Pooling::MaxMagnitude;
  const auto source = m_source;
  const MatrixRows rows = [source, quantity](std::uint64_t row, std::uint64_t column, std::span<float> out) { source->read(quantity, row, column, out); };
  m_pictureSampled = region.rows() * region.columns() > cellsAtOnce;
  if (!m_pictureSampled) {
    m_pictures.cancel();
    return pool(rows, region, width, height, mode);
  }
  m_pictures.start(tr("Draw the matrix"), m_session.backend(),
                   [rows, region, width, height, mode](const JobContext&) { return pool(rows, region, width, height, mode); },
                   [this](PooledMatrix picture) {
                     m_pictureSampled = false;
                     m_matrix->setPicture(std::move(picture));
                     showMatrixLine();
                   });
  return pool(rows, region, width, height, mode, 1);
}

void ExplorePage::showMatrixLine() {
  const bool mean = m_session.state().viewOption("matrix.pool", "max") == "mean";
  const bool isSigned = m_quantity->value() == "value";
  const double rows = m_matrix->rowsPerPixel();
  QString line = rows <= 1 ? tr("single weights") : tr("by %1, %2 rows a pixel").arg(mean ? tr("mean") : isSigned ? tr("max |·|") : tr("max"), formatFixed(rows, 1));
  if (m_pictureSampled) line += tr(", sampled");
  m_matrixPanel->setSubtitle(line);
}

void ExplorePage::showCell() {
  if (!m_shown || !m_shown->facts) return;
  const Cell cell = m_session.explorer().cell();
  m_rowsPanel->showCell();
  std::optional<MatrixRegion> frame;
  if (m_shown->quantized) frame = groupFrame(*m_shown->quantized, MatrixSource(m_shown->facts->tensor, m_shown->quantized), cell);
  m_matrix->setSelection(frame, std::pair(cell.row, cell.column));
}

void ExplorePage::showEmpty(const QString& reason) {
  m_source.reset();
  m_weights->clear();
  m_errors->clear();
  m_codes->clear();
  m_matrix->clear();
  m_rows->clear();
  m_name->setFullText(QString::fromStdString(m_session.state().tensor));
  m_facts->clear();
  for (auto* label : {m_type, m_shape, m_size, m_exactness}) label->hide();
  for (auto* panel : {m_weightsPanel, m_errorPanel, m_codesPanel, m_matrixPanel}) panel->setSubtitle({});
  m_problem->setText(reason);
  m_problem->setVisible(!reason.isEmpty());
}

void ExplorePage::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  arrange();
}

// On narrow windows the codes share the error's panel.
void ExplorePage::arrange() {
  const bool narrow = width() < narrowBelow;
  if (narrow == m_narrow) return;
  m_narrow = narrow;
  m_errorOrCodes->setVisible(narrow);
  m_codesPanel->setVisible(!narrow);
  if (narrow) {
    m_errorStack->addWidget(m_codes);
    m_errorStack->setCurrentIndex(m_errorOrCodes->value() == "codes" ? 1 : 0);
  } else {
    m_codesPanel->addBody(m_codes);
    m_codes->show();
    m_errorStack->setCurrentIndex(0);
  }
}

}  // namespace nibble
