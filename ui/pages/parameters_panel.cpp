// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/parameters_panel.h"

#include "ui/forms/segments.h"
#include "ui/pages/train_data.h"
#include "ui/plots/curve_plot.h"
#include "ui/plots/matrix_plot.h"
#include "ui/plots/occupancy_plot.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QLabel>
#include <QStackedWidget>
#include <QVBoxLayout>
#include <algorithm>
#include <cmath>

namespace nibble {
namespace {

constexpr std::uint64_t cellsAtOnce = std::uint64_t{1} << 21;
constexpr std::size_t samplesMost = std::size_t{1} << 16;

// 99.5 % of the numbers are at most so large; of an even sample.
double typicalExtent(const std::vector<double>& values) {
  const std::size_t stride = std::max<std::size_t>(1, values.size() / samplesMost);
  std::vector<double> sizes;
  for (std::size_t i = 0; i < values.size(); i += stride)
    if (std::isfinite(values[i])) sizes.push_back(std::abs(values[i]));
  if (sizes.empty()) return 0;
  const auto at = sizes.begin() + static_cast<std::ptrdiff_t>(static_cast<double>(sizes.size() - 1) * 0.995);
  std::nth_element(sizes.begin(), at, sizes.end());
  return *at > 0 ? *at : *std::max_element(sizes.begin(), sizes.end());
}

// The next of 1, 2, 4, 6, 8 x 10^n.
double roundUp(double value) {
  if (!(value > 0)) return 0;
  const double power = std::pow(10.0, std::floor(std::log10(value)));
  for (const double digit : {1.0, 2.0, 4.0, 6.0, 8.0})
    if (value <= digit * power * (1 + 1e-12)) return digit * power;
  return 10 * power;
}

MatrixPlotData plotData(const std::shared_ptr<const train::NamedArray>& array, double extent) {
  MatrixPlotData data;
  data.rows = array->shape.front();
  data.columns = array->shape.back();
  data.low = -extent, data.high = extent;
  data.decimals = extent > 0 ? std::clamp(1 - static_cast<int>(std::floor(std::log10(extent))), 0, 9) : 2;
  data.pooled = [array](const MatrixRegion& region, int width, int height) {
    const MatrixRows rows = [&](std::uint64_t row, std::uint64_t begin, std::span<float> out) {
      const double* from = array->values.data() + row * array->shape.back() + begin;
      std::transform(from, from + out.size(), out.begin(), [](double value) { return static_cast<float>(value); });
    };
    return pool(rows, region, width, height, Pooling::MaxMagnitude, region.rows() * region.columns() > cellsAtOnce ? 1 : 0);
  };
  data.cellText = [array](std::uint64_t row, std::uint64_t column) {
    return QObject::tr("%1 [%2, %3]: %4").arg(QString::fromStdString(array->name)).arg(row).arg(column).arg(formatSignificant(array->values[row * array->shape.back() + column], 4));
  };
  return data;
}

std::string keyOf(const std::string& kind, const std::string& name) {
  return kind == "gradient" ? "grad/" + name : kind == "update" ? "update/" + name : name;
}

std::shared_ptr<const train::NamedArray> arrayNamed(const TrainSnapshot& snapshot, const std::string& key) {
  const auto found = snapshot.arrays.find(key);
  return found == snapshot.arrays.end() || found->second->values.empty() ? nullptr : found->second;
}

std::vector<std::shared_ptr<const train::NamedArray>> bitArrays(const TrainSnapshot& snapshot) {
  std::vector<std::shared_ptr<const train::NamedArray>> all;
  for (const auto& [name, array] : snapshot.arrays)
    if ((name == "bits" || name.ends_with("/bits")) && !array->values.empty()) all.push_back(array);
  return all;
}

QLabel* partTitle(const QString& objectName) {
  auto* label = new QLabel;
  label->setObjectName(objectName);
  label->setProperty("look", "hint");
  label->setTextFormat(Qt::RichText);
  return label;
}

QWidget* under(QLabel* title, QWidget* plot) {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(2);
  column->addWidget(title);
  column->addWidget(plot, 1);
  return part;
}

}  // namespace

ParametersPanel::ParametersPanel(Session& session, QWidget* parent)
    : Panel("trainParameters", tr("Parameters"), parent), m_session(session), m_kind(new Segments("parameterKind", tr("What the maps show"))), m_empty(new QLabel),
      m_magnitudeTitle(partTitle("parameterTitle_m")), m_stack(new QStackedWidget), m_a(makeMap("A", tr("Adapter A"))), m_b(makeMap("B", tr("Adapter B"))),
      m_ba(makeMap("BA", tr("Product BA with its scale"))), m_magnitude(new CurvePlot("parameter_m", tr("Magnitude of each row"))), m_bits(makeMap("bits", tr("Bits of each group"))),
      m_bitCounts(new OccupancyPlot(nullptr, "bitCounts")), m_bitCurves(new CurvePlot("bitCurves", tr("Bits over the steps"))), m_weight(makeMap("weight", tr("Packed weights"))),
      m_codeCounts(new OccupancyPlot(nullptr, "codeCounts")) {
  m_kind->setStretching(false);
  m_kind->setChoices({"value", "gradient", "update"}, {tr("value"), tr("gradient"), tr("last update")});
  addHeaderWidget(m_kind);
  m_ba.plot->setLook(MatrixLook::WithScale);
  m_magnitude->setMargins(32, 4, 18, 6);
  m_magnitude->setMinimumSize(70, 50);
  connect(m_magnitude, &PlotWidget::hoverText, this, &Panel::setHoverText);
  connect(m_magnitude, &PlotWidget::saveFailed, &session, &Session::problem);
  auto* body = new QWidget;
  auto* line = new QHBoxLayout(body);
  line->setContentsMargins(sizes::inside, 2, sizes::inside, sizes::inside);
  line->setSpacing(16);
  auto* left = new QVBoxLayout;
  left->setSpacing(sizes::grid);
  left->addWidget(under(m_a.title, m_a.plot), 3);
  auto* lower = new QHBoxLayout;
  lower->setSpacing(sizes::gap);
  m_magnitudePart = under(m_magnitudeTitle, m_magnitude);
  lower->addWidget(under(m_b.title, m_b.plot), 1);
  lower->addWidget(m_magnitudePart, 1);
  left->addLayout(lower, 5);
  line->addLayout(left, 10);
  line->addWidget(under(m_ba.title, m_ba.plot), 12);
  m_empty->setObjectName("parametersEmpty");
  m_empty->setProperty("look", "label");
  m_empty->setAlignment(Qt::AlignCenter);
  m_empty->setWordWrap(true);
  m_stack->addWidget(m_empty);
  m_stack->addWidget(body);
  m_stack->addWidget(buildBits());
  m_stack->addWidget(buildCodes());
  addBody(m_stack);
  connect(m_kind, &Segments::chosen, this, [this](const QString& kind) {
    m_session.edit(tr("Show the %1").arg(kind), "view.trainview.kind", [&](SessionState& state) { state.view["trainview.kind"] = kind.toStdString(); });
  });
  connect(&session, &Session::changed, this, [this](const SessionState& before) {
    const auto& now = m_session.state();
    if (!isVisible()) return;
    if (now.cell != before.cell || now.tensor != before.tensor || now.viewOption("trainview.kind", "value") != before.viewOption("trainview.kind", "value")) showNow();
  });
  showNow();
}

ParametersPanel::Map ParametersPanel::makeMap(const char* name, const QString& meaning) {
  Map map{name, partTitle(QString("parameterTitle_%1").arg(name)), new MatrixPlot(nullptr, QString("parameter_%1").arg(name))};
  map.plot->setAccessibleName(meaning);
  map.plot->setLook(MatrixLook::Bare);
  connect(map.plot, &PlotWidget::hoverText, this, &Panel::setHoverText);
  connect(map.plot, &PlotWidget::saveFailed, &m_session, &Session::problem);
  connect(map.plot, &MatrixPlot::cellClicked, this, [this, map](quint64 row, quint64 column) {
    const Cell now = m_session.explorer().cell();
    const std::string which = map.name;  // rows of B are outputs, columns of A inputs
    const Cell cell{which == "A" ? now.row : row, which == "B" ? now.column : column};
    m_session.edit(tr("Select [%1, %2]").arg(cell.row).arg(cell.column), "cell", [&](SessionState& state) {
      state.cell = cell;
      state.whatIf.reset();
    });
  });
  return map;
}

QWidget* ParametersPanel::buildBits() {
  m_bits.plot->setLook(MatrixLook::WithScale);
  m_bitCounts->setAccessibleName(tr("Groups with so many bits"));
  m_bitCounts->setToolTip(tr("Share of the groups whose bits round to this number"));
  m_bitCounts->setAxisMargins(30, 6, 36, 16);
  m_bitCurves->setMargins(44, 64, 36, 8);
  for (PlotWidget* plot : {static_cast<PlotWidget*>(m_bitCounts), static_cast<PlotWidget*>(m_bitCurves)}) {
    connect(plot, &PlotWidget::hoverText, this, &Panel::setHoverText);
    connect(plot, &PlotWidget::saveFailed, &m_session, &Session::problem);
  }
  auto* part = new QWidget;
  auto* line = new QHBoxLayout(part);
  line->setContentsMargins(sizes::grid, 2, sizes::inside, sizes::grid);
  line->setSpacing(sizes::gap);
  line->addWidget(m_bitCurves, 11);
  line->addWidget(m_bitCounts, 7);
  line->addWidget(under(m_bits.title, m_bits.plot), 10);
  return part;
}

QWidget* ParametersPanel::buildCodes() {
  m_weight.plot->setLook(MatrixLook::WithScale);
  m_codeCounts->setAccessibleName(tr("How often each code is used"));
  m_codeCounts->setAxisMargins(30, 6, 36, 16);
  connect(m_codeCounts, &PlotWidget::hoverText, this, &Panel::setHoverText);
  connect(m_codeCounts, &PlotWidget::saveFailed, &m_session, &Session::problem);
  auto* part = new QWidget;
  auto* line = new QHBoxLayout(part);
  line->setContentsMargins(sizes::grid, 2, sizes::inside, sizes::grid);
  line->setSpacing(sizes::gap);
  line->addWidget(m_codeCounts, 9);
  line->addWidget(under(m_weight.title, m_weight.plot), 14);
  return part;
}

void ParametersPanel::showCodes(const TrainSnapshot& snapshot, const std::string& kind) {
  setTitle(tr("Packed weights"));
  setSubtitle(tr("%1, step %2").arg(runTitle(*snapshot.runs.front())).arg(snapshot.arraysStep));
  const auto codes = arrayNamed(snapshot, "codes");
  OccupancyData counts;
  counts.family = familyOf(*snapshot.runs.front());
  for (const double code : codes->values) {
    const auto place = static_cast<std::size_t>(code);
    if (place >= counts.counts.size()) counts.counts.resize(place + 1);
    ++counts.counts[place];
  }
  m_codeCounts->setData(std::move(counts));
  const bool value = kind == "value";
  const auto map = arrayNamed(snapshot, value ? "weight" : keyOf(kind, "codes"));
  const QString name = QString("<b>%1</b>").arg(value ? tr("W") : kind == "gradient" ? tr("dW") : tr("codes flipped"));
  if (!map || map->shape.size() != 2) {
    m_weight.title->setText(name);
    return m_weight.plot->clear();
  }
  const double extent = extentFor(keyOf(kind, "weight"), typicalExtent(map->values));
  m_weight.title->setText(tr("%1&nbsp; %2, ±%3").arg(name, formatShape(map->shape), formatSignificant(extent, 1)));
  m_weight.plot->setData(plotData(map, extent));
}

// The current tensor's where several train; else the first.
std::shared_ptr<const train::NamedArray> ParametersPanel::bitsShown(const TrainSnapshot& snapshot) const {
  if (const auto own = arrayNamed(snapshot, m_session.state().tensor + "/bits")) return own;
  const auto all = bitArrays(snapshot);
  return all.empty() ? nullptr : all.front();
}

void ParametersPanel::showBits(const TrainSnapshot& snapshot) {
  const auto bits = bitsShown(snapshot);
  const auto all = bitArrays(snapshot);
  setTitle(tr("Bits"));
  const QString step = tr("%1, step %2").arg(runTitle(*snapshot.runs.front())).arg(snapshot.arraysStep);
  setSubtitle(all.size() > 1 ? tr("%1, %2 tensors together").arg(step).arg(all.size()) : step);
  const auto [least, most] = std::minmax_element(bits->values.begin(), bits->values.end());
  m_bits.title->setText(tr("<b>bits</b>&nbsp; %1 groups, %2").arg(formatCount(bits->values.size()), formatFixed(*least, 2) + QStringLiteral("–") + formatFixed(*most, 2)));
  if (bits->shape.size() == 2) {
    MatrixPlotData data = plotData(bits, 1);
    data.scale = ColourScale::Sequential;
    data.low = 0, data.high = std::max(1.0, std::ceil(extentFor("bits", *most)));
    data.decimals = 0;
    m_bits.plot->setData(std::move(data));
  } else {
    m_bits.plot->clear();  // groups run over the ends of rows
  }
  OccupancyData counts;
  counts.family = Family::Learned;
  counts.what = tr("bits"), counts.of = tr("groups");
  for (const auto& array : all)
    for (const double value : array->values) {
      const auto place = static_cast<std::size_t>(std::max(0.0, std::nearbyint(value)));
      if (place >= counts.counts.size()) counts.counts.resize(place + 1);
      ++counts.counts[place];
    }
  m_bitCounts->setData(std::move(counts));
  m_bitCurves->setData(trainCurves(snapshot, themeOf(this), trainSettings(m_session.state()).steps, m_session.state().tensor).bits);
}

void ParametersPanel::setEmptyText(const QString& text) { m_empty->setText(text); }

void ParametersPanel::showSnapshot(const std::shared_ptr<const TrainSnapshot>& snapshot) {
  const std::uint64_t step = snapshot ? snapshot->arraysStep : 0;
  if (!snapshot || step < m_step) m_extents.clear();
  m_step = step;
  m_snapshot = snapshot;
  showNow();
}

void ParametersPanel::changeEvent(QEvent* event) {
  Panel::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && m_magnitudePart != nullptr) showNow();  // the curve's colour
}

