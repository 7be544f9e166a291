// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/microscope_panel.h"

#include "core/formats/format.h"
#include "ui/plots/bit_strip.h"
#include "ui/plots/microscope_plot.h"
#include "ui/session/explorer.h"
#include "ui/session/exporter.h"
#include "ui/session/session.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QComboBox>
#include <QLabel>
#include <QSignalBlocker>
#include <QVBoxLayout>

namespace nibble {

namespace {

constexpr std::size_t packAtOnce = std::size_t{1} << 18;

std::shared_ptr<const std::vector<std::byte>> pack(const Layout& layout, const Codes& codes) {
  return std::make_shared<const std::vector<std::byte>>(layout.pack(codes));
}

}  // namespace

MicroscopePanel::MicroscopePanel(Session& session, QWidget* parent)
    : Panel("microscopePanel", tr("Microscope"), parent), m_session(session), m_plot(new MicroscopePlot), m_strip(new BitStrip),
      m_layoutCombo(new QComboBox) {
  auto* as = new QLabel(tr("as"));
  as->setProperty("look", "label");
  addHeaderWidget(as);
  m_layoutCombo->setObjectName("microscopeLayout");
  m_layoutCombo->setAccessibleName(tr("Layout of the bytes shown"));
  m_layoutCombo->setToolTip(tr("Format whose bytes the strip shows"));
  m_layoutCombo->setSizeAdjustPolicy(QComboBox::AdjustToContents);
  m_layoutCombo->setProperty("small", true);
  addHeaderWidget(m_layoutCombo);
  m_plot->setMinimumHeight(112);
  m_plot->setMaximumHeight(150);
  addPlot(m_plot, 1);
  auto* rule = new QFrame;
  rule->setProperty("look", "rule");
  rule->setFixedHeight(1);
  addBody(rule, 0);
  m_strip->setFixedHeight(m_strip->sizeHint().height());
  addPlot(m_strip, 0);
  m_plot->setEmptyText(tr("Click a cell of the matrix to see its group."));
  m_strip->setEmptyText(QString());
  connect(m_layoutCombo, &QComboBox::activated, this, [this](int index) {
    const std::string id = m_layoutCombo->itemData(index).toString().toStdString();
    m_session.edit(tr("Show bytes as %1").arg(m_layoutCombo->itemText(index)), "view.microscope", [&](SessionState& state) { state.view["microscope.layout"] = id; });
  });
  connect(m_plot, &MicroscopePlot::scaleDragged, this, [this](double scale) { drag({scale, m_group.zero}, "whatif.scale"); });
  connect(m_plot, &MicroscopePlot::zeroDragged, this, [this](double zero) { drag({m_group.scale, zero}, "whatif.zero"); });
  connect(m_plot, &MicroscopePlot::resetRequested, this, [this] {
    m_session.edit(tr("Reset scale and zero"), {}, [](SessionState& state) { state.whatIf.reset(); });
  });
  connect(m_plot, &MicroscopePlot::weightClicked, this, &MicroscopePanel::choose);
  connect(m_strip, &BitStrip::columnClicked, this, &MicroscopePanel::choose);
  for (PlotWidget* plot : {static_cast<PlotWidget*>(m_plot), static_cast<PlotWidget*>(m_strip)})
    connect(plot, &PlotWidget::saveFailed, &session, &Session::problem);
  connect(&session, &Session::changed, this, &MicroscopePanel::follow);
  connect(&session.explorer(), &Explorer::changed, this, &MicroscopePanel::refresh);
}

void MicroscopePanel::follow(const SessionState& before) {
  const auto& now = m_session.state();
  if (now.view != before.view) return refresh();
  if (now.cell != before.cell || now.whatIf != before.whatIf) showGroup();
}

void MicroscopePanel::drag(const WhatIf& wish, const QString& key) {
  m_session.edit(tr("Drag in the microscope"), key, [&](SessionState& state) {
    state.cell = m_session.explorer().cell();
    state.whatIf = wish;
  });
}

void MicroscopePanel::choose(int member) {
  if (member < 0 || member >= static_cast<int>(m_group.cells.size())) return;
  const Cell cell = m_group.cells[static_cast<std::size_t>(member)];
  m_session.edit(tr("Select [%1, %2]").arg(cell.row).arg(cell.column), "cell", [&](SessionState& state) { state.cell = cell; });
}

void MicroscopePanel::refresh() {
  const auto& exploration = m_session.explorer().current();
  m_quantized = exploration && exploration->ok() ? exploration->quantized : nullptr;
  if (!m_quantized) return showNothing();
  fillLayouts();
  usePacked();
  showGroup();
}

void MicroscopePanel::showNothing() {
  m_group = {};
  m_packed.reset();
  m_layout.reset();
  m_packing.cancel();
  m_plot->clear();
  m_strip->clear();
  m_layoutCombo->clear();
  setSubtitle({});
}

// The scheme's own layout and those of the formats that can hold the tensor.
void MicroscopePanel::fillLayouts() {
  const QSignalBlocker block(m_layoutCombo);
  m_layoutCombo->clear();
  const auto wanted = m_session.state().viewOption("microscope.layout", "");
  const Format* preferred = m_session.exporter().format();
  std::shared_ptr<const Layout> chosen;
  int place = 0;
  for (const auto& offer : m_session.exporter().offers()) {
    if (!offer.refusal.empty()) continue;
    const auto layout = offer.format->layout(*m_quantized);
    if (!layout) continue;
    const auto id = std::string(offer.format->info().id);
    m_layoutCombo->addItem(QString::fromStdString(id + " " + layout->name()), QString::fromStdString(id));
    if (wanted.empty() ? offer.format == preferred : id == wanted) {
      chosen = layout;
      place = m_layoutCombo->count() - 1;
    }
  }
  m_layoutCombo->addItem(QString::fromStdString(m_quantized->layout->name()), QString("scheme"));
  if (!chosen) {
    chosen = m_quantized->layout;
    place = m_layoutCombo->count() - 1;
  }
  m_layoutCombo->setCurrentIndex(place);
  m_layout = chosen;
}

void MicroscopePanel::usePacked() {
  m_packed.reset();
  if (m_quantized->codes.size() <= packAtOnce) {
    m_packing.cancel();
    m_packed = pack(*m_layout, m_quantized->codes);
    return;
  }
  m_packing.start(tr("Pack the codes"), m_session.backend(),
                  [layout = m_layout, quantized = m_quantized](const JobContext&) { return pack(*layout, quantized->codes); },
                  [this](Packed packed) {
                    m_packed = std::move(packed);
                    showStrip();
                  });
}

void MicroscopePanel::showGroup() {
  const auto& exploration = m_session.explorer().current();
  if (!m_quantized || !exploration || !exploration->facts) return;
  const MatrixSource source(exploration->facts->tensor, m_quantized);
  m_group = microscopeGroup(*m_quantized, source, m_session.explorer().cell(), m_session.state().whatIf);
  MicroscopeData data;
  data.weights = m_group.weights;
  data.codes = m_group.levelOf;
  data.levels = m_group.levels;
  data.selected = m_group.selected;
  data.scale = m_group.scale;
  data.zero = m_group.zero;
  data.scaleDraggable = m_group.hasScale;
  data.zeroDraggable = m_group.hasZero;
  data.family = exploration->choice->scheme().info().family;
  m_plot->setData(std::move(data));
  showLine();
  showStrip();
}

void MicroscopePanel::showLine() {
  QStringList parts;
  if (m_group.hasScale) parts << tr("scale %1").arg(formatSignificant(m_group.scale, 4));
  if (m_group.hasZero) parts << tr("zero %1").arg(formatFixed(m_group.zero, 3));
  if (m_group.selected >= 0) {
    const auto i = static_cast<std::size_t>(m_group.selected);
    const double weight = m_group.weights[i], value = m_group.value(m_group.selected);
    const auto code = m_session.state().whatIf ? static_cast<qint64>(m_group.levelOf[i]) : static_cast<qint64>(m_group.codes[i]);
    parts << tr("weight [%1, %2] %3 → code %4 → %5, error %6")
                 .arg(formatCount(m_group.cells[i].row), formatCount(m_group.cells[i].column), formatFixed(weight, 4))
                 .arg(code)
                 .arg(formatFixed(value, 4), formatFixed(weight - value, 4));
  }
  if (m_session.state().whatIf)
    parts << tr("what if: MSE %1, was %2").arg(formatMse(m_group.meanSquaredError), formatMse(m_group.ownMeanSquaredError));
  else if (m_group.size > m_group.weights.size())
    parts << tr("%1 of %2 weights").arg(formatCount(m_group.weights.size()), formatCount(m_group.size));
  setSubtitle(parts.join("   "));
}

void MicroscopePanel::showStrip() {
  if (!m_quantized || !m_layout || m_group.weights.empty()) return;
  BitStripData data;
  static const std::vector<std::byte> nothing;
  const auto& packed = m_packed ? *m_packed : nothing;
  for (std::size_t i = 0; i < m_group.weights.size(); ++i) {
    const auto place = codePlace(*m_quantized, *m_layout, packed, m_group.stored[i]);
    BitColumn column{m_group.weights[i], static_cast<int>(m_group.codes[i]), place.bits, {}};
    for (std::size_t digit = 0; m_packed && digit < place.hex.size(); ++digit) column.hex.push_back({place.hex[digit], place.ours[digit]});
    data.columns.push_back(std::move(column));
    if (static_cast<int>(i) != m_group.selected) continue;
    data.place = QString("codes[%1]").arg(place.word);
    data.bitRange = place.highBit == place.lowBit ? tr("bit %1").arg(place.highBit) : tr("bits %1–%2").arg(place.highBit).arg(place.lowBit);
    data.unit = place.wordBits == 8 ? tr("byte") : tr("word");
  }
  data.selected = m_group.selected;
  data.family = m_session.explorer().current()->choice->scheme().info().family;
  m_strip->setData(std::move(data));
}

}  // namespace nibble
