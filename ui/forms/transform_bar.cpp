// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/forms/transform_bar.h"

#include "ui/forms/settings_form.h"
#include "ui/theme/theme.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QSignalBlocker>
#include <QToolButton>
#include <algorithm>

namespace nibble {
namespace {

QString string(std::string_view text) { return QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())); }

}  // namespace

TransformBar::TransformBar(QWidget* parent) : QWidget(parent) {
  setObjectName("transformBar");
  setAccessibleName(tr("Done to the weights before the scheme"));
  auto* line = new QHBoxLayout(this);
  line->setContentsMargins(0, 0, 0, 0);
  line->setSpacing(sizes::grid);
  auto* name = new QLabel(tr("Before"));
  name->setProperty("look", "label");
  name->setToolTip(tr("Done to the weights before the scheme, and undone after it"));
  line->addWidget(name);
  line->addSpacing(sizes::grid);
  for (const Transform* transform : allTransforms()) {
    auto* button = new QToolButton;
    button->setObjectName("transform_" + string(transform->info().id));
    button->setAccessibleName(tr("%1 before the scheme").arg(string(transform->info().title)));
    button->setText(string(transform->info().id));
    button->setCheckable(true);
    button->setProperty("look", "segment");
    button->setProperty("place", "only");
    button->setProperty("impossible", false);
    button->setProperty("small", true);  // three of them fit in the narrowest dock
    button->setFixedHeight(sizes::headerControl);
    button->setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    connect(button, &QToolButton::toggled, this, [this, transform](bool on) { emit toggled(transform, on); });
    line->addWidget(button);
    m_buttons.emplace_back(transform, button);
  }
}

Choice TransformBar::with(const Choice& choice, const Transform& transform, std::optional<MatrixSize> size) {
  const Choice plain = choice.withTransform(ChosenTransform::withDefaults(transform));
  if (!size || !plain.refusal(*size)) return plain;
  for (const auto& info : transform.settings())
    for (const auto& value : offeredValues(info)) {
      const auto changed = plain.withAnywhere(std::string(transform.info().id) + "." + info.key, toText(value));
      if (changed && !changed->refusal(*size)) return *changed;
    }
  return plain;
}

void TransformBar::show(const Choice& choice, std::optional<MatrixSize> size) {
  for (const auto& [transform, button] : m_buttons) {
    const auto& before = choice.transforms();
    const bool on = std::any_of(before.begin(), before.end(), [transform = transform](const auto& chosen) { return chosen.transform == transform; });
    const Choice added = with(choice, *transform, size);
    const auto refusal = on || !size || choice.refusal(*size) ? std::nullopt : added.refusal(*size);
    const QSignalBlocker block(button);
    button->setChecked(on);
    button->setEnabled(!refusal);
    const QString needs = transform->info().needs == Needs::Nothing ? QString() : tr("\nneeds activation data, which the window cannot give yet");
    button->setToolTip(refusal ? string(*refusal) : string(transform->info().summary) + needs);
    if (button->property("impossible").toBool() == refusal.has_value()) continue;
    QFont font = button->font();
    font.setStrikeOut(refusal.has_value());
    button->setFont(font);
    button->setProperty("impossible", refusal.has_value());
    restyle(button);
  }
}

}  // namespace nibble
