// SPDX-License-Identifier: GPL-3.0-or-later
// The widgets of a choice, made from the settings tables of its scheme and of the transforms before it: segments for up to six
// values, a combo box for more, a spin box for a range, a check box for yes and no. Values the current matrix refuses are struck
// through and the reason stands one line below. Widgets are named setting_KEY, reasons reason_KEY; a transform's key is
// "smooth.alpha". Shows a choice and asks for changes; holds none itself.
#pragma once
#include "core/run/choice.h"

#include <QWidget>
#include <optional>

class QFormLayout;
class QLabel;

namespace nibble {

class SettingsForm : public QWidget {
  Q_OBJECT
 public:
  explicit SettingsForm(QWidget* parent = nullptr);
  // `size` is the matrix the settings must fit; none: nothing is refused.
  void show(const Choice& choice, std::optional<MatrixSize> size);
  [[nodiscard]] QWidget* field(const QString& key) const;

 signals:
  void valueChosen(const QString& key, const nibble::SettingValue& value);

 private:
  struct Row {
    std::string key;
    const SettingInfo* info = nullptr;
    QLabel* label = nullptr;
    QWidget* field = nullptr;
    QLabel* reason = nullptr;
  };
  void build(const Choice& choice);
  void addRow(const std::string& key, const QString& label, const SettingInfo& info);
  QWidget* makeField(const SettingInfo& info, const QString& key);
  void update(const Row& row, const SettingValue& value, const Choice& choice, std::optional<MatrixSize> size);
  QString markImpossible(const Row& row, const Choice& choice, std::optional<MatrixSize> size);

  QFormLayout* m_layout;
  const Scheme* m_scheme = nullptr;
  std::vector<const Transform*> m_transforms;
  std::vector<Row> m_rows;
};

// What a value is called on the form: "1 row" for axis=1, "none" for group=0, else its text.
QString valueLabel(const SettingInfo& info, const SettingValue& value);
// The values a form or a menu offers, where they are few; empty for a range.
std::vector<SettingValue> offeredValues(const SettingInfo& info);

}  // namespace nibble
