// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/docks/scheme_dock.h"

#include "core/run/near_size.h"
#include "ui/docks/dock_header.h"
#include "ui/docks/vary_popup.h"
#include "ui/forms/scheme_combo.h"
#include "ui/forms/segments.h"
#include "ui/forms/settings_form.h"
#include "ui/forms/transform_bar.h"
#include "ui/plots/size_bar.h"
#include "ui/session/comparer.h"
#include "ui/session/explorer.h"
#include "ui/session/session.h"
#include "ui/theme/icons.h"
#include "ui/theme/number_text.h"
#include "ui/theme/theme.h"

#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QScrollArea>
#include <QToolButton>
#include <QUndoStack>
#include <QVBoxLayout>

namespace nibble {

namespace {

constexpr int side = 12;
constexpr int labelWidth = 84;

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

QFrame* rule() {
  auto* line = new QFrame;
  line->setProperty("look", "rule");
  line->setFixedHeight(1);
  return line;
}

QLabel* label(const QString& objectName, const char* look) {
  auto* made = new QLabel;
  made->setObjectName(objectName);
  made->setProperty("look", look);
  return made;
}

std::optional<MatrixSize> matrixSize(const Session& session) {
  const auto& state = session.state();
  const auto* item = state.file ? state.file->find(state.tensor) : nullptr;
  if (item == nullptr || elementCount(item->shape) == 0) return std::nullopt;
  const std::uint64_t columns = item->shape.empty() ? 1 : item->shape.back();
  return MatrixSize{elementCount(item->shape) / columns, columns};
}

// What a scheme would use if it were given; the window gives no data about activations.
QString needsText(Needs needs) {
  if (needs == Needs::Samples) return QObject::tr("\nuses activation data: none given, rounds plainly");
  if (needs == Needs::ImportanceWeights) return QObject::tr("\nuses importance weights: none given, all inputs count alike");
  return {};
}

// The figures of the list: metric key, empty for the size.
constexpr const char* figureKeys[] = {"", "sqnrDb", "mse", "relativeFrobenius", "maxError", "cosine"};

QString figureText(const std::string& key, double value) {
  if (key == "sqnrDb") return formatSqnrWithUnit(value);
  if (key == "mse") return formatMse(value);
  if (key == "relativeFrobenius") return formatPercent(value);
  if (key == "maxError") return formatMaxError(value);
  return formatCosine(value);
}

}  // namespace

SchemeDock::SchemeDock(Session& session, QWidget* parent) : QDockWidget(tr("Scheme"), parent), m_session(session) {
  setObjectName("schemeDock");
  setAccessibleName(tr("Scheme"));
  setFeatures(DockWidgetMovable | DockWidgetClosable);
  setAllowedAreas(Qt::LeftDockWidgetArea | Qt::RightDockWidgetArea);
  m_header = new DockHeader(tr("Scheme"), this);
  setTitleBarWidget(m_header);
  buildHeader();

  auto* inner = new QWidget;
  inner->setProperty("look", "dockBody");
  auto* column = new QVBoxLayout(inner);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(0);
  column->addWidget(buildChoice());
  column->addWidget(rule());
  column->addWidget(buildText());
  column->addWidget(rule());
  column->addWidget(buildFigures());
  column->addStretch(1);
  auto* scroll = new QScrollArea;
  scroll->setObjectName("schemeScroll");
  scroll->setWidget(inner);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->setFocusPolicy(Qt::NoFocus);
  auto* body = new QFrame;
  body->setProperty("look", "dockBody");
  body->setAutoFillBackground(true);
  body->setBackgroundRole(QPalette::Base);
  scroll->viewport()->setBackgroundRole(QPalette::Base);
  inner->setBackgroundRole(QPalette::Base);
  auto* outer = new QVBoxLayout(body);
  outer->setContentsMargins(0, 0, 0, 0);
  outer->setSpacing(0);
  outer->addWidget(scroll, 1);
  outer->addWidget(rule());
  outer->addWidget(buildButtons());
  setWidget(body);
  setMinimumWidth(sizes::schemeDockLeast);
  setMaximumWidth(sizes::schemeDockMost);
  connect(&session, &Session::changed, this, &SchemeDock::follow);
  connect(&session.explorer(), &Explorer::changed, this, &SchemeDock::showResult);
  follow();
  showResult();
}

void SchemeDock::buildHeader() {
  auto& history = m_session.history();
  const auto make = [&](const QString& name, const QString& iconName, const QString& tip) {
    auto* button = new QToolButton;
    button->setObjectName(name);
    button->setAccessibleName(tip);
    button->setToolTip(tip);
    button->setIcon(icon(iconName));
    button->setProperty("look", "flat");
    button->setFixedSize(sizes::control, sizes::control);
    button->setEnabled(false);
    m_header->addWidget(button);
    return button;
  };
  auto* undo = make("undoButton", "undo", tr("Undo"));
  auto* redo = make("redoButton", "redo", tr("Redo"));
  connect(undo, &QToolButton::clicked, &history, &QUndoStack::undo);
  connect(redo, &QToolButton::clicked, &history, &QUndoStack::redo);
  connect(&history, &QUndoStack::canUndoChanged, undo, &QToolButton::setEnabled);
  connect(&history, &QUndoStack::canRedoChanged, redo, &QToolButton::setEnabled);
}

QWidget* SchemeDock::buildChoice() {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(side, sizes::inside, side, sizes::inside);
  column->setSpacing(2);
  auto* line = new QHBoxLayout;
  line->setSpacing(sizes::inside);
  auto* name = new QLabel(tr("Scheme"));
  name->setProperty("look", "label");
  name->setFixedWidth(labelWidth);
  m_scheme = new SchemeCombo;
  m_scheme->setAccessibleName(tr("Scheme"));
  m_scheme->setFixedHeight(sizes::control);
  m_scheme->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
  connect(m_scheme, &SchemeCombo::schemeChosen, this, &SchemeDock::chooseScheme);
  connect(m_scheme, &SchemeCombo::storedChosen, this, [this] {
    m_session.edit(tr("Show as stored"), {}, [](SessionState& state) {
      state.asStored = true;
      state.whatIf.reset();
    });
  });
  name->setBuddy(m_scheme);
  line->addWidget(name);
  line->addWidget(m_scheme, 1);
  column->addLayout(line);
  m_summary = label("schemeSummary", "hint");
  m_summary->setWordWrap(true);
  m_summary->setContentsMargins(labelWidth + sizes::inside, 2, 0, 2);
  column->addWidget(m_summary);
  column->addWidget(buildReading());
  m_transforms = new TransformBar;
  m_transforms->setContentsMargins(0, 2, 0, 4);
  connect(m_transforms, &TransformBar::toggled, this, [this](const Transform* transform, bool on) {
    if (!m_session.state().choice) return;
    const Choice& now = *m_session.state().choice;
    const Choice next = on ? TransformBar::with(now, *transform, matrixSize(m_session)) : now.withoutTransform(*transform);
    m_session.edit(on ? tr("Add %1").arg(string(transform->info().id)) : tr("Without %1").arg(string(transform->info().id)), {},
                   [&](SessionState& state) { state.choose(next); });
  });
  column->addWidget(m_transforms);
  m_form = new SettingsForm;
  connect(m_form, &SettingsForm::valueChosen, this, [this](const QString& key, const SettingValue& value) {
    if (!m_session.state().choice) return;
    const auto changed = m_session.state().choice->withAnywhere(key.toStdString(), toText(value));
    if (!changed) return showTextProblem(QString::fromStdString(changed.error().message));
    m_session.edit(tr("Set %1").arg(key), "setting." + key, [&](SessionState& state) { state.choose(*changed); });
  });
  column->addWidget(m_form);
  return part;
}

// Packed layers that can be read in two ways: which one.
QWidget* SchemeDock::buildReading() {
  m_readingPart = new QWidget;
  auto* line = new QHBoxLayout(m_readingPart);
  line->setContentsMargins(0, 4, 0, 4);
  line->setSpacing(sizes::inside);
  auto* name = new QLabel(tr("Read as"));
  name->setProperty("look", "label");
  name->setFixedWidth(labelWidth);
  m_reading = new Segments("storedReading", tr("How the packed layer is read"));
  m_reading->setFixedHeight(sizes::control);
  connect(m_reading, &Segments::chosen, this, [this](const QString& reading) {
    m_session.edit(tr("Read as %1").arg(reading), "view.stored.reading", [&](SessionState& state) {
      state.view["stored.reading"] = reading.toStdString();
      state.whatIf.reset();
    });
  });
  line->addWidget(name);
  line->addWidget(m_reading, 1);
  return m_readingPart;
}

// What was done before the scheme is kept as far as the new one takes it.
void SchemeDock::chooseScheme(const Scheme* scheme) {
  const auto& state = m_session.state();
  if (state.storedLayer() == nullptr && state.choice && &state.choice->scheme() == scheme) return;
  const auto size = matrixSize(m_session);
  const auto fitting = size ? fittingChoice(*scheme, *size) : std::nullopt;
  Choice wanted = fitting.value_or(Choice(*scheme));
  if (state.choice)
    for (const auto& transform : state.choice->transforms()) {
      const Choice with = wanted.withTransform(transform);
      if (!with.refusal(size.value_or(MatrixSize{1, 1}))) wanted = with;
    }
  m_session.edit(tr("Scheme %1").arg(string(scheme->info().id)), {}, [&](SessionState& next) { next.choose(wanted); });
}

QWidget* SchemeDock::buildText() {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(side, sizes::inside, side, sizes::inside);
  column->setSpacing(sizes::grid);
  auto* title = new QLabel(tr("Text form"));
  title->setProperty("look", "boldHint");
  m_text = new QLineEdit;
  m_text->setObjectName("schemeText");
  m_text->setAccessibleName(tr("Text form of the scheme"));
  m_text->setProperty("look", "code");
  m_text->setFont(fonts::fixed());
  m_text->setProperty("invalid", false);
  m_text->setMinimumHeight(sizes::control);
  title->setBuddy(m_text);
  connect(m_text, &QLineEdit::textEdited, this, &SchemeDock::textEdited);
  connect(m_text, &QLineEdit::editingFinished, this, [this] {
    if (m_text->property("invalid").toBool() || !m_session.state().choice) return;
    m_text->setText(QString::fromStdString(m_session.state().choice->shortText()));
  });
  m_textProblem = label("schemeTextProblem", "bad");
  m_textProblem->setWordWrap(true);
  m_textProblem->hide();
  column->addWidget(title);
  column->addWidget(m_text);
  column->addWidget(m_textProblem);
  return part;
}

QWidget* SchemeDock::buildFigures() {
  auto* part = new QWidget;
  auto* column = new QVBoxLayout(part);
  column->setContentsMargins(side, sizes::inside, side, sizes::inside);
  column->setSpacing(sizes::grid);
  auto* keyLine = new QHBoxLayout;
  m_key = label("bpwKey", "key");
  auto* unit = new QLabel(tr("bits per weight, true"));
  unit->setProperty("look", "label");
  unit->setToolTip(tr("All bytes of the packed tensor x 8 / its weights: codes, scales, zeros, tables and padding"));
  m_sampled = label("schemeSampled", "chipWarn");
  m_sampled->hide();
  keyLine->addWidget(m_key);
  keyLine->addWidget(unit, 1, Qt::AlignBottom);
  keyLine->addWidget(m_sampled, 0, Qt::AlignBottom);
  column->addLayout(keyLine);
  m_bar = new SizeBar;
  m_bar->setFixedHeight(9);
  column->addWidget(m_bar);
  m_legend = label("sizeLegend", "hint");
  m_legend->setWordWrap(true);
  column->addWidget(m_legend);
  column->addSpacing(sizes::grid);
  m_problem = label("schemeProblem", "bad");
  m_problem->setWordWrap(true);
  m_problem->hide();
  column->addWidget(m_problem);
  for (const char* key : figureKeys) {
    const Metric* metric = *key != '\0' ? findMetric(key) : nullptr;
    auto* name = new QLabel(metric != nullptr ? string(metric->label) : tr("Size"));
    name->setProperty("look", "label");
    name->setToolTip(metric != nullptr ? string(metric->definition) : tr("Payload bytes of the packed tensor, of the bytes it has in the file"));
    auto* value = label(QString("figure_%1").arg(*key != '\0' ? key : "size"), "figure");
    value->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    value->setToolTip(name->toolTip());
    value->setFont(std::string_view(key) == "sqnrDb" ? fonts::bold() : fonts::body());
    auto* line = new QHBoxLayout;
    line->addWidget(name);
    line->addWidget(value, 1);
    column->addLayout(line);
    m_figures.emplace_back(name, value);
  }
  return part;
}

QWidget* SchemeDock::buildButtons() {
  auto* part = new QWidget;
  auto* line = new QHBoxLayout(part);
  line->setContentsMargins(side, sizes::inside, side, sizes::inside);
  line->setSpacing(sizes::gap);
  m_add = new QPushButton(icon("add", &Theme::accentText), tr("Add to Compare"));
  m_add->setObjectName("addToCompare");
  m_add->setProperty("look", "primary");
  m_add->setMinimumHeight(sizes::control);
  m_vary = new QPushButton(icon("vary"), tr("Vary..."));
  m_vary->setObjectName("varyButton");
  m_vary->setMinimumHeight(sizes::control);
  connect(m_add, &QPushButton::clicked, this, [this] {
    if (m_session.state().choice) m_session.comparer().add({*m_session.state().choice}, tr("Add to Compare"));
  });
  connect(m_vary, &QPushButton::clicked, this, &SchemeDock::openVary);
  line->addWidget(m_add, 1);
  line->addWidget(m_vary);
  return part;
}

void SchemeDock::openVary() {
  if (!m_session.state().choice) return;
  auto* popup = new VaryPopup(*m_session.state().choice, matrixSize(m_session), this);
  connect(popup, &VaryPopup::accepted, this, [this](const std::vector<Choice>& choices) { m_session.comparer().add(choices, tr("Vary")); });
  popup->adjustSize();
  const QPoint corner = m_vary->mapToGlobal(QPoint(m_vary->width() - popup->width(), -popup->height() - sizes::grid));
  popup->move(corner);
  popup->show();
}

void SchemeDock::follow() {
  const auto& state = m_session.state();
  const WeightItem* packed = state.packedLayer();
  const PackedLayer* layer = packed != nullptr ? &state.file->weights->packedLayers()[*packed->packed].layer : nullptr;
  m_scheme->setMatrix(matrixSize(m_session), layer != nullptr ? QString::fromStdString(layer->description) : QString());
  showReadings(layer);
  const bool stored = state.storedLayer() != nullptr;
  m_add->setEnabled(state.file && !stored && state.choice && !state.isCandidate(*state.choice));
  m_add->setText(!stored && state.choice && state.isCandidate(*state.choice) ? tr("In Compare") : tr("Add to Compare"));
  m_vary->setEnabled(state.choice.has_value() && !stored);
  m_form->setVisible(!stored);
  m_transforms->setVisible(!stored);
  if (stored) return showStoredLayer();
  m_text->setPlaceholderText({});
  if (!state.choice) return;
  const auto& info = state.choice->scheme().info();
  m_scheme->showScheme(state.choice->scheme());
  m_summary->setText(string(info.summary) + needsText(info.needs));
  m_transforms->show(*state.choice, matrixSize(m_session));
  m_form->show(*state.choice, matrixSize(m_session));
  const auto shown = Choice::parse(m_text->text().toStdString());
  if (!m_text->hasFocus() || !shown || *shown != *state.choice) m_text->setText(QString::fromStdString(state.choice->shortText()));
  showTextProblem({});
}

void SchemeDock::showReadings(const PackedLayer* layer) {
  m_readingPart->setVisible(layer != nullptr && layer->readings.size() > 1);
  if (m_readingPart->isHidden()) return;
  QStringList readings;
  for (const auto& reading : layer->readings) readings << QString::fromStdString(reading);
  readings.sort();
  if (m_reading->values() != readings) m_reading->setChoices(readings, readings);
  const auto chosen = m_session.state().reading();
  m_reading->setValue(QString::fromStdString(chosen.empty() ? layer->readings.front() : chosen));
  m_reading->setToolTip(layer->doubt.empty() ? tr("The file says how it is read; the other way is for comparison") : QString::fromStdString(layer->doubt));
}

// A packed layer has no settings to choose: what the file says stands in their place.
void SchemeDock::showStoredLayer() {
  const auto& state = m_session.state();
  const PackedLayer& layer = state.file->weights->packedLayers()[*state.packedLayer()->packed].layer;
  m_scheme->showStored();
  m_summary->setText(QString::fromStdString(layer.description + (layer.doubt.empty() ? "" : "\n" + layer.doubt)));
  m_text->clear();
  m_text->setPlaceholderText(tr("type a scheme to quantize it anew"));
  showTextProblem({});
}

void SchemeDock::textEdited(const QString& text) {
  const auto choice = Choice::parse(text.trimmed().toStdString());
  if (!choice) return showTextProblem(QString::fromStdString(choice.error().message));
  showTextProblem({});
  m_session.edit(tr("Scheme %1").arg(text), "schemeText", [&](SessionState& state) { state.choose(*choice); });
}

void SchemeDock::showTextProblem(const QString& problem) {
  m_textProblem->setText(problem);
  m_textProblem->setVisible(!problem.isEmpty());
  if (m_text->property("invalid").toBool() == !problem.isEmpty()) return;
  m_text->setProperty("invalid", !problem.isEmpty());
  restyle(m_text);
}

void SchemeDock::showResult() {
  const auto& exploration = m_session.explorer().current();
  if (!exploration) return clearFigures({});
  if (!exploration->ok()) return clearFigures(QString::fromStdString(exploration->problem));
  showFigures(*exploration);
}

void SchemeDock::showFigures(const Exploration& exploration) {
  m_problem->hide();
  const double weights = static_cast<double>(exploration.report.sums.count);
  const auto perWeight = [&](std::uint64_t bytes) { return static_cast<double>(bytes) * 8 / std::max(1.0, weights); };
  m_key->setText(formatBpw(exploration.bitsPerWeight));
  m_bar->setData({{tr("codes"), perWeight(exploration.size.codes)}, {tr("scales"), perWeight(exploration.size.scales)},
                  {tr("zeros"), perWeight(exploration.size.zeros)}, {tr("other"), perWeight(exploration.size.other)}},
                 exploration.family);
  m_legend->setText(m_bar->legendText());
  m_sampled->setVisible(!exploration.exact());
  m_sampled->setText(tr("sampled 1/%1").arg(exploration.sampledEvery));
  const auto& tensor = exploration.facts->tensor;
  const auto* item = m_session.state().file ? m_session.state().file->find(tensor.name()) : nullptr;
  const std::uint64_t stored = item != nullptr ? item->sizeBytes : tensor.bytes().size();
  const auto packed = static_cast<std::uint64_t>(exploration.bitsPerWeight * static_cast<double>(tensor.size()) / 8 + 0.5);
  const SizeUnit unit = sizeUnitFor(std::max(stored, packed));
  for (std::size_t i = 0; i < m_figures.size(); ++i) {
    const std::string key = figureKeys[i];
    if (key.empty())
      m_figures[i].second->setText(tr("%1 %2 of %3").arg(formatSizeNumber(packed, unit), name(unit), formatSizeNumber(stored, unit)));
    else if (const Metric* metric = findMetric(key)) {
      m_figures[i].second->setText(exploration.isStored() ? unknownText() : figureText(key, metric->value(exploration.report)));
      m_figures[i].second->setToolTip(exploration.isStored() ? tr("The file holds no weights from before it was packed") : string(metric->definition));
    }
  }
}

void SchemeDock::clearFigures(const QString& reason) {
  m_problem->setText(reason);
  m_problem->setVisible(!reason.isEmpty());
  m_key->setText(unknownText());
  m_bar->clear();
  m_legend->clear();
  m_sampled->hide();
  for (const auto& [name, value] : m_figures) value->setText(unknownText());
}

}  // namespace nibble
