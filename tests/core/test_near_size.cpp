// SPDX-License-Identifier: GPL-3.0-or-later
// One candidate of each scheme near a size: its true size is near, none is twice there, what cannot come near is left out; and
// settings that fit a matrix which refuses a scheme's defaults.
#include "core/quant/layout.h"
#include "core/run/near_size.h"
#include "core/run/run.h"
#include "core/tensor/synthetic.h"

#include <QElapsedTimer>
#include <QtTest>

#include <set>

using namespace nibble;

class TestNearSize : public QObject {
  Q_OBJECT
 private slots:
  void near_data() {
    QTest::addColumn<double>("bits");
    for (const double bits : {2.5, 4.5, 8.25}) QTest::newRow(qPrintable(QString::number(bits))) << bits;
  }

  void near() {
    QFETCH(double, bits);
    const auto tensor = syntheticTensor(Distribution::Gauss, {64, 512}, 1);
    QElapsedTimer clock;
    clock.start();
    const auto choices = nearSize(tensor, bits, {});
    QVERIFY(choices.has_value());
    QVERIFY2(clock.elapsed() < 20000, qPrintable(QString::number(clock.elapsed())));
    QVERIFY2(choices->size() >= 8, qPrintable(QString::number(choices->size())));
    std::set<const Scheme*> seen;
    for (const Choice& choice : *choices) {
      QVERIFY2(seen.insert(&choice.scheme()).second, choice.text().c_str());
      const auto outcome = run(tensor, choice, {});
      QVERIFY2(outcome.has_value(), choice.text().c_str());
      const double found = bitsPerWeight(*outcome->quantized);
      QVERIFY2(std::abs(found - bits) < 1, (choice.text() + " " + std::to_string(found)).c_str());  // parts that are stored once weigh less in all rows
    }
  }

  void stops() {
    std::stop_source source;
    source.request_stop();
    Context context;
    context.stop = source.get_token();
    const auto choices = nearSize(syntheticTensor(Distribution::Gauss, {64, 512}), 4, context);
    QVERIFY(!choices && choices.error().kind == ErrorKind::Cancelled);
  }

  void fitting() {
    for (const Scheme* scheme : allSchemes())
      for (const MatrixSize size : {MatrixSize{64, 512}, MatrixSize{96, 96}, MatrixSize{8, 40}, MatrixSize{3, 7}}) {
        const auto choice = fittingChoice(*scheme, size);
        const Choice plain(*scheme);
        if (!choice) {
          QVERIFY2(plain.refusal(size).has_value(), plain.text().c_str());
          continue;
        }
        QVERIFY2(&choice->scheme() == scheme && !choice->refusal(size), choice->text().c_str());
        if (!plain.refusal(size)) QVERIFY(*choice == plain);
      }
  }
};

QTEST_APPLESS_MAIN(TestNearSize)
#include "test_near_size.moc"
