// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/activations_view.h"

#include "core/base/text.h"
#include "ui/forms/file_dialogs.h"
#include "ui/forms/panel.h"
#include "ui/forms/table_delegate.h"
#include "ui/models/linear_model.h"
#include "ui/plots/curve_plot.h"
#include "ui/session/session.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QEvent>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QLineEdit>
#include <QSignalBlocker>
#include <QSlider>
#include <QSpinBox>
#include <QTableView>
#include <QToolButton>
#include <algorithm>

namespace nibble {
namespace {

constexpr int alphaSteps = 100;

QString string(const std::string& text) { return QString::fromStdString(text); }

QLabel* quiet(const QString& text) {
  auto* label = new QLabel(text);
  label->setProperty("look", "label");
  return label;
}

double medianOf(std::vector<float> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return static_cast<double>(values[values.size() / 2]);
}

// "4 outlier channels, 32.1 x the median"
QString spreadText(const std::vector<float>& maxima) {
  const double median = medianOf(maxima), largest = static_cast<double>(*std::max_element(maxima.begin(), maxima.end()));
  const auto outliers = static_cast<qint64>(outlierChannels(maxima).size());
  return QObject::tr("%1, largest %2 the median")
      .arg(counted(outliers, QObject::tr("%1 outlier channel"), QObject::tr("%1 outlier channels")), median > 0 ? formatRatio(largest / median) : unknownText());
}

CurveSeries profile(const QString& name, const QColor& colour, const std::vector<float>& values) {
  CurveSeries series;
  series.name = series.label = name;
  series.colour = colour;
  series.fine = true;
  for (std::size_t i = 0; i < values.size(); ++i) series.x.push_back(static_cast<double>(i)), series.y.push_back(static_cast<double>(values[i]));
  return series;
}

}  // namespace

ActivationsView::ActivationsView(Session& session, QWidget* parent) : QWidget(parent), m_session(session), m_model(new LinearModel(this)) {
  setObjectName("activationsView");
  setAccessibleName(tr("The layer with its inputs"));
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(sizes::gap);
  column->addWidget(buildInputs());
  column->addWidget(buildPlots(), 1);
  column->addWidget(buildTable());
  connect(&session, &Session::changed, this, &ActivationsView::showOptions);
  connect(&session.activations(), &Activations::changed, this, &ActivationsView::refresh);
  showOptions();
}

QSpinBox* ActivationsView::addCount(const QString& objectName, const std::string& key, const QString& meaning, int least, int most) {
  auto* box = new QSpinBox;
  box->setObjectName(objectName);
  box->setAccessibleName(meaning);
  box->setToolTip(meaning);
  box->setRange(least, most);
  box->setKeyboardTracking(false);
  box->setAlignment(Qt::AlignRight);
  box->setFixedSize(76, sizes::control);
  connect(box, &QSpinBox::valueChanged, this, [this, key, meaning](int value) { setOption(key, QString::number(value), tr("%1: %2").arg(meaning).arg(value)); });
  return box;
}

QWidget* ActivationsView::buildInputs() {
  auto* panel = new QFrame;
  panel->setObjectName("activationInputs");
  panel->setProperty("look", "panel");
  auto* column = new QVBoxLayout(panel);
  column->setContentsMargins(12, sizes::gap, 12, sizes::gap);
  column->setSpacing(sizes::grid);
  auto* line = new QHBoxLayout;
  line->setSpacing(sizes::gap);
  m_file = new QLineEdit;
  m_file->setObjectName("activationFile");
  m_file->setAccessibleName(tr("File with inputs of the layer"));
  m_file->setPlaceholderText(tr("drawn; or a .npy, .npz or .safetensors file with [tokens, in]"));
  m_file->setFont(fonts::fixed());
  m_file->setProperty("look", "code");
  m_file->setClearButtonEnabled(true);
  m_file->setMinimumHeight(sizes::control);
  connect(m_file, &QLineEdit::editingFinished, this, [this] { setOption("act.inputs", m_file->text().trimmed(), tr("Inputs of the layer")); });
  connect(m_file, &QLineEdit::textChanged, this, [this](const QString& text) {
    if (text.isEmpty()) setOption("act.inputs", {}, tr("Drawn inputs"));  // the clear button
  });
  auto* browse = new QToolButton;
  browse->setObjectName("activationBrowse");
  browse->setIcon(icon("open-file"));
  browse->setToolTip(tr("Choose a file with inputs"));
  browse->setAccessibleName(browse->toolTip());
  browse->setFixedSize(sizes::control, sizes::control);
  connect(browse, &QToolButton::clicked, this, [this] {
    askOpenFile(this, tr("Inputs of the layer"), tr("Arrays (*.npy *.npz *.safetensors);;All files (*)"),
                [this](const QString& path) { setOption("act.inputs", path, tr("Inputs of the layer")); });
  });
  m_rows = addCount("activationRows", "act.rows", tr("Rows of inputs to draw"), 1, 4096);
  m_outliers = addCount("activationOutliers", "act.outliers", tr("Drawn channels that are 20 times larger"), 0, 4096);
  line->addWidget(quiet(tr("Inputs")));
  line->addWidget(m_file, 1);
  line->addWidget(browse);
  line->addWidget(quiet(tr("rows")));
  line->addWidget(m_rows);
  line->addWidget(quiet(tr("outliers")));
  line->addWidget(m_outliers);
  column->addLayout(line);
  m_note = new QLabel;
  m_note->setObjectName("activationNote");
  m_note->setProperty("look", "bad");
  m_note->setWordWrap(true);
  column->addWidget(m_note);
  return panel;
}

CurvePlot* ActivationsView::addPlot(const char* name, const QString& title, const QString& meaning, Panel*& panel) {
  auto* plot = new CurvePlot(name, meaning);
  plot->setEmptyText(tr("Choose a matrix on the left."));
  plot->setLabelRoom(86);
  connect(plot, &PlotWidget::saveFailed, &m_session, &Session::problem);
  panel = new Panel(QString("%1Panel").arg(name), title);
  panel->addPlot(plot);
  panel->setMinimumWidth(240);
  return plot;
}

QWidget* ActivationsView::buildPlots() {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(sizes::gap);
  auto* slide = new QHBoxLayout;
  slide->setSpacing(sizes::gap);
  m_alpha = new QSlider(Qt::Horizontal);
  m_alpha->setObjectName("activationAlpha");
  m_alpha->setAccessibleName(tr("Alpha of SmoothQuant"));
  m_alpha->setToolTip(tr("How much of a channel's size smoothing moves from the inputs into the weights:\ns = max |X|^alpha / max |W|^(1 - alpha), X / s, W x s"));
  m_alpha->setRange(0, alphaSteps);
  m_alpha->setPageStep(5);
  m_alpha->setFixedWidth(180);
  connect(m_alpha, &QSlider::valueChanged, this, [this](int value) {
    setOption("act.alpha", string(text::number(static_cast<double>(value) / alphaSteps)), tr("Alpha %1").arg(formatFixed(static_cast<double>(value) / alphaSteps, 2)));
  });
  m_alphaText = new QLabel;
  m_alphaText->setObjectName("activationAlphaText");
  m_found = new QLabel;
  m_found->setObjectName("activationOutlierText");
  m_found->setProperty("look", "label");
  m_found->setToolTip(tr("A channel is an outlier where its largest |input| is above six times the median of all channels"));
  slide->addWidget(quiet(tr("Smoothing, alpha")));
  slide->addWidget(m_alpha);
  slide->addWidget(m_alphaText);
  slide->addStretch(1);
  slide->addWidget(m_found);
  column->addLayout(slide);
  auto* line = new QHBoxLayout;
  line->setSpacing(sizes::gap);
  m_inputs = addPlot("activationProfile", tr("Inputs"), tr("Largest input of each channel"), m_inputPanel);
  m_weights = addPlot("weightProfile", tr("Weights"), tr("Largest weight of each channel"), m_weightPanel);
  line->addWidget(m_inputPanel, 1);
  line->addWidget(m_weightPanel, 1);
  column->addLayout(line, 1);
  return part;
}

QWidget* ActivationsView::buildTable() {
  m_tablePanel = new Panel("linearPanel", tr("Output error"));
  m_table = new QTableView;
  prepareTable(m_table, "linearTable", tr("Output error of weights and inputs quantized together"));
  m_table->setModel(m_model);
  auto* header = m_table->horizontalHeader();
  header->setSectionResizeMode(QHeaderView::Fixed);
  header->setSectionResizeMode(LinearModel::Weights, QHeaderView::Stretch);
  header->setSectionResizeMode(LinearModel::Inputs, QHeaderView::Stretch);
  const QFontMetrics head(fonts::hint()), text(fonts::bold());
  const auto width = [&](int section, const char* widest, const char* title) {
    m_table->setColumnWidth(section, std::max(head.horizontalAdvance(title), text.horizontalAdvance(widest)) + 24);
  };
  width(LinearModel::Sqnr, "100.00", "SQNR dB");
  width(LinearModel::SmoothedSqnr, "100.00", "smoothed");
  width(LinearModel::Gain, "+100.00", "gain");
  width(LinearModel::Mse, "0.01234", "MSE 1010-8");
  width(LinearModel::SmoothedMse, "0.01234", "smoothed");
  width(LinearModel::MaxError, "10.1234", "Max |e|");
  width(LinearModel::Cosine, "0.12345", "Cosine");
  width(LinearModel::Arithmetic, "8-bit integers", "Arithmetic");
  m_tablePanel->addBody(m_table);
  return m_tablePanel;
}

void ActivationsView::setOption(const std::string& key, const QString& value, const QString& what) {
  if (string(m_session.state().viewOption(key, "")) == value) return;
  m_session.edit(what, "view." + string(key), [&](SessionState& state) {
    if (value.isEmpty()) state.view.erase(key);
    else state.view[key] = value.toStdString();
  });
}

void ActivationsView::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() == QEvent::PaletteChange && isVisible()) refresh();  // the curves' colours
}

