// SPDX-License-Identifier: GPL-3.0-or-later
// The text form both ways, its refusals, and --vary.
#include "core/run/choice.h"

#include <QtTest>

using nibble::Choice;
using nibble::ChosenTransform;
using nibble::findTransform;
using nibble::toText;
using nibble::Variation;

class TestChoice : public QObject {
  Q_OBJECT
 private slots:
  void canonicalTextReadsBack();
  void refusesWithTheLegalOnesListed_data();
  void refusesWithTheLegalOnesListed();
  void schemesOfTheContract_data();
  void schemesOfTheContract();
  void varies();
  void variesTransforms();
  void addsAndTakesTransforms();
  void variationsAreChecked();
};

void TestChoice::canonicalTextReadsBack() {
  for (const nibble::Scheme* scheme : nibble::allSchemes()) {
    const Choice defaults(*scheme);
    const auto back = Choice::parse(defaults.text());
    QVERIFY2(back.has_value(), defaults.text().c_str());
    QVERIFY(*back == defaults);
    for (const nibble::SettingInfo& info : scheme->settings()) {
      auto values = info.offers.empty() ? info.choices : info.offers;
      if (info.type == nibble::SettingType::Boolean) values = {true, false};
      for (const auto& value : values) {
        const auto changed = defaults.with(info.key, value);
        QVERIFY2(changed.has_value(), (info.key + "=" + toText(value)).c_str());
        const auto again = Choice::parse(changed->text());
        QVERIFY(again.has_value() && *again == *changed);
        const auto fromShort = Choice::parse(changed->shortText());
        QVERIFY2(fromShort.has_value(), changed->shortText().c_str());
      }
    }
  }
}

void TestChoice::refusesWithTheLegalOnesListed_data() {
  QTest::addColumn<QString>("text");
  QTest::addColumn<QString>("mentions");
  QTest::newRow("unknown scheme") << "hqqq" << "minmax";
  QTest::newRow("empty") << "" << "unknown scheme";
  QTest::newRow("unknown key") << "hqq:bitz=4" << "bits";
  QTest::newRow("illegal bits") << "hqq:bits=7" << "1.58";
  QTest::newRow("not a number") << "nf4:block=many" << "64";
  QTest::newRow("out of range") << "uniform:bits=17" << "2..16";
  QTest::newRow("twice") << "hqq:bits=4,bits=3" << "twice";
  QTest::newRow("no value") << "hqq:bits" << "key=value";
  QTest::newRow("trailing comma") << "hqq:bits=4," << "key=value";
  QTest::newRow("nan") << "hqq:p=nan" << "p=nan";
  QTest::newRow("boolean") << "nf4:nested=maybe" << "true false";
  QTest::newRow("unknown transform") << "polish/uniform" << "smooth hadamard clip";
  QTest::newRow("unknown key of a transform") << "smooth:beta=1/uniform" << "alpha";
  QTest::newRow("illegal value of a transform") << "hadamard:block=100/uniform" << "128";
  QTest::newRow("transforms in another order") << "hadamard/smooth/uniform" << "in this order";
  QTest::newRow("transform twice") << "clip/clip/uniform" << "each once";
  QTest::newRow("transform without a scheme") << "clip/" << "unknown scheme";
  QTest::newRow("scheme before a scheme") << "uniform/uniform" << "unknown transform";
}

void TestChoice::refusesWithTheLegalOnesListed() {
  QFETCH(QString, text);
  QFETCH(QString, mentions);
  const auto choice = Choice::parse(text.toStdString());
  QVERIFY(!choice.has_value());
  QVERIFY2(QString::fromStdString(choice.error().message).contains(mentions), choice.error().message.c_str());
  QVERIFY(!choice.error().message.empty() && choice.error().message.find('\n') == std::string::npos);
}

// Ids, keys and defaults that other tools may call: the command line's contract.
void TestChoice::schemesOfTheContract_data() {
  QTest::addColumn<QString>("text");
  for (const char* form :
       {"uniform:bits=8,granularity=channel,group=128,symmetric=true,kind=weight,variant=standard,params=f16",
        "minmax:bits=3,group=64,params=f16",
        "hqq:bits=4,group=64,axis=1,optimize=true,channel-wise=true,round-zero=false,iterations=20,p=0.7,beta=10,kappa=1.01,"
        "nested=false,params=f16",
        "nf4:block=64,nested=false,params=f32", "fp4:block=64,nested=false,params=f32", "float:type=f16",
        "codebook:bits=4,granularity=channel,group=128,params=f16"})
    QTest::newRow(form) << form;
}

