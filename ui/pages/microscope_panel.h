// SPDX-License-Identifier: GPL-3.0-or-later
// The chosen group under the microscope: number line with handles that can be dragged (what if), and the bit strip in the layout of a
// format. Packed bytes of large tensors are made off the GUI thread; until then the strip shows no hex.
#pragma once
#include "core/report/microscope.h"
#include "ui/forms/panel.h"
#include "ui/session/job_lane.h"
#include "ui/session/session_state.h"

#include <optional>

class QComboBox;

namespace nibble {

class BitStrip;
struct BitColumn;
struct BitStripData;
class MicroscopePlot;
class Session;

class MicroscopePanel : public Panel {
  Q_OBJECT
 public:
  explicit MicroscopePanel(Session& session, QWidget* parent = nullptr);

 private:
  void follow(const SessionState& before);
  void refresh();
  void showGroup();
  void showStrip();
  void showLine();
  void fillLayouts();
  void usePacked();
  [[nodiscard]] WhatIf shownParameters() const;
  [[nodiscard]] std::vector<double> shownLevels(const WhatIf& shown) const;
  [[nodiscard]] BitColumn column(const MicroscopeMember& member, BitStripData& data, bool selected) const;
  void drag(const WhatIf& wish, const QString& key);
  void choose(int member);
  void showNothing();

  Session& m_session;
  MicroscopePlot* m_plot;
  BitStrip* m_strip;
  QComboBox* m_layoutCombo;
  JobLane m_packing{JobLane::Policy::Newest};
  std::shared_ptr<const QuantizedTensor> m_quantized;
  std::shared_ptr<const Layout> m_layout;
  std::shared_ptr<const PackedView> m_packed;  // null: being packed
  std::shared_ptr<const QuantizedTensor> m_packedOf;  // what m_packed shows, or will
  std::shared_ptr<const Layout> m_packedAs;
  std::optional<Microscope> m_group;
  std::optional<GroupWhatIf> m_whatIf;
};

}  // namespace nibble
