// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/settings_form.h"

#include "ui/forms/number_field.h"
#include "ui/forms/segments.h"
#include "ui/theme/theme.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QFormLayout>
#include <QLabel>
#include <QSignalBlocker>
#include <QSpinBox>
#include <algorithm>
#include <limits>

namespace nibble {

namespace {

constexpr int segmentsMost = 6;
constexpr int labelWidth = 84;  // longer names take two lines

QString string(const std::string& text) { return QString::fromStdString(text); }
QString valueText(const SettingValue& value) { return string(toText(value)); }

// Numbers ascending, the rest as the table has them.
void sortNumbers(std::vector<SettingValue>& values) {
  const auto number = [](const SettingValue& value) {
    if (const auto* integer = std::get_if<std::int64_t>(&value)) return static_cast<double>(*integer);
    return std::get<double>(value);
  };
  if (std::all_of(values.begin(), values.end(), [](const auto& v) { return std::holds_alternative<std::int64_t>(v) || std::holds_alternative<double>(v); }))
    std::stable_sort(values.begin(), values.end(), [&](const auto& a, const auto& b) { return number(a) < number(b); });
}

// Whether the labels fit side by side in the narrowest dock.
bool fitSideBySide(const SettingInfo& info, const std::vector<SettingValue>& values) {
  constexpr int room = 136, around = 10;
  const QFontMetrics metrics(fonts::bold());
  int width = 0;
  for (const auto& value : values) width += metrics.horizontalAdvance(valueLabel(info, value)) + around;
  return width <= room;
}

bool relevant(const SettingInfo& info, const Choice& choice) {
  if (info.onlyKey.empty() || !choice.has(info.onlyKey)) return true;
  const auto& other = choice.value(info.onlyKey);
  return std::find(info.onlyValues.begin(), info.onlyValues.end(), other) != info.onlyValues.end();
}

}  // namespace

QString valueLabel(const SettingInfo& info, const SettingValue& value) {
  const QString text = valueText(value);
  if (info.key == "axis") return text == "0" ? QObject::tr("0 column") : QObject::tr("1 row");
  if (info.key == "group" && text == "0") return QObject::tr("none");
  if (info.type == SettingType::Boolean) return text == "true" ? QObject::tr("yes") : QObject::tr("no");
  return text;
}

std::vector<SettingValue> offeredValues(const SettingInfo& info) {
  std::vector<SettingValue> values = info.offers.empty() ? info.choices : info.offers;
  if (info.type == SettingType::Boolean) values = {false, true};
  sortNumbers(values);
  return values;
}

SettingsForm::SettingsForm(QWidget* parent) : QWidget(parent), m_layout(new QFormLayout(this)) {
  setObjectName("settingsForm");
  setAccessibleName(tr("Settings of the scheme"));
  m_layout->setContentsMargins(0, 0, 0, 0);
  m_layout->setHorizontalSpacing(sizes::inside);
  m_layout->setVerticalSpacing(0);
  m_layout->setFieldGrowthPolicy(QFormLayout::AllNonFixedFieldsGrow);
}

QWidget* SettingsForm::field(const QString& key) const { return findChild<QWidget*>("setting_" + key); }

void SettingsForm::show(const Choice& choice, std::optional<MatrixSize> size) {
  const auto& before = choice.transforms();
  const bool same = &choice.scheme() == m_scheme && std::equal(before.begin(), before.end(), m_transforms.begin(), m_transforms.end(),
                                                               [](const auto& chosen, const auto* known) { return chosen.transform == known; });
  if (!same) build(choice);
  std::size_t row = 0;
  for (const auto& chosen : before)
    for (const auto& value : chosen.values) update(m_rows[row++], value, choice, size);
  for (const auto& value : choice.values()) update(m_rows[row++], value, choice, size);
}

void SettingsForm::build(const Choice& choice) {
  m_scheme = &choice.scheme();
  m_transforms.clear();
  m_rows.clear();
  while (m_layout->rowCount() > 0) m_layout->removeRow(0);
  for (const auto& chosen : choice.transforms()) {
    m_transforms.push_back(chosen.transform);
    const auto& about = chosen.transform->info();
    for (const auto& info : chosen.transform->settings())
      addRow(std::string(about.id) + "." + info.key, string(std::string(about.title)) + " " + string(info.label).toLower(), info);
  }
  for (const auto& info : m_scheme->settings()) addRow(info.key, string(info.label), info);
}

void SettingsForm::addRow(const std::string& key, const QString& label, const SettingInfo& info) {
  Row row{key, &info, new QLabel(label), makeField(info, string(key)), new QLabel};
  row.label->setObjectName("label_" + string(key));
  row.label->setProperty("look", "label");
  row.label->setFixedWidth(labelWidth);
  row.label->setWordWrap(true);
  row.label->setMinimumHeight(sizes::control + sizes::gap);
  row.field->setToolTip(string(info.help));
  row.field->setAccessibleName(label);
  row.field->setAccessibleDescription(string(info.help));
  row.label->setBuddy(row.field);
  row.reason->setObjectName("reason_" + string(key));
  row.reason->setProperty("look", "hint");
  row.reason->setWordWrap(true);
  row.reason->hide();
  auto* cell = new QWidget;
  auto* column = new QVBoxLayout(cell);
  column->setContentsMargins(0, sizes::grid, 0, sizes::grid);
  column->setSpacing(2);
  column->addWidget(row.field);
  column->addWidget(row.reason);
  m_layout->addRow(row.label, cell);
  m_layout->setAlignment(row.label, Qt::AlignTop);
  m_rows.push_back(row);
}

QWidget* SettingsForm::makeField(const SettingInfo& info, const QString& key) {
  const QString name = "setting_" + key;
  auto values = offeredValues(info);
  if (info.choices.empty() && values.size() == 1) values.clear();  // one of a range: not all there is
  if (info.type == SettingType::Boolean) {
    auto* box = new QCheckBox(info.help.size() <= 32 ? string(info.help) : QString());
    box->setObjectName(name);
    box->setMinimumHeight(sizes::control);
    connect(box, &QCheckBox::toggled, this, [this, key](bool on) { emit valueChosen(key, on); });
    return box;
  }
  if (!values.empty() && values.size() <= segmentsMost && fitSideBySide(info, values)) {
    auto* segments = new Segments(name, string(info.label));
    segments->setTight(true);
    segments->setFixedHeight(sizes::control);
    connect(segments, &Segments::chosen, this, [this, &info, key](const QString& text) {
      if (auto value = parseSetting(info, text.toStdString())) emit valueChosen(key, *value);
    });
    return segments;
  }
  if (!values.empty() || info.type == SettingType::Text) {
    auto* combo = new QComboBox;
    combo->setObjectName(name);
    combo->setEditable(values.empty());
    combo->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    combo->setMinimumContentsLength(6);
    for (const auto& value : values) combo->addItem(valueLabel(info, value), valueText(value));
    connect(combo, &QComboBox::textActivated, this, [this, &info, key, combo](const QString& typed) {
      const QString text = combo->currentData().isValid() ? combo->currentData().toString() : typed;
      if (auto value = parseSetting(info, text.toStdString())) emit valueChosen(key, *value);
    });
    return combo;
  }
  const bool bounded = info.low < info.high;
  if (info.type == SettingType::Integer) {
    auto* spin = new QSpinBox;
    spin->setObjectName(name);
    spin->setRange(bounded ? static_cast<int>(std::max(info.low, -2e9)) : std::numeric_limits<int>::min(),
                   bounded ? static_cast<int>(std::min(info.high, 2e9)) : std::numeric_limits<int>::max());
    spin->setMaximumWidth(90);
    spin->setAlignment(Qt::AlignRight);
    connect(spin, &QSpinBox::valueChanged, this, [this, key](int value) { emit valueChosen(key, static_cast<std::int64_t>(value)); });
    return spin;
  }
  // Of any size, or with three decimals.
  auto* spin = info.high >= 1e20 ? new NumberField : new QDoubleSpinBox;
  spin->setObjectName(name);
  const bool anySize = qobject_cast<NumberField*>(spin) != nullptr;
  if (!anySize) spin->setDecimals(3);
  spin->setRange(bounded ? info.low : -1e9, bounded ? info.high : 1e9);
  spin->setSingleStep(bounded && info.high - info.low <= 4 ? 0.05 : 1);
  spin->setMaximumWidth(anySize ? 130 : 90);
  spin->setAlignment(Qt::AlignRight);
  connect(spin, &QDoubleSpinBox::valueChanged, this, [this, key](double value) { emit valueChosen(key, value); });
  return spin;
}

void SettingsForm::update(const Row& row, const SettingValue& value, const Choice& choice, std::optional<MatrixSize> size) {
  const SettingInfo& info = *row.info;
  const bool shown = relevant(info, choice);
  row.label->setVisible(shown);
  row.field->parentWidget()->setVisible(shown);
  const QSignalBlocker block(row.field);
  if (auto* box = qobject_cast<QCheckBox*>(row.field)) {
    box->setChecked(std::get<bool>(value));
  } else if (auto* segments = qobject_cast<Segments*>(row.field)) {
    auto values = offeredValues(info);
    if (std::find(values.begin(), values.end(), value) == values.end()) {
      values.push_back(value);
      sortNumbers(values);
    }
    QStringList texts, labels;
    for (const auto& offered : values) {
      texts << valueText(offered);
      labels << valueLabel(info, offered);
    }
    if (segments->values() != texts) segments->setChoices(texts, labels);
    segments->setValue(valueText(value));
  } else if (auto* combo = qobject_cast<QComboBox*>(row.field)) {
    const int place = combo->findData(valueText(value));
    if (place >= 0) combo->setCurrentIndex(place);
    else if (combo->isEditable()) combo->setEditText(valueText(value));
  } else if (auto* spin = qobject_cast<QSpinBox*>(row.field)) {
    spin->setValue(static_cast<int>(std::get<std::int64_t>(value)));
  } else if (auto* real = qobject_cast<QDoubleSpinBox*>(row.field)) {
    real->setValue(std::get<double>(value));
  }
  const QString reason = markImpossible(row, choice, size);
  row.reason->setText(reason);
  row.reason->setVisible(!reason.isEmpty());
}

QString SettingsForm::markImpossible(const Row& row, const Choice& choice, std::optional<MatrixSize> size) {
  auto* segments = qobject_cast<Segments*>(row.field);
  if (segments == nullptr) return {};
  std::vector<QString> reasons;
  bool allRefused = true;
  for (const auto& text : segments->values()) {
    QString reason;
    if (size) {
      const std::string valueText = text.toStdString();
      const auto changed = choice.withAnywhere(row.key, valueText);
      const auto refusal = changed ? changed->refusal(*size) : std::optional<std::string>(changed.error().message);
      if (refusal) reason = string(*refusal);
    }
    allRefused = allRefused && !reason.isEmpty();
    reasons.push_back(reason);
  }
  QString first;
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    const QString& reason = allRefused ? QString() : reasons[i];
    segments->setImpossible(segments->values()[static_cast<qsizetype>(i)], reason);
    if (first.isEmpty()) first = reason;
  }
  return first;
}

}  // namespace nibble