void TestChoice::schemesOfTheContract() {
  QFETCH(QString, text);
  const auto choice = Choice::parse(text.toStdString());
  QVERIFY2(choice.has_value(), choice ? "" : choice.error().message.c_str());
  QVERIFY2(*choice == Choice(choice->scheme()), choice->text().c_str());
}

void TestChoice::varies() {
  const auto hqq = Choice::parse("hqq");
  const auto nf4 = Choice::parse("nf4");
  QVERIFY(hqq && nf4);
  const auto bits = Variation::parse("bits=2..4"), group = Variation::parse("group=32|64");
  QVERIFY(bits && group);
  const auto varied = nibble::vary({*hqq, *nf4}, {*bits, *group});
  QVERIFY(varied.has_value());
  QCOMPARE(varied->size(), std::size_t{3 * 2 + 1});  // nf4 has neither key and stays once
  QCOMPARE(toText(varied->front().value("bits")), std::string("2"));
  QCOMPARE(toText(varied->front().value("group")), std::string("32"));
}

// A key of a transform varies as one of the scheme does; where both have it, the transform's is named.
void TestChoice::variesTransforms() {
  const auto smooth = Choice::parse("smooth:alpha=0.5/hadamard/nf4:block=64");
  QVERIFY(smooth.has_value());
  const auto texts = [&](const std::vector<Variation>& variations) {
    const auto varied = nibble::vary({*smooth}, variations);
    QStringList list;
    if (varied)
      for (const Choice& choice : *varied) list << QString::fromStdString(choice.shortText());
    else list << QString::fromStdString(varied.error().message);
    return list;
  };
  QCOMPARE(texts({{"alpha", {"0.25", "0.75"}}}), (QStringList{"smooth:alpha=0.25/hadamard:block=128/nf4:block=64",
                                                               "smooth:alpha=0.75/hadamard:block=128/nf4:block=64"}));
  QCOMPARE(texts({{"block", {"128"}}}), QStringList{"smooth/hadamard:block=128/nf4:block=128"});
  QCOMPARE(texts({{"hadamard.block", {"64"}}}), QStringList{"smooth/hadamard:block=64/nf4:block=64"});
  QCOMPARE(texts({{"smooth.alpha", {"0.5"}}, {"seed", {"7"}}}), QStringList{"smooth/hadamard:block=128,seed=7/nf4:block=64"});
  QVERIFY(texts({{"alpha", {"2"}}}).first().startsWith("smooth: "));
  QVERIFY(texts({{"clip.alpha", {"0.5"}}}).first().contains("no scheme given has a setting 'clip.alpha'"));
}

void TestChoice::addsAndTakesTransforms() {
  const auto plain = Choice::parse("nf4:block=128"), both = Choice::parse("smooth/hadamard:block=64/nf4:block=128");
  QVERIFY(plain && both);
  const auto& hadamard = both->transforms()[1];
  const Choice rotated = plain->withTransform(hadamard);
  QCOMPARE(rotated.text(), Choice::parse("hadamard:block=64/nf4:block=128")->text());
  QVERIFY(rotated.withTransform(ChosenTransform::withDefaults(*findTransform("smooth"))) == *both);  // in the catalogue's order
  QVERIFY(both->withoutTransform(*findTransform("smooth")) == rotated);
  QVERIFY(rotated.withTransform(ChosenTransform::withDefaults(*hadamard.transform)) == *Choice::parse("hadamard/nf4:block=128"));
  QVERIFY(both->withoutTransform(*findTransform("clip")) == *both);
}

void TestChoice::variationsAreChecked() {
  for (const char* wrong : {"bits", "=4", "bits=", "bits=4..2", "bits=a..b", "bits=1..99999999"})
    QVERIFY2(!Variation::parse(wrong).has_value(), wrong);
  const auto hqq = Choice::parse("hqq");
  QVERIFY(!nibble::vary({*hqq}, {{"bits", {"7"}}}).has_value());
  QVERIFY(!nibble::vary({*hqq}, {{"colour", {"7"}}}).has_value());
}

QTEST_APPLESS_MAIN(TestChoice)
#include "test_choice.moc"
