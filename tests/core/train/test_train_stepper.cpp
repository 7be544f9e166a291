// SPDX-License-Identifier: GPL-3.0-or-later
// The stepper: back and forward to the bit, saved and resumed to the bit, breakpoints, updates that vanish; the optimizers.
#include "tests/support/files.h"
#include "tests/support/train_layers.h"

#include <QtTest>

#include <sys/resource.h>

#include <cmath>

using namespace nibble;
using namespace nibble::test;
using namespace nibble::train;

namespace {

TrainSettings settingsOf(NumberType type = NumberType::F32) {
  TrainSettings settings;
  settings.method = "qdora";
  settings.adapter.base = "minmax:bits=3,group=16";
  settings.adapter.rank = 4;
  settings.adapter.alpha = 8;
  settings.optimizer.learningRate = 1e-2;
  settings.optimizer.weightDecay = 0.01;
  settings.schedule.kind = Schedule::Kind::Cosine;
  settings.schedule.warmup = 10;
  settings.clipNorm = 0.5;
  settings.accumulation = 2;
  settings.steps = 200;
  settings.type = type;
  return settings;
}

LayerData layer() {
  LayerData data = layerOf(24, 16, 20);
  data.targets = floatOutputs(data, {}).value();
  return data;
}

Stepper stepperOf(const TrainSettings& settings, std::uint64_t memory = Stepper::defaultMemory) {
  return Stepper(makeAdapter(layer(), settings, {}, {}).value(), settings, {"block.dense.weight"}, memory);
}

// All numbers of a run as they are.
std::vector<std::vector<double>> stateOf(const Stepper& stepper) {
  std::vector<std::vector<double>> all;
  for (const Parameter& parameter : stepper.trainable().parameters())
    for (const auto* values : {&parameter.value, &parameter.gradient, &parameter.state[0], &parameter.state[1]})
      all.push_back(*values);
  for (const char* name : {"y", "norm", "BA"}) all.push_back(stepper.trainable().array(name).value().values);
  return all;
}

Parameter one(double value, double gradient) {
  Parameter parameter = Parameter::of("p", {1}, NumberType::F64, {value});
  parameter.gradient = {gradient};
  return parameter;
}

}  // namespace

class TestTrainStepper : public QObject {
  Q_OBJECT
 private slots:
  // Step 200, back to 3 and forward again, from many kept states and from few.
  void backAndForward_data() {
    QTest::addColumn<quint64>("memory");
    QTest::newRow("everything kept") << (quint64{1} << 30);
    QTest::newRow("some kept") << quint64{60000};
    QTest::newRow("only the start") << quint64{0};
  }
  void backAndForward() {
    QFETCH(quint64, memory);
    Stepper stepper = stepperOf(settingsOf(), memory);
    QVERIFY(stepper.goTo(3, {}));
    const auto third = stateOf(stepper);
    QVERIFY(stepper.runTo(200, {}, {}).value() == StopReason::Reached);
    const auto last = stateOf(stepper);
    const std::vector<StepRecord> records = stepper.records();
    QCOMPARE(records.size(), std::size_t{200});
    if (memory == 60000) {
      QVERIFY(stepper.keptBytes() <= memory);
      QVERIFY(stepper.keptSteps().size() > 4 && stepper.keptSteps().size() < 100);
      QVERIFY(stepper.keptSteps().back() > 100);
    }
    QCOMPARE(stepper.keptSteps().size() == 1, memory == 0);
    QVERIFY(stepper.goTo(3, {}));
    QCOMPARE(stepper.position(), std::uint64_t{3});
    QVERIFY(stateOf(stepper) == third);
    QVERIFY(stepper.goTo(200, {}));
    QVERIFY(stateOf(stepper) == last);
    QVERIFY(stepper.records() == records);
    QVERIFY(stepper.goTo(137, {}));
    QVERIFY(std::equal(stepper.records().begin(), stepper.records().end(), records.begin()));
    QVERIFY(stepper.reset());
    QCOMPARE(stepper.position(), std::uint64_t{0});
    QVERIFY(stepper.runTo(200, {}, {}));
    QVERIFY(stateOf(stepper) == last);
  }

  void resumes_data() {
    QTest::addColumn<int>("type");
    for (const NumberType type : {NumberType::F64, NumberType::F32, NumberType::BF16, NumberType::F16})
      QTest::newRow(std::string(name(type)).c_str()) << static_cast<int>(type);
  }
  void resumes() {
    QFETCH(int, type);
    const ScratchFolder folder;
    const TrainSettings settings = settingsOf(static_cast<NumberType>(type));
    Stepper whole = stepperOf(settings), first = stepperOf(settings), second = stepperOf(settings);
    QVERIFY(whole.runTo(40, {}, {}));
    QVERIFY(first.runTo(17, {}, {}));
    QVERIFY(first.save(folder.file("run")));
    QVERIFY(second.resume(folder.file("run")));
    QCOMPARE(second.position(), std::uint64_t{17});
    QVERIFY(second.records() == first.records());
    QVERIFY(second.runTo(40, {}, {}));
    QVERIFY(stateOf(second) == stateOf(whole));
    QVERIFY(second.records() == whole.records());
    // Back beyond where it was resumed.
    QVERIFY(second.goTo(5, {}));
    QVERIFY(whole.goTo(5, {}));
    QVERIFY(stateOf(second) == stateOf(whole));
  }

