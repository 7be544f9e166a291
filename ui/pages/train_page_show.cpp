// SPDX-License-Identifier: GPL-3.0-or-later
// What the Train page shows of a snapshot.
#include "core/train/methods.h"
#include "ui/forms/panel.h"
#include "ui/models/run_model.h"
#include "ui/pages/forward_panel.h"
#include "ui/pages/parameters_panel.h"
#include "ui/pages/train_data.h"
#include "ui/pages/train_page.h"
#include "ui/plots/curve_plot.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QFrame>
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSlider>
#include <QTableView>
#include <QTimer>
#include <QToolButton>
#include <algorithm>

namespace nibble {
namespace {

constexpr int parts = 7;  // of a snapshot

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

}  // namespace

void TrainPage::showStepper(const std::string& refusal) {
  const Trainer& trainer = m_session.trainer();
  const std::uint64_t steps = trainSettings(m_session.state()).steps, step = trainer.snapshot() ? trainer.snapshot()->step() : 0;
  const bool busy = trainer.busy(), can = refusal.empty();
  m_position->setText(tr("step <b>%1</b> of %2").arg(step).arg(steps));
  m_play->setIcon(icon(busy ? "pause" : "play", &Theme::accentText));
  m_play->setAccessibleName(busy ? tr("Pause") : tr("Play"));
  m_play->setToolTip(m_play->accessibleName());
  m_play->setEnabled(can);
  m_step->setEnabled(can && !busy);
  m_back->setEnabled(step > 0 && !busy);
  m_reset->setEnabled(step > 0 && !busy);
  m_save->setEnabled(step > 0 && !busy);
  m_slider->setEnabled(can);
  if (m_slider->isSliderDown()) return;
  const QSignalBlocker block(m_slider);
  m_slider->setRange(0, static_cast<int>(std::max(steps, step)));
  m_slider->setValue(static_cast<int>(step));
}

void TrainPage::showMessage(const TrainSnapshot* snapshot) {
  QString text = string(m_session.trainer().message()).toHtmlEscaped();
  const auto lost = text.isEmpty() && snapshot != nullptr ? lostUpdates(*snapshot) : std::nullopt;
  if (lost) m_messageAction->setText(lost->action), m_messageAction->setToolTip(lost->actionHelp);
  if (lost) text = QString("<b>%1</b> %2").arg(lost->lead.toHtmlEscaped(), lost->text.toHtmlEscaped());
  const bool good = text.isEmpty();
  if (good) text = m_note.toHtmlEscaped();
  m_message->setText(text);
  m_messageAction->setVisible(lost.has_value());
  for (QPushButton* button : {m_toCompare, m_toExport}) button->setVisible(good && !text.isEmpty());
  m_messageBar->setVisible(!text.isEmpty());
  const QString look = good ? "goodBar" : "warnBar";
  m_messageIcon->setPixmap(icon(good ? "pass" : "warning", good ? &Theme::good : &Theme::warn).pixmap(sizes::icon, sizes::icon));
  if (m_messageBar->property("look") == look) return;
  m_messageBar->setProperty("look", look);
  restyle(m_messageBar);
}

void TrainPage::showSubtitles(const TrainSnapshot& snapshot) {
  const RunView& chosen = *snapshot.runs.front();
  const auto x = std::find_if(snapshot.arrays.begin(), snapshot.arrays.end(), [](const auto& entry) { return entry.first == "x" || entry.first.ends_with("/x"); });
  m_lossPanel->setSubtitle(x != snapshot.arrays.end() ? tr("%1 inputs a step").arg(formatCount(x->second->shape.front())) : QString());
  m_gradientPanel->setSubtitle(runTitle(chosen));
  m_movedPanel->setSubtitle(train::kindOf(chosen.plan.settings.method) == train::MethodKind::Packed ? QString() : string(train::name(chosen.plan.settings.numberType())));
}

// One part of a snapshot, each little enough for a frame.
void TrainPage::showPart(int part) {
  const TrainSnapshot& snapshot = *m_shown;
  const auto curves = [&] { return trainCurves(snapshot, themeOf(this), trainSettings(m_session.state()).steps, m_session.state().tensor); };
  switch (part) {
    case 0: m_loss->setData(curves().loss); return showSubtitles(snapshot);
    case 1: return m_gradient->setData(curves().gradient);
    case 2: return m_plane->setData(curves().plane);
    case 3: return m_moved->setData(curves().moved);
    case 4: return m_parameters->showSnapshot(m_shown);
    case 5: return m_forward->showSnapshot(m_shown);
    default: m_runs->setRows(runRows(snapshot, themeOf(this)));
  }
  m_table->setFixedHeight(sizes::tableHeader + std::clamp(m_runs->rowCount(), 1, 6) * sizes::tableRow + 4);
}

void TrainPage::showNextPart() {
  showPart(m_part++);
  if (m_part == parts) m_frames->stop();
}

void TrainPage::showNothing(const QString& why) {
  for (CurvePlot* plot : {m_loss, m_gradient, m_plane, m_moved}) plot->clear(), plot->setEmptyText(why);
  for (Panel* panel : {m_lossPanel, m_gradientPanel, m_movedPanel}) panel->setSubtitle({});
  m_parameters->setEmptyText(why);
  m_parameters->showSnapshot(nullptr);
  m_forward->showSnapshot(nullptr);
  m_runs->setRows({});
  m_table->setFixedHeight(sizes::tableHeader + sizes::tableRow + 4);
}

// While a run goes on, a snapshot is shown part by part, a frame each: keys and pointer are heard in between.
void TrainPage::refresh() {
  m_stale = m_stale || !isVisible();
  if (m_stale) return;
  const bool busy = m_session.trainer().busy();
  if (busy) m_note.clear();
  const std::string refusal = m_session.trainer().refusal();
  const auto snapshot = m_session.trainer().snapshot();
  const bool there = snapshot && !snapshot->runs.empty();
  showStepper(refusal);
  showMessage(there ? snapshot.get() : nullptr);
  if (there && busy && m_frames->isActive()) return;  // the one that comes after this
  m_frames->stop();
  m_shown = there ? snapshot : nullptr;
  if (!there) return showNothing(refusal.empty() ? tr("Press Play, or take one step.") : string(refusal));
  m_part = 0;
  if (busy) return m_frames->start();
  while (m_part < parts) showPart(m_part++);
}

}  // namespace nibble
