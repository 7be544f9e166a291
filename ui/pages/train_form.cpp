// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/pages/train_form.h"

#include "core/base/text.h"
#include "ui/session/session.h"
#include "ui/session/training.h"
#include "ui/theme/theme.h"

#include <QCheckBox>
#include <QComboBox>
#include <QCoreApplication>
#include <QGridLayout>
#include <QLabel>
#include <QLineEdit>
#include <QScreen>
#include <QSignalBlocker>

namespace nibble {
namespace {

constexpr int fieldWidth = 130, rowsMost = 15;

using train::TrainOption;

QString string(const std::string& text) { return QString::fromStdString(text); }

void mark(QLineEdit* edit, bool good) {
  if (edit->property("invalid").toBool() == !good) return;
  edit->setProperty("invalid", !good);
  restyle(edit);
}

}  // namespace

TrainForm::TrainForm(Session& session, QWidget* parent) : QFrame(parent, Qt::Popup), m_session(session), m_grid(new QGridLayout(this)) {
  setObjectName("trainForm");
  setAccessibleName(tr("Settings of training"));
  setProperty("look", "panel");
  m_grid->setContentsMargins(12, 12, 12, 12);
  m_grid->setVerticalSpacing(sizes::grid);
  m_grid->setHorizontalSpacing(sizes::inside);
  for (const auto& option : train::trainOptions())
    if (option.key != std::string_view("method")) addOption(option);
  addStops();
  connect(&session, &Session::changed, this, &TrainForm::follow);
  follow();
}

void TrainForm::addField(Field field, const QString& label, const QString& help) {
  field.label = new QLabel(label, this);
  field.label->setProperty("look", "label");
  field.label->setToolTip(help);
  field.label->setBuddy(field.widget);
  field.widget->setParent(this);
  field.widget->setObjectName(QString("train_%1").arg(string(field.key)));
  field.widget->setAccessibleName(label);
  field.widget->setAccessibleDescription(help);
  field.widget->setToolTip(help);
  field.widget->setFixedSize(fieldWidth, sizes::control);
  m_fields.push_back(std::move(field));
}

void TrainForm::addOption(const TrainOption& option) {
  const std::string key = option.key;
  Field field{&option, key, {}, nullptr, nullptr};
  if (option.kind == TrainOption::Kind::Choice) {
    auto* combo = new QComboBox;
    for (const auto& text : option.choices()) combo->addItem(string(text));
    connect(combo, &QComboBox::textActivated, this, [this, key](const QString& text) { choose(key, text); });
    field.widget = combo;
  } else if (option.kind == TrainOption::Kind::Flag) {
    auto* box = new QCheckBox;
    connect(box, &QCheckBox::toggled, this, [this, key](bool on) { choose(key, on ? "yes" : "no"); });
    field.widget = box;
  } else {
    auto* edit = new QLineEdit;
    if (option.kind == TrainOption::Kind::File || option.kind == TrainOption::Kind::Words) edit->setPlaceholderText(tr("none"));
    connect(edit, &QLineEdit::textEdited, this, [edit, &option](const QString& text) {
      train::TrainSettings probe;
      mark(edit, option.set(probe, text.toStdString()));
    });
    connect(edit, &QLineEdit::editingFinished, this, [this, edit, key] {
      if (!edit->property("invalid").toBool()) choose(key, edit->text());
    });
    field.widget = edit;
  }
  addField(field, QCoreApplication::translate("Train", option.label), QCoreApplication::translate("Train", option.help));
}

void TrainForm::addStops() {
  auto* above = new QLineEdit;
  above->setPlaceholderText(tr("never"));
  connect(above, &QLineEdit::textEdited, this, [above](const QString& text) { mark(above, text.isEmpty() || text::parseDouble(text.toStdString()).has_value()); });
  connect(above, &QLineEdit::editingFinished, this, [this, above] {
    if (!above->property("invalid").toBool()) choose("stop-loss-above", above->text());
  });
  addField({nullptr, "stop-loss-above", "", nullptr, above}, tr("Stop above"), tr("Play stops where the loss is above this"));
  auto* still = new QCheckBox(tr("nothing moved"));
  connect(still, &QCheckBox::toggled, this, [this](bool on) { choose("stop-nothing-moved", on ? "yes" : "no"); });
  addField({nullptr, "stop-nothing-moved", "no", nullptr, still}, tr("Stop where"), tr("Play stops after an update that changed no number"));
}

void TrainForm::choose(const std::string& key, const QString& value) {
  const auto& state = m_session.state();
  const auto settings = trainSettings(state);
  for (const Field& field : m_fields)
    if (field.key == key && (field.option != nullptr ? trainText(state, *field.option, settings) : state.viewOption("train." + key, field.fallback)) == value.toStdString()) return;
  m_session.edit(tr("Train with %1 %2").arg(string(key), value), "train." + string(key), [&](SessionState& next) { next.view["train." + key] = value.toStdString(); });
}

// In as many columns as keep the popup low.
void TrainForm::place(const std::vector<bool>& shown) {
  std::vector<const Field*> fields;
  for (std::size_t i = 0; i < m_fields.size(); ++i) {
    m_fields[i].label->setVisible(shown[i]);
    m_fields[i].widget->setVisible(shown[i]);
    if (shown[i]) fields.push_back(&m_fields[i]);
  }
  const int count = static_cast<int>(fields.size()), columns = std::max(2, (count + rowsMost - 1) / rowsMost), rows = (count + columns - 1) / columns;
  for (int i = 0; i < count; ++i) {
    const int column = 3 * (i / rows);
    if (column > 0) m_grid->setColumnMinimumWidth(column - 1, sizes::gap);
    m_grid->addWidget(fields[static_cast<std::size_t>(i)]->label, i % rows, column);
    m_grid->addWidget(fields[static_cast<std::size_t>(i)]->widget, i % rows, column + 1);
  }
  if (isVisible()) adjustSize();
}

void TrainForm::follow() {
  const auto& state = m_session.state();
  const auto settings = trainSettings(state);
  std::vector<bool> shown;
  for (const Field& field : m_fields) {
    shown.push_back(field.option == nullptr || applies(*field.option, settings));
    const QString text = string(field.option != nullptr ? trainText(state, *field.option, settings) : state.viewOption("train." + field.key, field.fallback));
    const QSignalBlocker block(field.widget);
    if (auto* combo = qobject_cast<QComboBox*>(field.widget)) combo->setCurrentText(text);
    else if (auto* box = qobject_cast<QCheckBox*>(field.widget)) box->setChecked(text == "yes");
    else if (auto* edit = qobject_cast<QLineEdit*>(field.widget); edit->text() != text && !edit->hasFocus()) {
      edit->setText(text);
      mark(edit, true);
    }
  }
  if (shown == m_shown) return;
  m_shown = shown;
  place(shown);
}

void TrainForm::openUnder(QWidget* button) {
  adjustSize();
  const QPoint corner = button->mapToGlobal(QPoint(button->width() - width(), button->height() + sizes::grid));
  const QRect room = button->screen()->availableGeometry();
  move(std::max(room.left(), corner.x()), std::max(room.top(), std::min(corner.y(), room.bottom() - height())));
  show();
}

}  // namespace nibble
