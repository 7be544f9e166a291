// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/compare.h"

#include "core/base/text.h"
#include "core/schemes/gguf_mixes.h"
#include "core/tensor/activations.h"

#include <algorithm>

namespace nibble {
namespace {

struct PlannedChoice {
  Choice choice;
  std::string mix, note;  // of a named mix
};

struct PlannedTensor {
  std::string name;
  MatrixSize size;
  std::vector<PlannedChoice> choices;
  std::string reading;
};

// What a mix makes of every tensor of the model.
struct Mix {
  std::string name;
  std::map<std::string, MixAssignment> assignments;
  // A matrix of a stack is decided with its stack. Null: it stays as it is.
  [[nodiscard]] const MixAssignment* of(const std::string& tensor) const {
    auto found = assignments.find(tensor);
    if (found == assignments.end()) found = assignments.find(tensor.substr(0, tensor.rfind('[')));
    return found == assignments.end() || found->second.scheme.empty() ? nullptr : &found->second;
  }
};

MatrixSize matrixSize(const Shape& shape) {
  if (shape.empty()) return {1, 1};
  const std::uint64_t columns = shape.back();
  return {columns == 0 ? 0 : elementCount(shape) / columns, columns};
}

void warn(const CompareJob& job, const std::string& line) {
  if (job.warn) job.warn(line);
}

Status checkReference(const CompareJob& job, const std::string& name, const Shape& shape) {
  const auto other = job.reference->shapeOf(name);
  if (!other) return fail(other.error().within("reference"));
  if (*other == shape) return {};
  return fail("reference: " + name + " is " + toText(*other) + " there and " + toText(shape) + " here");
}

bool knowsImportance(const CompareJob& job, const Context& context) {
  if (context.activations == nullptr) return false;
  return std::any_of(job.tensors.begin(), job.tensors.end(), [&](const std::string& name) {
    const auto shape = job.weights->shapeOf(name);
    const LayerInputs* inputs = shape && !shape->empty() ? context.activations->find(name, shape->back()) : nullptr;
    return inputs != nullptr && !inputs->meanSquares.empty();
  });
}

std::vector<MixTensor> mixTensorsOf(const WeightList& weights) {
  std::vector<MixTensor> tensors;
  for (const WeightItem& item : weights.items()) {
    const MatrixSize size = matrixSize(item.shape);
    tensors.push_back({item.name, size.rows, size.columns, static_cast<int>(item.shape.size())});
  }
  return tensors;
}

Result<Mix> mixNamed(const std::string& name, const std::vector<MixTensor>& tensors, bool importance) {
  auto assignments = mixAssignments(name, tensors, importance);
  if (!assignments) return fail(assignments.error());
  Mix mix{name, {}};
  for (MixAssignment& one : *assignments) mix.assignments.emplace(one.tensor, std::move(one));
  return mix;
}

Result<std::vector<Mix>> mixesOf(const CompareJob& job, const Context& context) {
  std::vector<Mix> mixes;
  if (job.mixes.empty()) return mixes;
  const auto tensors = mixTensorsOf(*job.weights);
  const bool importance = knowsImportance(job, context);
  for (const std::string& name : job.mixes) {
    auto mix = mixNamed(name, tensors, importance);
    if (!mix) return fail(mix.error());
    mixes.push_back(*std::move(mix));
  }
  return mixes;
}

Status planMix(const CompareJob& job, const Mix& mix, PlannedTensor& planned) {
  const MixAssignment* assigned = mix.of(planned.name);
  if (assigned == nullptr) {
    warn(job, planned.name + ": " + mix.name + " leaves it as it is");
    return {};
  }
  auto choice = Choice::parse(assigned->scheme);
  if (!choice) return fail(choice.error().within(mix.name));
  planned.choices.push_back({*std::move(choice), mix.name, assigned->note});
  return {};
}

Result<PlannedTensor> plan(const CompareJob& job, const std::vector<Mix>& mixes, const std::string& name) {
  const auto shape = job.weights->shapeOf(name);
  if (!shape) return fail(shape.error());
  PlannedTensor planned{name, matrixSize(*shape), {}, {}};
  if (job.reference != nullptr) NIBBLE_TRY(checkReference(job, name, *shape));
  for (const Choice& choice : job.choices) {
    const auto reason = choice.refusal(planned.size);
    if (!reason) {
      planned.choices.push_back({choice, {}, {}});
    } else if (job.skipRefused) {
      warn(job, name + ": " + choice.shortText() + " is left out: " + *reason);
    } else {
      return fail(name + ": " + choice.shortText() + ": " + *reason);
    }
  }
  for (const Mix& mix : mixes) NIBBLE_TRY(planMix(job, mix, planned));
  return planned;
}

// Only a reference can tell the readings of a doubtful layer apart; without one the layer is taken as its format reads it.
std::vector<PlannedTensor> inEachReading(const CompareJob& job, PlannedTensor planned) {
  const PackedLayer* layer = job.weights->packedLayer(planned.name);
  if (layer == nullptr || layer->doubt.empty()) return {std::move(planned)};
  if (job.reference == nullptr) {
    warn(job, planned.name + ": " + layer->doubt);
    return {std::move(planned)};
  }
  std::vector<PlannedTensor> plans;
  for (const std::string& reading : layer->readings) {
    plans.push_back(planned);
    plans.back().reading = reading;
  }
  return plans;
}

Result<ComparedCandidate> measure(const PlannedTensor& planned, const Tensor& tensor, const Tensor* reference,
                                  const PlannedChoice& candidate, const CompareJob& job, const Context& context) {
  ReportOptions options;
  options.histogramBins = job.histogramBins;
  options.inputWeights = knownMeanSquares(tensor, context);
  auto outcome = run(tensor, candidate.choice, context, options);
  if (!outcome) return fail(outcome.error());
  if (reference != nullptr) {
    auto report = errorReport(*reference, *outcome->quantized, options, context);
    if (!report) return fail(report.error());
    outcome->report = *std::move(report);
  }
  std::vector<std::string> notes = outcome->quantized->notes;
  if (!candidate.note.empty()) notes.push_back(candidate.mix + ": " + candidate.note);
  return ComparedCandidate{planned.name,
                           candidate.choice.text(),
                           candidate.mix,
                           planned.reading,
                           planned.size.count(),
                           storageSize(*outcome->quantized),
                           bitsPerWeight(*outcome->quantized),
                           std::move(outcome->report),
                           nullptr,
                           outcome->seconds,
                           std::move(notes)};
}

Status measureAll(const PlannedTensor& planned, const CompareJob& job, const Context& context,
                  std::vector<ComparedCandidate>& found) {
  if (planned.choices.empty()) return {};
  const auto tensor = job.weights->read(planned.name, planned.reading);
  if (!tensor) return fail(tensor.error());
  std::optional<Tensor> reference;
  if (job.reference != nullptr) {
    auto other = job.reference->read(planned.name);
    if (!other) return fail(other.error().within("reference"));
    reference = *std::move(other);
    NIBBLE_TRY(checkWeights(*reference, context));
  }
  Context quiet = context;
  quiet.progress = nullptr;
  NIBBLE_TRY(checkWeights(*tensor, quiet));
  auto bound = boundOf(reference ? *job.reference : *job.weights, planned.name, reference ? *reference : *tensor, quiet);
  if (!bound) return fail(bound.error());
  const auto shared = std::make_shared<const MemorylessBound>(*std::move(bound));
  for (const PlannedChoice& choice : planned.choices) {
    if (context.stopRequested()) return cancelled();
    auto candidate = measure(planned, *tensor, reference ? &*reference : nullptr, choice, job, quiet);
    if (!candidate) return fail(candidate.error());
    candidate->bound = shared;
    found.push_back(*std::move(candidate));
    context.addDone(planned.size.count());
  }
  return {};
}

}  // namespace

Result<std::vector<ComparedCandidate>> compare(const CompareJob& job, const Context& context) {
  const auto mixes = mixesOf(job, context);
  if (!mixes) return fail(mixes.error());
  std::vector<PlannedTensor> plans;
  for (const std::string& name : job.tensors) {
    auto planned = plan(job, *mixes, name);
    if (!planned) return fail(planned.error());
    for (PlannedTensor& each : inEachReading(job, *std::move(planned))) {
      context.addTotal(each.size.count() * each.choices.size());
      plans.push_back(std::move(each));
    }
  }
  std::vector<ComparedCandidate> found;
  for (const PlannedTensor& planned : plans) NIBBLE_TRY(measureAll(planned, job, context, found));
  if (found.empty()) return fail("no candidate fits any of these tensors");
  return found;
}

std::map<std::string, std::vector<std::string>> mixesByChoice(const WeightList& weights, const std::string& tensor) {
  std::map<std::string, std::vector<std::string>> found;
  const auto tensors = mixTensorsOf(weights);
  for (const std::string_view name : mixNames()) {
    const auto mix = mixNamed(std::string(name), tensors, false);
    const MixAssignment* assigned = mix ? mix->of(tensor) : nullptr;
    const auto choice = assigned != nullptr ? Choice::parse(assigned->scheme) : fail("stays");
    if (choice) found[choice->text()].emplace_back(name);
  }
  return found;
}

Result<MemorylessBound> boundOf(const WeightList& weights, const std::string& name, const Tensor& tensor, const Context& context) {
  if (weights.packedLayer(name) == nullptr) return memorylessBound(tensor, context);
  MemorylessBound none;
  none.weights = tensor.size();
  none.refusal = "the weights are those of a packed layer, the few values its codes allow: they have no density to bound";
  return none;
}

}  // namespace nibble
