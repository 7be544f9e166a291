// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/compare.h"

#include "core/base/text.h"

namespace nibble {
namespace {

struct PlannedTensor {
  std::string name;
  MatrixSize size;
  std::vector<const Choice*> choices;
  std::string reading;
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

Result<PlannedTensor> plan(const CompareJob& job, const std::string& name) {
  const auto shape = job.weights->shapeOf(name);
  if (!shape) return fail(shape.error());
  PlannedTensor planned{name, matrixSize(*shape), {}, {}};
  if (job.reference != nullptr) NIBBLE_TRY(checkReference(job, name, *shape));
  for (const Choice& choice : job.choices) {
    const auto reason = choice.refusal(planned.size);
    if (!reason) {
      planned.choices.push_back(&choice);
    } else if (job.skipRefused) {
      warn(job, name + ": " + choice.shortText() + " is left out: " + *reason);
    } else {
      return fail(name + ": " + choice.shortText() + ": " + *reason);
    }
  }
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
                                  const Choice& choice, const CompareJob& job, const Context& context) {
  ReportOptions options;
  options.histogramBins = job.histogramBins;
  options.inputWeights = knownMeanSquares(tensor, context);
  auto outcome = run(tensor, choice, context, options);
  if (!outcome) return fail(outcome.error());
  if (reference != nullptr) {
    auto report = errorReport(*reference, *outcome->quantized, options, context);
    if (!report) return fail(report.error());
    outcome->report = *std::move(report);
  }
  return ComparedCandidate{planned.name,
                           choice.text(),
                           planned.reading,
                           planned.size.count(),
                           storageSize(*outcome->quantized),
                           bitsPerWeight(*outcome->quantized),
                           std::move(outcome->report),
                           nullptr,
                           outcome->seconds,
                           outcome->quantized->notes};
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
  for (const Choice* choice : planned.choices) {
    if (context.stopRequested()) return cancelled();
    auto candidate = measure(planned, *tensor, reference ? &*reference : nullptr, *choice, job, quiet);
    if (!candidate) return fail(candidate.error());
    candidate->bound = shared;
    found.push_back(*std::move(candidate));
    context.addDone(planned.size.count());
  }
  return {};
}

}  // namespace

Result<std::vector<ComparedCandidate>> compare(const CompareJob& job, const Context& context) {
  std::vector<PlannedTensor> plans;
  for (const std::string& name : job.tensors) {
    auto planned = plan(job, name);
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

Result<MemorylessBound> boundOf(const WeightList& weights, const std::string& name, const Tensor& tensor, const Context& context) {
  if (weights.packedLayer(name) == nullptr) return memorylessBound(tensor, context);
  MemorylessBound none;
  none.weights = tensor.size();
  none.refusal = "the weights are those of a packed layer, the few values its codes allow: they have no density to bound";
  return none;
}

}  // namespace nibble
