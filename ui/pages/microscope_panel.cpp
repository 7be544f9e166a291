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
#include <algorithm>
#include <cmath>

namespace nibble {

namespace {

constexpr int layoutLeast = 80, layoutMost = 228, layoutMargins = 50;  // of the box that names the layout, as wide as its name
constexpr std::uint64_t packAtOnce = std::uint64_t{1} << 18;
constexpr std::size_t membersShown = 256;

// The number in `levels` nearest to `value`.
int nearestLevel(const std::vector<float>& levels, double value) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(levels.size()); ++i)
    if (std::abs(static_cast<double>(levels[static_cast<std::size_t>(i)]) - value) < std::abs(static_cast<double>(levels[static_cast<std::size_t>(best)]) - value)) best = i;
  return best;
}

// The digits of one word; a second word of the same code follows after a gap.
void addHex(BitColumn& column, const std::vector<BitPlace>& places, std::uint64_t word, const PackedView& packed) {
  const auto first = std::find_if(places.begin(), places.end(), [word](const BitPlace& place) { return place.word == word; });
  const std::string hex = packed.hex(first->value);
  if (!column.hex.empty()) column.hex.push_back({' ', false});
  for (std::size_t digit = 0; digit < hex.size(); ++digit) {
    const int low = static_cast<int>(hex.size() - 1 - digit) * 4;
    const bool ours = std::any_of(places.begin(), places.end(), [&](const BitPlace& place) {
      return place.word == word && place.firstBit < low + 4 && place.firstBit + place.width > low;
    });
    column.hex.push_back({hex[digit], ours});
  }
}

// "7–4": the bits of a word that hold parts of the code.
QString bitRange(const std::vector<BitPlace>& places, std::uint64_t word) {
  QStringList ranges;
  int low = -1, high = -1;
  const auto close = [&] {
    if (high >= 0) ranges << (high == low ? QString::number(high) : QString("%1–%2").arg(high).arg(low));
  };
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    if (place->word != word) continue;
    if (high >= 0 && place->firstBit + place->width == low) {
      low = place->firstBit;
      continue;
    }
    close();
    low = place->firstBit;
    high = low + place->width - 1;
  }
  close();
  return ranges.join(", ");
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
  m_layoutCombo->setFixedWidth(layoutLeast);
  m_layoutCombo->setProperty("small", true);
  addHeaderWidget(m_layoutCombo);
  m_plot->setMinimumHeight(106);
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
  connect(m_plot, &MicroscopePlot::scaleDragged, this, [this](double scale) { drag({scale, shownParameters().zero}, "whatif.scale"); });
  connect(m_plot, &MicroscopePlot::zeroDragged, this, [this](double zero) { drag({shownParameters().scale, zero}, "whatif.zero"); });
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
  if (!m_group || member < 0 || member >= static_cast<int>(m_group->members.size())) return;
  const auto& chosen = m_group->members[static_cast<std::size_t>(member)];
  const Cell cell{chosen.row, chosen.column};
  m_session.edit(tr("Select [%1, %2]").arg(cell.row).arg(cell.column), "cell", [&](SessionState& state) { state.cell = cell; });
}

