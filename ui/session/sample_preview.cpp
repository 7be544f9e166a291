// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/sample_preview.h"

#include "core/quant/decode.h"
#include "core/quant/layout.h"
#include "ui/session/exploration.h"
#include "ui/session/presets.h"

#include <QCoreApplication>
#include <QFileInfo>
#include <algorithm>
#include <numeric>

namespace nibble {

namespace {

constexpr const char* sampleName = "sample/minilm-sample.safetensors";
constexpr const char* preferred = "attention.self.query.weight";

// A weight of a group with a large scale, as 19 of 20 groups stay below: its levels reach over nearly all weights.
std::uint64_t largeGroup(const QuantizedTensor& quantized) {
  if (!quantized.scale) return 0;
  const auto& values = quantized.scale->values;
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(order.size() * 19 / 20);
  std::nth_element(order.begin(), middle, order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return quantized.scale->grouping.members(*middle).front();
}

}  // namespace

QString samplePath() {
  const QString program = QCoreApplication::applicationDirPath();
  for (const QString& root : {program + "/../share/nibblescope", program + "/resources", QStringLiteral(NIBBLESCOPE_RESOURCES)})
    if (QFileInfo::exists(root + "/" + sampleName)) return QFileInfo(root + "/" + sampleName).canonicalFilePath();
  return {};
}

Result<SamplePreview> samplePreview(const std::string& path, const Context& context) {
  auto file = openFile(path, context);
  if (!file) return fail(file.error());
  SamplePreview preview;
  preview.tensor = (*file)->firstWorthwhile();
  for (const auto& item : (*file)->tree->items())
    if (item.name.ends_with(preferred)) preview.tensor = item.name;
  auto facts = readFacts(**file, preview.tensor, {}, context);
  if (!facts) return fail(facts.error());
  preview.tensors = (*file)->tree->items().size();
  preview.weights = (*facts)->tensor.size();
  preview.histogram = (*facts)->weights;
  for (const int bits : {8, 4, 3, 2}) {
    const auto choice = previewChoice(bits);
    if (!choice) return fail(choice.error());
    ReportOptions options;
    options.percentile = false;
    auto outcome = run((*facts)->tensor, *choice, context, options);
    if (!outcome) return fail(outcome.error());
    SamplePreview::Setting setting{bits, choice->text(), bitsPerWeight(*outcome->quantized), outcome->report.sqnrDb(), {}};
    for (const float level : levelsAt(*outcome->quantized, largeGroup(*outcome->quantized))) setting.levels.push_back(static_cast<double>(level));
    preview.settings.push_back(std::move(setting));
  }
  return preview;
}

}  // namespace nibble
