// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/forward_panel.h"

#include "core/base/text.h"
#include "core/train/adapter.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/session/trainer.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QSignalBlocker>
#include <QSpinBox>
#include <QVBoxLayout>
#include <algorithm>
#include <tuple>

namespace nibble {
namespace {

QSpinBox* chooser(const QString& objectName, const QString& prefix, const QString& meaning) {
  auto* box = new QSpinBox;
  box->setObjectName(objectName);
  box->setAccessibleName(meaning);
  box->setToolTip(meaning);
  box->setPrefix(prefix);
  box->setKeyboardTracking(false);
  return box;
}

const train::NamedArray* arrayNamed(const TrainSnapshot& snapshot, const std::string& name) {
  const auto found = snapshot.arrays.find(name);
  return found == snapshot.arrays.end() || found->second->values.empty() ? nullptr : found->second.get();
}

std::uint64_t inputsOf(const TrainSnapshot& snapshot) {
  const auto* z = arrayNamed(snapshot, "z");
  return z != nullptr && z->shape.size() == 2 ? z->shape[0] : 0;
}

std::uint64_t outputsOf(const TrainSnapshot& snapshot) {
  const auto* z = arrayNamed(snapshot, "z");
  return z != nullptr && z->shape.size() == 2 ? z->shape[1] : 0;
}

std::uint64_t wantedInput(const SessionState& state) { return text::parseUnsigned(state.viewOption("trainview.input", "0")).value_or(0); }

}  // namespace

std::optional<ForwardTerms> forwardTerms(const TrainSnapshot& snapshot, std::uint64_t input, std::uint64_t output) {
  const auto *a = arrayNamed(snapshot, "A"), *b = arrayNamed(snapshot, "B"), *x = arrayNamed(snapshot, "x"), *z = arrayNamed(snapshot, "z"), *y = arrayNamed(snapshot, "y");
  if (a == nullptr || b == nullptr || x == nullptr || z == nullptr || y == nullptr) return std::nullopt;
  if (input >= z->shape[0] || output >= z->shape[1]) return std::nullopt;
  const train::TrainSettings& settings = snapshot.runs.front()->plan.settings;
  const std::size_t rank = a->shape[0], columns = a->shape[1], at = input * z->shape[1] + output;
  ForwardTerms terms;
  for (std::size_t k = 0; k < rank; ++k) {
    double ax = 0;
    for (std::size_t j = 0; j < columns; ++j) ax += a->values[k * columns + j] * x->values[input * columns + j];
    terms.adapter += b->values[output * rank + k] * ax;
  }
  terms.adapter *= train::adapterScale(settings.adapter, settings.method);
  terms.base = z->values[at] - terms.adapter;  // z = V x, with V = W + s BA
  terms.y = y->values[at];
  if (const auto* magnitude = arrayNamed(snapshot, "magnitude")) terms.hasMagnitude = true, terms.magnitude = magnitude->values[output];
  if (const auto* norm = arrayNamed(snapshot, "norm")) terms.norm = norm->values[output];
  if (const auto* bias = arrayNamed(snapshot, "bias")) terms.hasBias = true, terms.bias = bias->values[output];
  if (const auto* target = arrayNamed(snapshot, "target")) terms.hasTarget = true, terms.target = target->values[at];
  if (settings.adapter.variant == train::Variant::Document000) terms.gain = settings.adapter.alpha;
  return terms;
}

ForwardPanel::ForwardPanel(Session& session, QWidget* parent)
    : Panel("trainForward", tr("Forward"), parent), m_session(session), m_input(chooser("forwardInput", tr("input "), tr("Which row of the inputs"))),
      m_output(chooser("forwardOutput", tr("output row "), tr("Which output: the selected row of the matrix"))) {
  addHeaderWidget(m_input);
  addHeaderWidget(m_output);
  auto* body = new QWidget;
  auto* line = new QHBoxLayout(body);
  line->setContentsMargins(sizes::inside, 0, sizes::inside, sizes::gap);
  line->setSpacing(sizes::gap);
  m_y = addTerm(line, "forwardY", {});
  m_gain = addTerm(line, "forwardGain", "=");
  m_magnitude = addTerm(line, "forwardMagnitude", "=");
  m_base = addTerm(line, "forwardBase", "· (");
  m_adapter = addTerm(line, "forwardAdapter", "+");
  m_norm = addTerm(line, "forwardNorm", ") ÷");
  m_bias = addTerm(line, "forwardBias", "+");
  line->addStretch(1);
  m_target = addTerm(line, "forwardTarget", {});
  m_difference = addTerm(line, "forwardDifference", {});
  addBody(body);
  setFixedHeight(sizes::panelHeader + 56);
  connect(m_input, &QSpinBox::valueChanged, this, [this](int input) {
    m_session.edit(tr("Look at input %1").arg(input), "view.trainview.input", [&](SessionState& state) { state.view["trainview.input"] = std::to_string(input); });
  });
  connect(m_output, &QSpinBox::valueChanged, this, [this](int output) {
    const Cell now = m_session.explorer().cell();
    m_session.edit(tr("Select [%1, %2]").arg(output).arg(now.column), "cell", [&](SessionState& state) {
      state.cell = Cell{static_cast<std::uint64_t>(output), now.column};
      state.whatIf.reset();
    });
  });
  connect(&session, &Session::changed, this, [this](const SessionState& before) {
    if (isVisible() && (m_session.state().cell != before.cell || m_session.state().view != before.view)) showNow();
  });
  showNow();
}

ForwardPanel::Term ForwardPanel::addTerm(QHBoxLayout* line, const char* objectName, const QString& sign) {
  Term term{new QWidget, new QLabel, new QLabel};
  auto* row = new QHBoxLayout(term.part);
  row->setContentsMargins(0, 0, 0, 0);
  row->setSpacing(sizes::gap);
  QFont font = fonts::fixed();
  font.setPixelSize(QFontInfo(fonts::body()).pixelSize() + 1);
  const auto column = [row](QLabel* upper, QLabel* lower) {
    auto* part = new QVBoxLayout;
    part->setSpacing(2);
    part->addWidget(upper, 0, Qt::AlignHCenter);
    part->addWidget(lower, 0, Qt::AlignHCenter);
    row->addLayout(part);
  };
  if (!sign.isEmpty()) {
    auto* mark = new QLabel(sign);
    mark->setObjectName(QString("%1Sign").arg(objectName));
    mark->setFont(font);
    mark->setProperty("look", "label");
    auto* below = new QLabel(" ");
    below->setProperty("look", "hint");
    column(mark, below);
  }
  term.value->setObjectName(objectName);
  term.value->setFont(font);
  term.caption->setProperty("look", "hint");
  column(term.value, term.caption);
  line->addWidget(term.part);
  return term;
}

void ForwardPanel::set(const Term& term, double value, const QString& caption, bool shown) {
  term.part->setVisible(shown);
  term.value->setText(formatFixed(value, 4));
  term.value->setAccessibleName(tr("%1: %2").arg(caption, term.value->text()));
  term.caption->setText(caption);
}

void ForwardPanel::showSnapshot(const std::shared_ptr<const TrainSnapshot>& snapshot) {
  m_snapshot = snapshot;
  showNow();
}

void ForwardPanel::showNow() {
  const std::uint64_t inputs = m_snapshot ? inputsOf(*m_snapshot) : 0, outputs = m_snapshot ? outputsOf(*m_snapshot) : 0;
  const std::uint64_t input = std::min<std::uint64_t>(wantedInput(m_session.state()), inputs > 0 ? inputs - 1 : 0), output = m_session.explorer().cell().row;
  for (auto [box, count, at] : {std::tuple(m_input, inputs, input), std::tuple(m_output, outputs, output)}) {
    const QSignalBlocker block(box);
    box->setEnabled(count > 0);
    box->setRange(0, static_cast<int>(std::max<std::uint64_t>(count, 1)) - 1);
    box->setValue(static_cast<int>(at));
  }
  const auto terms = m_snapshot ? forwardTerms(*m_snapshot, input, output) : std::nullopt;
  if (!terms) {
    setSubtitle(tr("The formula of one output, with its numbers, once a step was made"));
    for (const Term& term : {m_y, m_gain, m_magnitude, m_base, m_adapter, m_norm, m_bias, m_target, m_difference}) term.part->hide();
    return;
  }
  const bool quantized = !m_snapshot->runs.front()->plan.settings.adapter.base.empty();
  const QString w = quantized ? QStringLiteral("ŵ") : QStringLiteral("w"), tail = terms->hasBias ? tr(" + bias") : QString();
  const QString gain = terms->gain != 1 ? QStringLiteral("α · ") : QString();
  setSubtitle(terms->hasMagnitude ? QString("y = %1m · (%2·x + s b·(A x)) ÷ ‖%2 + s b·A‖%3").arg(gain, w, tail) : QString("y = %1·x + s b·(A x)%2").arg(w, tail));
  findChild<QLabel*>("forwardBaseSign")->setText(terms->hasMagnitude ? "· (" : "=");
  findChild<QLabel*>("forwardMagnitudeSign")->setText(terms->gain != 1 ? "·" : "=");
  set(m_y, terms->y, tr("y"));
  set(m_gain, terms->gain, tr("α"), terms->hasMagnitude && terms->gain != 1);
  set(m_magnitude, terms->magnitude, tr("m, magnitude"), terms->hasMagnitude);
  set(m_base, terms->base, quantized ? tr("ŵ·x, quantized base") : tr("w·x, base"));
  set(m_adapter, terms->adapter, tr("s b·(A x), adapter"));
  set(m_norm, terms->norm, tr("‖%1 + s b·A‖").arg(w), terms->hasMagnitude);
  set(m_bias, terms->bias, tr("bias"), terms->hasBias);
  set(m_target, terms->target, tr("target"), terms->hasTarget);
  set(m_difference, terms->y - terms->target, tr("y − target"), terms->hasTarget);
}

}  // namespace nibble