double ParametersPanel::extentFor(const std::string& key, double wanted) {
  double& kept = m_extents[key];
  kept = std::max(kept, roundUp(wanted));
  return kept > 0 ? kept : 1;
}

void ParametersPanel::showNow() {
  const std::string kind = m_session.state().viewOption("trainview.kind", "value");
  m_kind->setValue(QString::fromStdString(kind));
  const bool there = m_snapshot && arrayNamed(*m_snapshot, "A") && arrayNamed(*m_snapshot, "B"), bits = m_snapshot && !bitArrays(*m_snapshot).empty(),
             codes = m_snapshot && arrayNamed(*m_snapshot, "codes");
  m_stack->setCurrentIndex(there ? 1 : bits ? 2 : codes ? 3 : 0);
  m_kind->setVisible(there || codes);
  if (bits) return showBits(*m_snapshot);
  if (codes) return showCodes(*m_snapshot, kind);
  setTitle(tr("Parameters"));
  if (!there) return setSubtitle({});
  const QString title = runTitle(*m_snapshot->runs.front());
  setSubtitle(kind == "update" && !arrayNamed(*m_snapshot, "update/A") ? tr("no step was done yet") : tr("%1, step %2").arg(title).arg(m_snapshot->arraysStep));
  for (const Map& map : {m_a, m_b, m_ba}) showMap(map, *m_snapshot, kind);
  showMagnitude(*m_snapshot, kind);
}

