// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/exploration.h"

#include "core/base/text.h"
#include "core/export/convert.h"
#include "core/report/code_entropy.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr int errorBins = 120;
constexpr std::uint64_t rowsTogether = 16;

// Every `every`th block of rows, as a tensor of its own.
Result<Tensor> sampleRows(const Tensor& tensor, unsigned every, const Context& context) {
  const std::uint64_t block = std::min<std::uint64_t>(rowsTogether, std::max<std::uint64_t>(1, tensor.rows() / every));
  std::vector<float> values;
  std::uint64_t rows = 0;
  for (std::uint64_t row = 0; row < tensor.rows(); row += block * every) {
    if (context.stopRequested()) return cancelled();
    const std::uint64_t count = std::min(block, tensor.rows() - row);
    const std::size_t begin = values.size();
    values.resize(begin + count * tensor.columns());
    NIBBLE_TRY(tensor.read(row * tensor.columns(), std::span(values).subspan(begin)));
    rows += count;
  }
  return Tensor::fromFloats(tensor.name(), {rows, tensor.columns()}, std::move(values));
}

// Whether a packed layer can be said in the format's way, where not as it is. Large ones are left to the pre-flight.
bool converts(const Format& format, const Exploration& exploration, const Context& context) {
  if (exploration.quantized->weightCount() > sampleAbove) return true;
  return convertFor(format, exploration.quantized, context).has_value();
}

Status askFormats(Exploration& exploration, const Context& context) {
  for (const Format* format : allFormats()) {
    if (context.stopRequested()) return Status(cancelled());
    FormatOffer offer{format, format->refusal(*exploration.quantized).value_or(""), nullptr};
    if (offer.refusal.empty()) offer.layout = format->layout(*exploration.quantized);
    else if (exploration.isStored() && converts(*format, exploration, context)) offer.refusal.clear();
    exploration.formats.push_back(std::move(offer));
  }
  return {};
}

Status fill(Exploration& exploration, const Tensor& tensor, const Choice& choice, bool exact, const Context& context) {
  ReportOptions options;
  options.percentile = exact;
  auto outcome = run(tensor, choice, context, options);
  if (!outcome) return fail(outcome.error());
  exploration.report = std::move(outcome->report);
  exploration.seconds = outcome->seconds;
  exploration.size = storageSize(*outcome->quantized);
  exploration.bitsPerWeight = bitsPerWeight(*outcome->quantized);
  auto steps = stepErrors(tensor, *outcome->quantized, exploration.report.maxError(), errorBins, context);
  if (!steps) return fail(steps.error());
  exploration.steps = std::move(*steps);
  if (!exact) return {};
  exploration.quantized = outcome->quantized;
  return askFormats(exploration, context);
}

// The family of the scheme that the layer's format or its description is named after, else of schemes of its structure.
Family familyOf(const DetectedLayer& layer, const QuantizedTensor& quantized) {
  std::vector<std::string> words = text::split(layer.layer.description, ' ');
  words.emplace_back(layer.format->info().id);
  for (const std::string& word : words)
    if (const Scheme* scheme = findScheme(word)) return scheme->info().family;
  if (!quantized.width.bits.empty()) return Family::Exl2;
  return quantized.levels.kind == Levels::Kind::Float   ? Family::Micro
         : quantized.levels.kind == Levels::Kind::Table ? Family::Codebook
                                                        : Family::Uniform;
}

Status fillStored(Exploration& exploration, const OpenedFile& file, const Context& context) {
  const WeightItem* item = file.weights->find(exploration.facts->tensor.name());
  if (item == nullptr || !item->packed) return fail(exploration.facts->tensor.name() + ": is not a packed layer");
  const DetectedLayer& layer = file.weights->packedLayers()[*item->packed];
  exploration.stored = layer.layer.description;
  auto packed = file.weights->readPacked(*item, exploration.facts->reading);
  if (!packed) return fail(packed.error());
  exploration.quantized = std::make_shared<const QuantizedTensor>(*std::move(packed));
  exploration.family = familyOf(layer, *exploration.quantized);
  CodeCounts codes = countCodes(*exploration.quantized, context);
  exploration.report.sums.count = exploration.facts->tensor.size();
  exploration.report.codeEntropy = codes.bitsPerWeight;
  exploration.report.occupancy = std::move(codes.occupancy);
  exploration.size = storageSize(*exploration.quantized);
  exploration.bitsPerWeight = item->bitsPerWeight();
  return askFormats(exploration, context);
}

}  // namespace

Result<std::shared_ptr<const Exploration>> explore(std::shared_ptr<const TensorFacts> facts, const Choice& choice, unsigned every,
                                                   const Context& context) {
  auto exploration = std::make_shared<Exploration>();
  exploration->choice = choice;
  exploration->family = choice.scheme().info().family;
  exploration->facts = facts;
  exploration->sampledEvery = every;
  Status status;
  if (every > 1) {
    const auto sample = sampleRows(facts->tensor, every, context);
    status = sample ? fill(*exploration, *sample, choice, false, context) : Status(fail(sample.error()));
  } else {
    status = fill(*exploration, facts->tensor, choice, true, context);
  }
  if (!status && status.error().kind == ErrorKind::Cancelled) return cancelled();
  if (!status) exploration->problem = status.error().message;
  return exploration;
}

Result<std::shared_ptr<const Exploration>> exploreStored(std::shared_ptr<const TensorFacts> facts, const OpenedFile& file,
                                                         const Context& context) {
  auto exploration = std::make_shared<Exploration>();
  exploration->facts = std::move(facts);
  const Status status = fillStored(*exploration, file, context);
  if (!status && status.error().kind == ErrorKind::Cancelled) return cancelled();
  if (!status) exploration->problem = status.error().message;
  return exploration;
}

}  // namespace nibble
