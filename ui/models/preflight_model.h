// SPDX-License-Identifier: GPL-3.0-or-later
// The pre-flight table: one row per rule, one column per loader with pass, fail or not asked, and a last row with the sum. The
// chosen loader's column stands highlighted. The source of each rule is its tooltip. GUI thread.
#pragma once
#include <QAbstractTableModel>
#include <vector>

namespace nibble {

struct RuleRow {
  struct Cell {
    bool asked = false, ok = false;
    QString detail;
  };
  QString rule, detail, source;
  std::vector<Cell> cells;  // by loader
};

class PreflightModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Column { Rule, Here, FirstRuntime };
  explicit PreflightModel(QObject* parent = nullptr);
  void setRules(QStringList runtimes, std::vector<RuleRow> rows, const QString& chosen);
  void clear() { setRules({}, {}, {}); }
  [[nodiscard]] bool passes(int runtime) const;  // everything this loader asks for
  [[nodiscard]] int passed(int runtime) const;
  [[nodiscard]] int asked(int runtime) const;

  [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
  [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
  [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

 private:
  [[nodiscard]] QVariant ruleData(const RuleRow& row, int column, int role) const;
  [[nodiscard]] QVariant resultData(int column, int role) const;

  QStringList m_runtimes;
  std::vector<RuleRow> m_rows;
  int m_chosen = -1;
};

}  // namespace nibble
