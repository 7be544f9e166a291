// SPDX-License-Identifier: GPL-3.0-or-later
// The table of two files: figures, sorting with rows that have no reference, the nearer side marked, the text that is copied.
#include "ui/models/diff_model.h"
#include "ui/models/table_roles.h"

#include <QAbstractItemModelTester>
#include <QJsonArray>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTest>

using namespace nibble;

namespace {

ErrorReport reportOf(double error, double weight, std::uint64_t count) {
  ErrorReport report;
  report.sums.count = count;
  report.sums.errorSquared = error;
  report.sums.weightSquared = weight;
  return report;
}

std::vector<DiffedTensor> sample() {
  std::vector<DiffedTensor> rows(3);
  rows[0].a = {"layers.0.w", "gptq 4 bit group 32", "v1", 4.5};
  rows[0].b = {"model.layers.0.w", "F16", "", 16};
  rows[0].difference = reportOf(4, 400, 100);
  rows[0].aFromReference = reportOf(1, 400, 100);
  rows[0].bFromReference = reportOf(2, 400, 100);
  rows[1].a = rows[1].b = {"layers.1.w", "F32", "", 32};
  rows[1].difference = reportOf(0, 400, 100);
  rows[2].a = rows[2].b = {"layers.2.w", "F16", "", 16};
  rows[2].difference = reportOf(1, 100, 100);
  rows[2].aFromReference = reportOf(8, 400, 100);
  rows[2].bFromReference = reportOf(4, 400, 100);
  return rows;
}

}  // namespace

class TestDiffModel : public QObject {
  Q_OBJECT
 private slots:
  void figuresAndSorting() {
    DiffModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    QVERIFY(!model.hasReference());
    model.setRows(sample());
    QVERIFY(model.hasReference());
    QCOMPARE(model.rowCount(), 3);
    const auto names = [&] {
      QStringList list;
      for (int row = 0; row < 3; ++row) list << model.index(row, DiffModel::Name).data().toString().mid(7, 1);
      return list.join("");
    };
    QCOMPARE(names(), QString("021"));  // the farthest apart first
    QCOMPARE(model.index(0, DiffModel::Mse).data(Qt::EditRole).toDouble(), 0.04);
    QCOMPARE(model.index(2, DiffModel::Mse).data().toString(), QString("0"));
    QCOMPARE(model.index(0, DiffModel::Sqnr).data(Qt::EditRole).toDouble(), 20.0);
    QVERIFY(std::isinf(model.index(2, DiffModel::Sqnr).data(Qt::EditRole).toDouble()));
    QCOMPARE(model.index(0, DiffModel::StoredA).data().toString(), QString("gptq 4 bit group 32 read as v1"));
    model.sort(DiffModel::Name, Qt::AscendingOrder);
    QCOMPARE(names(), QString("012"));
    model.sort(DiffModel::ReferenceA, Qt::DescendingOrder);
    QCOMPARE(names(), QString("021"));  // the row without a reference comes last, both ways
    model.sort(DiffModel::ReferenceA, Qt::AscendingOrder);
    QCOMPARE(names(), QString("201"));
  }

  void theNearerSideIsMarked() {
    DiffModel model;
    model.setRows(sample());
    const auto good = [&](int row, int column) { return model.index(row, column).data(ToneRole).toInt() == static_cast<int>(Tone::Good); };
    QVERIFY(good(0, DiffModel::ReferenceA) && !good(0, DiffModel::ReferenceB));
    QVERIFY(!good(1, DiffModel::ReferenceA) && good(1, DiffModel::ReferenceB));
    QVERIFY(!good(2, DiffModel::ReferenceA) && !good(2, DiffModel::ReferenceB));
    QVERIFY(model.index(0, DiffModel::Name).data(Qt::ToolTipRole).toString().contains("model.layers.0.w"));
  }

  void textForOthers() {
    DiffModel model;
    model.setRows(sample());
    const QStringList lines = model.toSeparated('\t').split('\n', Qt::SkipEmptyParts);
    QCOMPARE(lines.size(), 4);
    const QStringList titles = lines[0].split('\t'), cells = lines[1].split('\t');
    QCOMPARE(cells.size(), titles.size());
    QCOMPARE(cells[titles.indexOf("mse")].toDouble(), 0.04);
    QCOMPARE(cells[titles.indexOf("tensor")], QString("layers.0.w"));
    QCOMPARE(lines[3].split('\t')[titles.indexOf("sqnrDbAFromReference")], QString());
    QVERIFY(model.toSeparated(',').contains("\"gptq 4 bit group 32 read as v1\","));
    const QJsonArray array = QJsonDocument::fromJson(model.toJson()).array();
    QCOMPARE(array.size(), 3);
    QCOMPARE(array[0]["tensorInB"].toString(), QString("model.layers.0.w"));
    QCOMPARE(array[0]["reference"]["b"]["mse"].toDouble(), 0.02);
    QVERIFY(!array[2].toObject().contains("sqnrDb") && !array[2].toObject().contains("reference"));
  }
};

QTEST_MAIN(TestDiffModel)
#include "test_diff_model.moc"