void ParametersPanel::showMap(const Map& map, const TrainSnapshot& snapshot, const std::string& kind) {
  const std::string key = keyOf(kind, map.name);
  const auto array = arrayNamed(snapshot, key);
  const QString name = QString("<b>%1</b>").arg(map.name);
  if (!array || array->shape.size() != 2) {
    map.title->setText(name);
    return map.plot->clear();
  }
  const double extent = extentFor(key, typicalExtent(array->values));
  map.title->setText(tr("%1&nbsp; %2, ±%3").arg(name, formatShape(array->shape), formatSignificant(extent, 1)));
  map.plot->setData(plotData(array, extent));
  const Cell cell = m_session.explorer().cell();
  const bool whole = map.name == std::string("BA");
  if (whole && cell.row < array->shape[0] && cell.column < array->shape[1]) map.plot->setSelection(MatrixRegion{cell.row, cell.row + 1, cell.column, cell.column + 1});
}

void ParametersPanel::showMagnitude(const TrainSnapshot& snapshot, const std::string& kind) {
  const auto array = arrayNamed(snapshot, keyOf(kind, "magnitude"));
  m_magnitudePart->setVisible(arrayNamed(snapshot, "magnitude") != nullptr);
  if (!array) return m_magnitude->clear();
  m_magnitudeTitle->setText(tr("<b>m</b>&nbsp; %1 rows").arg(formatCount(array->values.size())));
  CurveData data;
  data.xTitle = tr("row"), data.yTitle = tr("m");
  data.xEnd = static_cast<double>(array->values.size() - 1);
  data.titles = false;
  data.fromZero = false;
  CurveSeries series;
  series.name = QString::fromStdString(array->name);
  series.colour = themeOf(this).text;
  series.fine = true;
  for (std::size_t i = 0; i < array->values.size(); ++i) series.x.push_back(static_cast<double>(i)), series.y.push_back(array->values[i]);
  data.series.push_back(std::move(series));
  data.marker = static_cast<double>(m_session.explorer().cell().row);
  m_magnitude->setData(std::move(data));
}

}  // namespace nibble
