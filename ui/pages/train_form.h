// SPDX-License-Identifier: GPL-3.0-or-later
// The settings of training, as a popup in two columns: the options of training.h that apply to the chosen method, and where Play
// stops early. A text that is no value stays, marked, and changes nothing.
#pragma once
#include <QFrame>
#include <string>
#include <vector>

class QGridLayout;
class QLabel;

namespace nibble {

class Session;
struct TrainOption;

class TrainForm : public QFrame {
  Q_OBJECT
 public:
  TrainForm(Session& session, QWidget* parent);
  void openUnder(QWidget* button);

 private:
  struct Field {
    const TrainOption* option;  // null: a stop
    std::string key, fallback;
    QLabel* label;
    QWidget* widget;
  };
  void addOption(const TrainOption& option);
  void addStops();
  void addField(Field field, const QString& label, const QString& help);
  void choose(const std::string& key, const QString& value);
  void place();
  void follow();

  Session& m_session;
  QGridLayout* m_grid;
  std::vector<Field> m_fields;
  std::string m_method;
};

}  // namespace nibble
