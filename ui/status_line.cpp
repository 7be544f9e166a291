// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/status_line.h"

#include "kernels/backend.h"
#include "ui/session/comparer.h"
#include "ui/session/activations.h"
#include "ui/session/differ.h"
#include "ui/session/error_study.h"
#include "ui/session/explorer.h"
#include "ui/session/exporter.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QMenu>
#include <QProgressBar>
#include <QToolButton>

namespace nibble {

namespace {

constexpr double shownAfterSeconds = 0.2;

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QToolButton* flat(const QString& objectName, const QString& text) {
  auto* button = new QToolButton;
  button->setObjectName(objectName);
  button->setText(text);
  button->setProperty("look", "flat");
  button->setProperty("small", true);
  button->setFixedHeight(22);
  return button;
}

}  // namespace

StatusLine::StatusLine(Session& session, QWidget* parent)
    : QStatusBar(parent), m_session(session),
      m_lanes{&session.exporter().lane(), &session.trainer().lane(), &session.comparer().lane(), &session.differ().lane(), &session.activations().plainLane(), &session.activations().smoothLane(), &session.opening(),
              &session.explorer().lane(), &session.errorStudy().lane(),
              &session.exporter().preflightLane()} {
  setObjectName("statusLine");
  setSizeGripEnabled(false);
  setFixedHeight(sizes::statusBar);
  m_job = new QLabel;
  m_job->setObjectName("statusJob");
  m_bar = new QProgressBar;
  m_bar->setObjectName("statusProgress");
  m_bar->setAccessibleName(tr("Progress"));
  m_bar->setTextVisible(false);
  m_bar->setFixedWidth(160);
  m_remaining = new QLabel;
  m_remaining->setObjectName("statusRemaining");
  m_cancel = flat("statusCancel", tr("Cancel"));
  m_cancel->setIcon(icon("cancel", &Theme::text2));
  m_cancel->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  connect(m_cancel, &QToolButton::clicked, this, &StatusLine::cancelJob);
  m_backend = flat("backendButton", {});
  m_backend->setAccessibleName(tr("Backend"));
  m_backend->setToolTip(tr("What computes; click to change it"));
  m_backend->setPopupMode(QToolButton::InstantPopup);
  m_backendMenu = new QMenu(tr("Backend"), this);
  m_backendMenu->setObjectName("backendMenu");
  connect(m_backendMenu, &QMenu::aboutToShow, this, &StatusLine::fillBackends);
  m_backend->setMenu(m_backendMenu);
  auto* rule = new QFrame;
  rule->setProperty("look", "rule");
  rule->setFixedSize(1, 14);
  rule->setStyleSheet("max-height: 14px; min-height: 14px;");
  m_mapped = new QLabel;
  m_mapped->setObjectName("statusMapped");
  m_mapped->setToolTip(tr("Bytes of the open files that are mapped; values are read only when asked for"));
  auto* left = new QWidget;
  auto* line = new QHBoxLayout(left);
  line->setContentsMargins(sizes::inside, 0, 0, 0);
  line->setSpacing(12);
  for (QWidget* widget : std::initializer_list<QWidget*>{m_job, m_bar, m_remaining, m_cancel}) line->addWidget(widget, 0, Qt::AlignVCenter);
  addWidget(left);
  auto* right = new QWidget;
  auto* rightLine = new QHBoxLayout(right);
  rightLine->setContentsMargins(0, 0, sizes::inside, 0);
  rightLine->setSpacing(12);
  for (QWidget* widget : std::initializer_list<QWidget*>{m_backend, rule, m_mapped}) rightLine->addWidget(widget, 0, Qt::AlignVCenter);
  addPermanentWidget(right);
  for (auto* lane : m_lanes) connect(lane, &JobLane::changed, this, &StatusLine::refresh);
  connect(&session, &Session::changed, this, &StatusLine::showState);
  connect(&session.comparer(), &Comparer::finished, this, [this](int count, double seconds) {
    setIdleText(tr("%1 in %2 s").arg(counted(count, tr("%1 candidate"), tr("%1 candidates")), formatFixed(seconds, seconds < 0.1 ? 2 : 1)));
  });
  showState();
  refresh();
}

void StatusLine::setIdleText(const QString& text) {
  m_idle = text;
  refresh();
}

JobLane* StatusLine::shownLane() const {
  for (auto* lane : m_lanes)
    if (lane->busy() && lane->status().elapsedSeconds >= shownAfterSeconds) return lane;
  return nullptr;
}

void StatusLine::cancelJob() {
  for (auto* lane : m_lanes)
    if (lane->busy()) return lane->cancel();
}

void StatusLine::refresh() {
  JobLane* lane = shownLane();
  for (QWidget* widget : std::initializer_list<QWidget*>{m_bar, m_remaining, m_cancel}) widget->setVisible(lane != nullptr);
  if (lane == nullptr) {
    m_job->setText(m_session.state().file ? m_idle : tr("Nothing open"));
    return;
  }
  const JobStatus status = lane->status();
  m_job->setText(status.waiting > 0 ? tr("%1, %2 more waiting").arg(status.title).arg(status.waiting) : status.title);
  m_bar->setRange(0, status.total > 0 ? 1000 : 0);
  if (status.total > 0) m_bar->setValue(static_cast<int>(status.done * 1000 / status.total));
  QStringList parts;
  if (status.total > 0 && status.total <= 10000) parts << tr("%1 of %2").arg(status.done).arg(status.total);
  else if (status.total > 0) parts << formatPercent(static_cast<double>(status.done) / static_cast<double>(status.total), 0);
  if (status.remainingSeconds >= 0) parts << tr("ETA %1").arg(formatDuration(status.remainingSeconds));
  m_remaining->setText(parts.join(", "));
}

void StatusLine::showState() {
  const auto& backend = m_session.backend();
  const bool onDevice = backend.name() == "cuda";
  m_backend->setText(tr("%1/%2, %3").arg(onDevice ? tr("gpu") : tr("cpu"), string(backend.name()), counted(kernels::threadCount(), tr("%1 thread"), tr("%1 threads"))));
  QString about = tr("%1: %2; click to change it").arg(string(backend.name()), string(backend.description()));
  for (const auto* other : kernels::allBackends())
    if (const std::string notice = other->notice(); !notice.empty()) about += tr("\n%1: %2").arg(string(other->name()), QString::fromStdString(notice));
  m_backend->setToolTip(about);
  const auto& file = m_session.state().file;
  const std::uint64_t mapped = file ? file->weights->checkpoint().mappedBytes() : 0;
  m_mapped->setText(mapped == 0 ? tr("0 MiB mapped") : tr("%1 mapped").arg(formatSize(mapped)));
  if (!file) m_idle.clear();
  refresh();
}

void StatusLine::fillBackends() {
  m_backendMenu->clear();
  const auto add = [this](const QString& name, const QString& text, const QString& reason) {
    auto* action = m_backendMenu->addAction(text);
    action->setObjectName("backend_" + name);
    action->setCheckable(true);
    action->setChecked(m_session.state().backend == name.toStdString());
    action->setEnabled(reason.isEmpty());
    action->setToolTip(reason);
    connect(action, &QAction::triggered, this, [this, name] {
      m_session.edit(tr("Backend %1").arg(name), {}, [&](SessionState& state) { state.backend = name.toStdString(); });
    });
  };
  m_backendMenu->setToolTipsVisible(true);
  add("auto", tr("auto: the fastest here"), {});
  for (const auto* backend : kernels::allBackends()) {
    const QString reason = string(backend->unusableReason());
    add(string(backend->name()), reason.isEmpty() ? tr("%1: %2").arg(string(backend->name()), string(backend->description())) : tr("%1: %2").arg(string(backend->name()), reason), reason);
  }
}

}  // namespace nibble