  void resumingRefuses() {
    const ScratchFolder folder;
    Stepper stepper = stepperOf(settingsOf());
    QVERIFY(stepper.runTo(3, {}, {}));
    QVERIFY(stepper.save(folder.file("run")));
    const auto reason = [&](const TrainSettings& settings) {
      Stepper other = stepperOf(settings);
      const auto status = other.resume(folder.file("run"));
      return status ? std::string() : status.error().message;
    };
    QCOMPARE(reason(settingsOf()), std::string());
    TrainSettings settings = settingsOf();
    settings.optimizer.learningRate = 0.5;
    QVERIFY(reason(settings).find("ran with lr=0.01, this run has lr=0.5") != std::string::npos);
    settings = settingsOf();
    settings.adapter.rank = 5;
    QVERIFY(reason(settings).find("rank=4") != std::string::npos);
    LayerData changed = layer();
    changed.inputs[7] += 1e-6;
    Stepper other(makeAdapter(changed, settingsOf(), {}, {}).value(), settingsOf(), {"block.dense.weight"});
    QVERIFY(other.resume(folder.file("run")).error().message.find("inputs or targets are others") != std::string::npos);
    writeWhole(folder.file("broken"), readWhole(folder.file("run")).substr(0, 500));
    QVERIFY(!other.resume(folder.file("broken")));
    writeWhole(folder.file("foreign"), safetensorsOf({{"a", {1, 2}}}));
    QVERIFY(other.resume(folder.file("foreign")).error().message.find("no saved training run") != std::string::npos);
    QCOMPARE(other.position(), std::uint64_t{0});
  }

