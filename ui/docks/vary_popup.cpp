// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/docks/vary_popup.h"

#include "ui/forms/settings_form.h"
#include "ui/theme/plural.h"
#include "ui/theme/theme.h"

#include <QGridLayout>
#include <QLabel>
#include <QPushButton>
#include <QToolButton>

namespace nibble {

VaryPopup::VaryPopup(const Choice& choice, std::optional<MatrixSize> size, QWidget* parent)
    : QFrame(parent, Qt::Popup), m_choice(choice), m_size(size), m_count(new QLabel), m_add(new QPushButton(tr("Add to Compare"))) {
  setObjectName("varyPopup");
  setAccessibleName(tr("Vary the settings"));
  setAttribute(Qt::WA_DeleteOnClose);
  setProperty("look", "panel");
  auto* grid = new QGridLayout(this);
  grid->setContentsMargins(12, 12, 12, 12);
  grid->setVerticalSpacing(sizes::gap);
  auto* title = new QLabel(tr("Vary %1").arg(QString::fromUtf8(choice.scheme().info().id.data())));
  title->setProperty("look", "title");
  grid->addWidget(title, 0, 0, 1, 2);
  int line = 1;
  const auto addRow = [&](const std::string& key, const std::string& text, const SettingInfo& info) {
    if (offeredValues(info).size() < 2) return;
    auto* label = new QLabel(QString::fromStdString(text));
    label->setProperty("look", "label");
    grid->addWidget(label, line, 0);
    grid->addWidget(makeRow(key, info), line++, 1, Qt::AlignLeft);
  };
  for (const auto& chosen : choice.transforms())
    for (const auto& info : chosen.transform->settings())
      addRow(std::string(chosen.transform->info().id) + "." + info.key, std::string(chosen.transform->info().title) + ": " + info.label, info);
  for (const auto& info : choice.scheme().settings()) addRow(info.key, info.label, info);
  m_count->setObjectName("varyCount");
  m_count->setProperty("look", "hint");
  m_add->setObjectName("varyAdd");
  m_add->setProperty("look", "primary");
  connect(m_add, &QPushButton::clicked, this, [this] {
    emit accepted(m_choices);
    close();
  });
  grid->addWidget(m_count, line, 0, 1, 2);
  grid->addWidget(m_add, line + 1, 0, 1, 2);
  recount();
}

QWidget* VaryPopup::makeRow(const std::string& key, const SettingInfo& info) {
  auto* row = new QWidget;
  auto* layout = new QHBoxLayout(row);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(sizes::grid);
  for (const auto& value : offeredValues(info)) {
    auto* button = new QToolButton;
    const std::string valueText = toText(value);
    button->setObjectName(QString("vary_%1_%2").arg(QString::fromStdString(key), QString::fromStdString(valueText)));
    button->setAccessibleName(QString::fromStdString(info.label) + " " + valueLabel(info, value));
    button->setText(valueLabel(info, value));
    button->setCheckable(true);
    button->setProperty("look", "segment");
    button->setProperty("place", "only");
    button->setProperty("impossible", false);
    button->setMinimumHeight(sizes::headerControl);
    connect(button, &QToolButton::toggled, this, &VaryPopup::recount);
    layout->addWidget(button);
    m_toggles.push_back({key, valueText, button});
  }
  return row;
}

void VaryPopup::recount() {
  std::vector<Variation> variations;
  for (const auto& toggle : m_toggles) {
    if (!toggle.button->isChecked()) continue;
    if (variations.empty() || variations.back().key != toggle.key) variations.push_back({toggle.key, {}});
    variations.back().values.push_back(toggle.value);
  }
  m_choices.clear();
  QString problem;
  std::size_t refused = 0;
  if (!variations.empty()) {
    const auto varied = vary({m_choice}, variations);
    if (!varied) problem = QString::fromStdString(varied.error().message);
    else
      for (const auto& choice : *varied) {
        if (m_size && choice.refusal(*m_size)) ++refused;
        else m_choices.push_back(choice);
      }
  }
  QString text = !problem.isEmpty() ? problem : variations.empty() ? tr("Tick the values to try.") : counted(static_cast<qint64>(m_choices.size()), tr("%1 candidate"), tr("%1 candidates"));
  if (refused > 0) text += tr(", %1 do not fit this matrix").arg(refused);
  m_count->setText(text);
  m_add->setEnabled(!m_choices.empty());
}

}  // namespace nibble
