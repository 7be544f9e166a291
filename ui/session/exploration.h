// SPDX-License-Identifier: GPL-3.0-or-later
// What the Explore page and the scheme dock show, computed off the GUI thread: facts of one tensor, and what one choice makes of it.
// Above `sampleAbove` weights a first answer comes from every 16th block of rows; it is always marked as sampled.
#pragma once
#include "core/formats/format.h"
#include "core/quant/layout.h"
#include "core/report/statistics.h"
#include "core/report/step_error.h"
#include "core/run/run.h"
#include "ui/session/matrix_source.h"
#include "ui/session/session_state.h"

#include <memory>
#include <string>

namespace nibble {

// Facts of the weights themselves. Weights that are not finite are left out.
struct TensorFacts {
  Tensor tensor;
  std::string reading;       // of a packed layer that can be read in two ways; empty: as its format takes it
  TensorStatistics statistics;
  std::vector<RowSpread> rows;
  Histogram weights;
  Cell largest;              // place of the largest |w|, the first of equals
};

// Whether a format can hold a quantized tensor. Asking looks at every parameter, so it is done off the GUI thread.
struct FormatOffer {
  const Format* format = nullptr;
  std::string refusal;                   // empty: it can
  std::shared_ptr<const Layout> layout;  // of the codes in it; null: refused, or the format has none
};

struct Exploration {
  std::shared_ptr<const TensorFacts> facts;   // null: the tensor could not be read
  std::optional<Choice> choice;               // none: a packed layer as it is stored
  std::string stored;                         // then: what the file says of it, "gptq 4 bit group 32"
  Family family = Family::Uniform;            // colour and mark
  std::shared_ptr<const QuantizedTensor> quantized;  // null in a sampled answer and where there is a problem
  ErrorReport report;
  StepErrors steps;
  std::vector<FormatOffer> formats;  // of `quantized`, all there are
  StorageSize size;
  double bitsPerWeight = 0;
  double seconds = 0;
  unsigned sampledEvery = 1;  // 1: exact
  std::string problem;        // why there is no answer: a refused choice, a weight that is not finite

  [[nodiscard]] bool ok() const { return problem.empty() && facts != nullptr; }
  // Nothing is known of the weights before a packed layer was made: there are no errors to show.
  [[nodiscard]] bool isStored() const { return !choice; }
  [[nodiscard]] bool exact() const { return sampledEvery == 1; }
};

inline constexpr std::uint64_t sampleAbove = std::uint64_t{1} << 22;
inline constexpr unsigned sampleEvery = 16;

Result<std::shared_ptr<const TensorFacts>> readFacts(const OpenedFile& file, const std::string& tensor, const std::string& reading,
                                                     const Context& context);
// `every` > 1: of a sample of the rows. Errors other than cancellation become `problem`.
Result<std::shared_ptr<const Exploration>> explore(std::shared_ptr<const TensorFacts> facts, const Choice& choice, unsigned every,
                                                   const Context& context);

// A packed layer as its file has it: true levels, parameters and layout, nothing quantized anew.
Result<std::shared_ptr<const Exploration>> exploreStored(std::shared_ptr<const TensorFacts> facts, const OpenedFile& file,
                                                         const Context& context);

}  // namespace nibble
