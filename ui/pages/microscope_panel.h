// SPDX-License-Identifier: GPL-3.0-or-later
// The chosen group under the microscope: number line with handles that can be dragged (what if), and the bit strip in the layout of a
// format. Packed bytes of large tensors are made off the GUI thread; until then the strip shows no hex.
#pragma once
#include "core/quant/layout.h"
#include "ui/forms/panel.h"
#include "ui/session/job_lane.h"
#include "ui/session/microscope_model.h"

class QComboBox;

namespace nibble {

class BitStrip;
class MicroscopePlot;
class Session;

class MicroscopePanel : public Panel {
  Q_OBJECT
 public:
  explicit MicroscopePanel(Session& session, QWidget* parent = nullptr);

 private:
  using Packed = std::shared_ptr<const std::vector<std::byte>>;
  void follow(const SessionState& before);
  void refresh();
  void showGroup();
  void showStrip();
  void showLine();
  void fillLayouts();
  void usePacked();
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
  Packed m_packed;
  MicroscopeGroup m_group;
};

}  // namespace nibble