void ActivationsView::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  m_shown = {};
  showOptions();
}

// Columns that are told elsewhere too give way to the names of the rows.
void ActivationsView::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  for (const int column : {LinearModel::Cosine, LinearModel::MaxError}) m_table->setColumnHidden(column, width() < 900);
  m_table->setColumnHidden(LinearModel::SmoothedMse, width() < 800);
}

void ActivationsView::showOptions() {
  if (!isVisible()) return;
  const auto source = ActivationSource::of(m_session.state());
  const double alpha = Activations::alpha(m_session.state());
  const QSignalBlocker blocks[] = {QSignalBlocker(m_file), QSignalBlocker(m_rows), QSignalBlocker(m_outliers), QSignalBlocker(m_alpha)};
  if (!m_file->hasFocus() || string(source.inputs) != m_file->text().trimmed()) m_file->setText(string(source.inputs));
  m_rows->setValue(static_cast<int>(source.rows));
  m_outliers->setValue(static_cast<int>(source.outliers));
  for (QWidget* widget : {m_rows, m_outliers}) widget->setEnabled(source.inputs.empty());
  m_alpha->setValue(static_cast<int>(std::lround(alpha * alphaSteps)));
  m_alphaText->setText(formatFixed(alpha, 2));
  refresh();
}

void ActivationsView::showProfile(const ActivationFacts& facts) {
  const Theme& theme = themeOf(this);
  // Figures of the table arrive one by one; the curves only change with what they show.
  const Shown now{&facts, Activations::alpha(m_session.state()), theme.dark};
  if (now == m_shown) return;
  m_shown = now;
  const std::vector<float> scales = m_session.activations().scales();
  std::vector<float> inputs = facts.inputMax, weights = facts.weightMax;
  for (std::size_t i = 0; i < scales.size(); ++i) inputs[i] /= scales[i], weights[i] *= scales[i];
  const double end = static_cast<double>(std::max<std::size_t>(inputs.size(), 1) - 1);
  const auto show = [&](CurvePlot* plot, const QString& title, const std::vector<float>& before, const std::vector<float>& after) {
    CurveData data{tr("input channel"), title, {profile(tr("as given"), theme.bar, before), profile(tr("smoothed"), theme.accent, after)}, true, end};
    plot->setData(std::move(data));
  };
  show(m_inputs, tr("largest |input|"), facts.inputMax, inputs);
  show(m_weights, tr("largest |weight|"), facts.weightMax, weights);
  m_inputPanel->setSubtitle(spreadText(facts.inputMax));
  m_weightPanel->setSubtitle(spreadText(facts.weightMax));
  m_found->setText(tr("smoothed: %1").arg(spreadText(inputs)));
  m_tablePanel->setSubtitle(tr("%1 inputs, against the float layer; smoothed with alpha %2").arg(formatCount(facts.inputs.rows()), m_alphaText->text()));
}

void ActivationsView::refresh() {
  if (!isVisible()) return;
  const Activations& activations = m_session.activations();
  m_note->setText(string(activations.problem()));
  m_note->setVisible(!activations.problem().empty());
  if (const auto facts = activations.facts()) {
    showProfile(*facts);
  } else {
    m_shown = {};
    m_inputs->clear();
    m_weights->clear();
    m_found->clear();
    for (Panel* panel : {m_inputPanel, m_weightPanel, m_tablePanel}) panel->setSubtitle({});
  }
  m_model->setRows(activations.problem().empty() || activations.facts() ? activations.rows() : std::vector<LinearRow>{});
  m_table->setFixedHeight(sizes::tableHeader + std::clamp(m_model->rowCount(), 1, 8) * sizes::tableRow + 4);
}

}  // namespace nibble