  // No room: an error, the file of before as it was, and the run goes on.
  void tooLittleDisk() {
    const ScratchFolder folder;
    Stepper stepper = stepperOf(settingsOf());
    QVERIFY(stepper.runTo(2, {}, {}));
    QVERIFY(stepper.save(folder.file("run")));
    const std::string before = readWhole(folder.file("run"));
    QVERIFY(stepper.runTo(4, {}, {}));
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit small{4096, limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const auto saved = stepper.save(folder.file("run"));
    setrlimit(RLIMIT_FSIZE, &limit);
    QVERIFY(!saved);
    QVERIFY(saved.error().message.find("run") != std::string::npos);
    QCOMPARE(readWhole(folder.file("run")), before);
    QCOMPARE(folder.names().size(), std::size_t{1});
    QCOMPARE(stepper.position(), std::uint64_t{4});
    QVERIFY(stepper.runTo(6, {}, {}));
  }

  void breakpoints() {
    TrainSettings settings = settingsOf();
    settings.optimizer.learningRate = 0;
    Stepper still = stepperOf(settings);
    Breakpoints breakpoints;
    breakpoints.nothingMoved = true;
    QVERIFY(still.runTo(10, breakpoints, {}).value() == StopReason::NothingMoved);
    QCOMPARE(still.position(), std::uint64_t{1});
    Stepper high = stepperOf(settingsOf());
    breakpoints = {};
    breakpoints.lossAbove = 0;
    QVERIFY(high.runTo(10, breakpoints, {}).value() == StopReason::LossAbove);
    QCOMPARE(high.position(), std::uint64_t{1});
    std::stop_source stop;
    stop.request_stop();
    Context context;
    context.stop = stop.get_token();
    QVERIFY(high.runTo(10, {}, context).error().kind == ErrorKind::Cancelled);
    QCOMPARE(high.position(), std::uint64_t{1});
  }

  // A run that blows up ends before the step that would spoil it.
  void notFinite() {
    TrainSettings settings = settingsOf();
    settings.optimizer = {};
    settings.optimizer.kind = "sgd";
    settings.optimizer.learningRate = 1e30;
    settings.schedule = {};
    settings.clipNorm = 0;
    Stepper stepper = stepperOf(settings);
    QVERIFY(stepper.runTo(10, {}, {}).value() == StopReason::NotFinite);
    QVERIFY(stepper.position() >= 1 && stepper.position() < 10);
    QVERIFY(stepper.notFinite().find("step ") == 0);
    for (const Parameter& parameter : stepper.trainable().parameters())
      for (const double value : parameter.value) QVERIFY(std::isfinite(value));
    QVERIFY(stepper.goTo(1, {}));
  }

  // The update that vanishes: 0 of N magnitudes move in bfloat16, in float32 all do.
  void updatesVanish() {
    for (const NumberType type : {NumberType::BF16, NumberType::F32}) {
      TrainSettings settings = settingsOf(type);
      settings.optimizer = {};
      settings.optimizer.learningRate = 1e-5;
      settings.schedule = {};
      Stepper stepper = stepperOf(settings);
      QVERIFY(stepper.runTo(3, {}, {}));
      for (const StepRecord& record : stepper.records()) {
        const ParameterRecord& magnitude = record.parameters[2];
        QCOMPARE(magnitude.name, std::string("magnitude"));
        QCOMPARE(magnitude.moved.total, std::uint64_t{24});
        QCOMPARE(magnitude.moved.moved, type == NumberType::BF16 ? std::uint64_t{0} : std::uint64_t{24});
        QCOMPARE(magnitude.moved.vanished, type == NumberType::BF16 ? std::uint64_t{24} : std::uint64_t{0});
      }
    }
  }

  void settingsCanChangeOnTheWay() {
    Stepper stepper = stepperOf(settingsOf());
    QVERIFY(stepper.goTo(5, {}));
    stepper.settingsChanged();
    QVERIFY(stepper.goTo(8, {}));
    QVERIFY(!stepper.goTo(4, {}));
    QCOMPARE(stepper.position(), std::uint64_t{8});
    QVERIFY(stepper.goTo(5, {}));
    QCOMPARE(stepper.position(), std::uint64_t{5});
  }

  // Two steps of each rule by hand.
  void optimizers() {
    OptimizerSettings settings{"sgd", 0.1, 0.9, 0.9, 0.99, 0, 0.5};
    std::vector<Parameter> p{one(1, 2)};
    update(p, settings, 1, 1);
    QVERIFY(std::fabs(p[0].value[0] - (1 - 0.1 * 2.5)) < 1e-15);
    update(p, settings, 1, 2);
    QVERIFY(std::fabs(p[0].value[0] - (0.75 - 0.1 * (0.9 * 2.5 + 2 + 0.5 * 0.75))) < 1e-15);
    settings.kind = "adamw";
    p = {one(1, 2)};
    update(p, settings, 1, 1);  // with epsilon 0 the first step is the learning rate
    QVERIFY(std::fabs(p[0].value[0] - (0.95 - 0.1)) < 1e-14);
    p[0].gradient = {-1};
    update(p, settings, 1, 2);
    const double m = (0.9 * 0.2 - 0.1) / (1 - 0.81), v = (0.99 * 0.04 + 0.01) / (1 - 0.9801);
    QVERIFY(std::fabs(p[0].value[0] - (0.85 * 0.95 - 0.1 * m / std::sqrt(v))) < 1e-14);
    settings.kind = "adam";
    p = {one(1, 2)};
    p[0].own = settings;
    update(p, {}, 0.5, 1);  // its own rate, under the schedule
    QVERIFY(std::fabs(p[0].value[0] - 0.95) < 1e-14);
    settings.kind = "other";
    QVERIFY(check(settings).error().message.find("sgd, adam, adamw") != std::string::npos);
    settings.kind = "adam";
    settings.beta2 = 1;
    QVERIFY(!check(settings));
  }

  void schedules() {
    Schedule schedule{Schedule::Kind::Linear, 4, 14, 0.2};
    QCOMPARE(schedule.factor(1), 0.25);
    QCOMPARE(schedule.factor(4), 1.0);
    QVERIFY(std::fabs(schedule.factor(9) - 0.6) < 1e-15);
    QVERIFY(std::fabs(schedule.factor(14) - 0.2) < 1e-15);
    schedule.kind = Schedule::Kind::Cosine;
    QVERIFY(std::fabs(schedule.factor(9) - 0.6) < 1e-15);
    QVERIFY(schedule.factor(6) > 0.9);
    schedule.kind = Schedule::Kind::Constant;
    QCOMPARE(schedule.factor(14), 1.0);
    QCOMPARE(Schedule{}.factor(1), 1.0);
  }

  void clipping() {
    std::vector<Parameter> p{one(0, 3), one(0, 4)};
    QCOMPARE(clipGradients(p, 0), 5.0);
    QCOMPARE(clipGradients(p, 6), 5.0);
    QCOMPARE(p[0].gradient[0], 3.0);
    QCOMPARE(clipGradients(p, 1), 5.0);
    QVERIFY(std::fabs(p[0].gradient[0] - 0.6) < 1e-6);
    QVERIFY(std::fabs(p[1].gradient[0] - 0.8) < 1e-6);
  }

  void drawnInputsAreTheSame() {
    DataSettings data;
    data.rows = 400;
    data.outlierChannels = 2;
    const auto first = drawInputs(data, 12, 7), second = drawInputs(data, 12, 7), other = drawInputs(data, 12, 8);
    QVERIFY(first == second);
    QVERIFY(first != other);
    int large = 0;
    for (std::size_t j = 0; j < 12; ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < 400; ++i) sum += first[i * 12 + j] * first[i * 12 + j];
      const double deviation = std::sqrt(sum / 400);
      if (deviation > 15)
        ++large;
      else
        QVERIFY(std::fabs(deviation - 1) < 0.2);
    }
    QCOMPARE(large, 2);
  }
};

QTEST_APPLESS_MAIN(TestTrainStepper)
#include "test_train_stepper.moc"
