// SPDX-License-Identifier: GPL-3.0-or-later
// The tree reads like the checkpoint's modules, filters and sorts right, keeps the model rules, and stays quick with 100,000 tensors.
#include "ui/models/tensor_tree_model.h"

#include <QAbstractItemModelTester>
#include <QElapsedTimer>
#include <QTest>

using namespace nibble;

namespace {

TensorItem item(const std::string& name, std::vector<std::uint64_t> shape = {4, 4}, std::uint64_t bytes = 64, const char* type = "F32") {
  return {name, type, std::move(shape), bytes, TreeMark::None, {}, true};
}

std::shared_ptr<const TensorTree> bert() {
  return std::make_shared<TensorTree>(std::vector<TensorItem>{
      item("embeddings.word_embeddings.weight", {512, 384}, 393216, "F16"),
      item("encoder.layer.0.attention.self.query.weight", {384, 384}, 294912, "BF16"),
      item("encoder.layer.0.attention.self.query.bias", {384}, 1536),
      item("encoder.layer.0.attention.self.key.weight", {384, 384}, 294912, "BF16"),
      item("encoder.layer.0.output.dense.weight", {384, 1536}, 1179648, "BF16"),
      item("encoder.layer.0.output.dense.bias", {384}, 1536),
      item("scale", {}, 4),
  });
}

// "  label" lines, two spaces a level.
QStringList lines(const QAbstractItemModel& model, const QModelIndex& parent = {}, int level = 0) {
  QStringList out;
  for (int row = 0; row < model.rowCount(parent); ++row) {
    const auto index = model.index(row, 0, parent);
    out << QString(level * 2, ' ') + index.data().toString();
    out << lines(model, index, level + 1);
  }
  return out;
}

std::shared_ptr<const TensorTree> hugeTree() {
  std::vector<TensorItem> items;
  for (int layer = 0; layer < 100; ++layer)
    for (int expert = 0; expert < 500; ++expert)
      for (const char* part : {"up_proj.weight", "down_proj.weight"})
        items.push_back(item("model.layers." + std::to_string(layer) + ".mlp.experts." + std::to_string(expert) + "." + part,
                             {1024, 1024}, 1000 + expert));
  return std::make_shared<TensorTree>(std::move(items));
}

}  // namespace

class TestTensorModel : public QObject {
  Q_OBJECT
 private slots:
  void readsLikeTheModules() {
    TensorTreeModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setTree(bert());
    const QStringList expected = {"embeddings", "  word_embeddings", "encoder.layer.0", "  attention.self", "    query.weight",
                                  "    query.bias", "    key", "  output", "    dense.weight", "    dense.bias", "scale"};
    QCOMPARE(lines(model), expected);
    const auto query = model.indexOf("encoder.layer.0.attention.self.query.weight");
    QVERIFY(query.isValid());
    QCOMPARE(model.tensorAt(query), QString("encoder.layer.0.attention.self.query.weight"));
    QCOMPARE(query.siblingAtColumn(TensorTreeModel::Type).data().toString(), QString("BF16"));
    QCOMPARE(query.siblingAtColumn(TensorTreeModel::ShapeColumn).data().toString(), QString::fromUtf8("384×384"));
    QVERIFY(model.tensorAt(query.parent()).isEmpty());
  }

  void modulesOfModulesGiveWay() {
    TensorTreeModel model;
    model.setTree(std::make_shared<TensorTree>(std::vector<TensorItem>{
        item("m.layer.0.attention.self.query.weight"), item("m.layer.0.attention.self.query.bias"),
        item("m.layer.0.attention.output.dense.weight"), item("m.layer.0.attention.output.dense.bias"),
        item("m.layer.0.output.dense.weight"), item("m.layer.0.output.dense.bias")}));
    const QStringList expected = {"m.layer.0", "  attention.self", "    query.weight", "    query.bias", "  attention.output",
                                  "    dense.weight", "    dense.bias", "  output", "    dense.weight", "    dense.bias"};
    QCOMPARE(lines(model), expected);
  }

  void filtersByTextAndExpression() {
    TensorTreeModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setTree(bert());
    QCOMPARE(model.setFilter("QUERY"), QString());
    QCOMPARE(lines(model), (QStringList{"encoder.layer.0", "  attention.self", "    query.weight", "    query.bias"}));
    QCOMPARE(model.shownTensors(), 2);
    QVERIFY(!model.indexOf("scale").isValid());
    QCOMPARE(model.setFilter("/(key|dense)\\.weight$/"), QString());
    QCOMPARE(model.shownTensors(), 2);
    QVERIFY(!model.setFilter("/(/").isEmpty());
    QCOMPARE(model.shownTensors(), 2);
    model.setFilter("nothing has this name");
    QCOMPARE(model.rowCount(), 0);
    model.setFilter("");
    QCOMPARE(model.shownTensors(), 7);
  }

  void sortsAndKeepsSelection() {
    TensorTreeModel model;
    QAbstractItemModelTester tester(&model, QAbstractItemModelTester::FailureReportingMode::QtTest);
    model.setTree(bert());
    const QPersistentModelIndex kept = model.indexOf("scale");
    model.sort(TensorTreeModel::Size, Qt::DescendingOrder);
    QCOMPARE(lines(model).first(), QString("encoder.layer.0"));
    QCOMPARE(model.tensorAt(kept), QString("scale"));
    QCOMPARE(kept.row(), 2);
    model.sort(-1);
    QCOMPARE(lines(model).first(), QString("embeddings"));
    QCOMPARE(kept.row(), 2);
  }

  void staysQuickWithManyTensors() {
    TensorTreeModel model;
    const auto tree = hugeTree();
    QCOMPARE(tree->items().size(), std::size_t(100000));
    const auto milliseconds = [](auto&& action) {
      qint64 best = 1 << 30;
      for (int i = 0; i < 3; ++i) {
        QElapsedTimer clock;
        clock.start();
        action(i);
        best = std::min(best, clock.elapsed());
      }
      return best;
    };
    const auto set = milliseconds([&](int) { model.setTree(tree); });
    const auto filter = milliseconds([&](int i) { model.setFilter(QString("experts.%1").arg(40 + i)); });
    model.setFilter("");
    const auto sort = milliseconds([&](int i) { model.sort(TensorTreeModel::Size, i % 2 ? Qt::AscendingOrder : Qt::DescendingOrder); });
    qInfo("set %lld ms, filter %lld ms, sort %lld ms", set, filter, sort);
    QVERIFY(set < 50 && filter < 50 && sort < 50);
  }
};

QTEST_MAIN(TestTensorModel)
#include "test_tensor_model.moc"