// Scale and zero shown now, the zero in codes.
WhatIf MicroscopePanel::shownParameters() const {
  if (m_session.state().whatIf) return *m_session.state().whatIf;
  if (!m_group) return {};
  const double scale = static_cast<double>(m_group->scale), zero = static_cast<double>(m_group->zero);
  return {scale, m_group->rule == ValueRule::ScalePlusBias ? (scale != 0 ? -zero / scale : 0) : zero};
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
  m_group.reset();
  m_whatIf.reset();
  m_packed.reset();
  m_packedOf.reset();
  m_packedAs.reset();
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
  const auto& exploration = m_session.explorer().current();
  const bool stored = exploration && exploration->isStored();  // its own words come first
  const Format* preferred = stored ? nullptr : m_session.exporter().format();
  std::shared_ptr<const Layout> chosen;
  int place = 0;
  for (const auto& offer : m_session.exporter().offers()) {
    if (!offer.refusal.empty()) continue;
    const auto& layout = offer.layout;
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
  m_layoutCombo->setFixedWidth(std::clamp(m_layoutCombo->fontMetrics().horizontalAdvance(m_layoutCombo->currentText()) + layoutMargins, layoutLeast, layoutMost));
  m_layout = chosen;
}

void MicroscopePanel::usePacked() {
  if (m_quantized == m_packedOf && m_layout == m_packedAs) return;  // packed, or on the way
  m_packedOf = m_quantized;
  m_packedAs = m_layout;
  m_packed.reset();
  auto view = std::make_shared<const PackedView>(m_quantized, m_layout);
  if (m_quantized->weightCount() <= packAtOnce) {
    m_packing.cancel();
    m_packed = std::move(view);
    return;
  }
  m_packing.start(tr("Pack the codes"), m_session.backend(),
                  [view](const JobContext&) {
                    (void)view->places(0);  // packs the whole tensor
                    return view;
                  },
                  [this](std::shared_ptr<const PackedView> packed) {
                    m_packed = std::move(packed);
                    showStrip();
                  });
}

void MicroscopePanel::showGroup() {
  const auto& exploration = m_session.explorer().current();
  if (!m_quantized || !exploration || !exploration->facts) return;
  const Cell cell = m_session.explorer().cell();
  auto group = microscope(&exploration->facts->tensor, *m_quantized, cell.row, cell.column, membersShown);
  if (!group) {
    showNothing();
    setSubtitle(QString::fromStdString(group.error().message));
    return;
  }
  m_group = std::move(*group);
  m_whatIf.reset();
  const WhatIf shown = shownParameters();
  if (m_session.state().whatIf && m_group->whatIfRefusal.empty())
    m_whatIf = whatIf(*m_group, shown.scale, m_group->rule == ValueRule::ScalePlusBias ? -shown.zero * shown.scale : shown.zero);
  MicroscopeData data;
  data.levels = shownLevels(shown);
  std::vector<float> levels(data.levels.begin(), data.levels.end());
  for (std::size_t i = 0; i < m_group->members.size(); ++i) {
    const auto& member = m_group->members[i];
    data.weights.push_back(static_cast<double>(member.target));
    data.codes.push_back(nearestLevel(levels, static_cast<double>(m_whatIf ? m_whatIf->levels[i] : member.level)));
  }
  data.selected = static_cast<int>(m_group->selected);
  data.scale = shown.scale;
  data.zero = shown.zero;
  const bool movable = m_group->whatIfRefusal.empty();
  data.scaleDraggable = movable && m_group->hasScale;
  data.zeroDraggable = movable && m_group->hasZero;
  data.family = exploration->family;
  m_plot->setData(std::move(data));
  showLine();
  showStrip();
}

// What the codes stand for under the parameters shown; codes of no table as the members have them.
std::vector<double> MicroscopePanel::shownLevels(const WhatIf& shown) const {
  std::vector<double> levels;
  if (!m_whatIf) {
    for (const float level : m_group->levels) levels.push_back(static_cast<double>(level));
  } else {
    const bool affine = m_group->table.empty();
    const std::int64_t last = std::min<std::int64_t>(m_group->highestCode, m_group->lowestCode + 255);
    for (std::int64_t code = m_group->lowestCode; code <= last; ++code) {
      const double number = affine ? static_cast<double>(code) : static_cast<double>(m_group->table[static_cast<std::size_t>(code)]);
      levels.push_back(m_group->rule == ValueRule::Scale ? shown.scale * number : shown.scale * (number - shown.zero));
    }
  }
  if (!levels.empty()) return levels;
  for (const auto& member : m_group->members) levels.push_back(static_cast<double>(member.level));
  std::sort(levels.begin(), levels.end());
  levels.erase(std::unique(levels.begin(), levels.end()), levels.end());
  return levels;
}

void MicroscopePanel::showLine() {
  const WhatIf shown = shownParameters();
  QStringList parts;
  if (m_group->hasScale) parts << tr("scale %1").arg(formatSignificant(shown.scale, 4));
  if (m_group->hasZero) parts << tr("zero %1").arg(formatFixed(shown.zero, 3));
  const double own = m_group->errorSquared / static_cast<double>(m_group->members.size());
  if (m_whatIf) parts << tr("what if: MSE %1, was %2").arg(formatMse(m_whatIf->mse()), formatMse(own));
  const auto& chosen = m_group->chosen();
  const double weight = static_cast<double>(chosen.target);
  const double value = static_cast<double>(m_whatIf ? m_whatIf->levels[m_group->selected] : chosen.level);
  const auto code = m_whatIf ? m_whatIf->codes[m_group->selected] : chosen.code;
  const auto& exploration = m_session.explorer().current();
  if (exploration && exploration->isStored() && !m_whatIf)  // there is no weight from before
    parts << tr("w[%1, %2]: code %3 → %4").arg(formatCount(chosen.row), formatCount(chosen.column)).arg(code).arg(formatFixed(value, 4));
  else
    parts << tr("w[%1, %2] %3 → code %4 → %5, error %6")
                 .arg(formatCount(chosen.row), formatCount(chosen.column), formatFixed(weight, 4))
                 .arg(code)
                 .arg(formatFixed(value, 4), formatFixed(weight - value, 4));
  if (m_group->groupSize > m_group->members.size())
    parts << tr("%1 of %2 weights").arg(formatCount(m_group->members.size()), formatCount(m_group->groupSize));
  setSubtitle(parts.join("   "));
}

BitColumn MicroscopePanel::column(const MicroscopeMember& member, BitStripData& data, bool selected) const {
  BitColumn column{static_cast<double>(member.target), static_cast<int>(member.code), {}, {}};
  for (int bit = m_group->width - 1; bit >= 0; --bit) column.bits.push_back((member.code >> bit & 1) != 0);
  if (!m_packed) return column;
  const auto found = m_packed->places(member.codeIndex);
  if (!found || found->empty()) return column;
  const auto& places = *found;
  std::vector<std::uint64_t> words;  // those of the code's high bits first
  for (auto place = places.rbegin(); place != places.rend(); ++place)
    if (std::find(words.begin(), words.end(), place->word) == words.end()) words.push_back(place->word);
  for (const std::uint64_t word : words) addHex(column, places, word, *m_packed);
  if (!selected) return column;
  data.unit = m_packed->wordBits() == 8 ? tr("byte") : tr("word");
  QStringList names, ranges, where;
  for (const std::uint64_t word : words) {
    names << QString("[%1]").arg(word);
    ranges << bitRange(places, word);
    where << tr("%1 %2, bits %3").arg(data.unit).arg(word).arg(ranges.back());
  }
  data.place = names.join(' ');
  data.bitRange = (ranges.join(' ').contains(QChar(0x2013)) || ranges.size() > 1 ? tr("bits %1") : tr("bit %1")).arg(ranges.join(" + "));
  data.where = tr("code of %1 bits in %2: %3").arg(m_group->width).arg(QString::fromStdString(m_packed->layoutName()), where.join("; "));
  return column;
}

void MicroscopePanel::showStrip() {
  if (!m_quantized || !m_group) return;
  BitStripData data;
  for (std::size_t i = 0; i < m_group->members.size(); ++i) data.columns.push_back(column(m_group->members[i], data, i == m_group->selected));
  data.selected = static_cast<int>(m_group->selected);
  data.family = m_session.explorer().current()->family;
  m_strip->setData(std::move(data));
}

}  // namespace nibble
