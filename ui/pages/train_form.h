// SPDX-License-Identifier: GPL-3.0-or-later
// The settings of training, as a popup in columns: the options of core/train/train_options.h that do something as things are
// chosen, and where Play stops early. A text that is no value stays, marked, and changes nothing.
#pragma once
#include <QFrame>
#include <string>
#include <vector>

class QGridLayout;
class QLabel;

namespace nibble {

class Session;
namespace train {
struct TrainOption;
}

class TrainForm : public QFrame {
  Q_OBJECT
 public:
  TrainForm(Session& session, QWidget* parent);
  void openUnder(QWidget* button);

 private:
  struct Field {
    const train::TrainOption* option;  // null: a stop
    std::string key, fallback;
    QLabel* label;
    QWidget* widget;
  };
  void addOption(const train::TrainOption& option);
  void addStops();
  void addField(Field field, const QString& label, const QString& help);
  void choose(const std::string& key, const QString& value);
  void place(const std::vector<bool>& shown);
  void follow();

  Session& m_session;
  QGridLayout* m_grid;
  std::vector<Field> m_fields;
  std::vector<bool> m_shown;
};

}  // namespace nibble
