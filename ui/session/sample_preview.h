// SPDX-License-Identifier: GPL-3.0-or-later
// The bundled sample of real weights, and what the start page shows of it: one query matrix under hqq with 8, 4, 3 and 2 bits.
#pragma once
#include "core/base/result.h"
#include "core/base/context.h"
#include "core/report/histogram.h"

#include <QString>
#include <string>
#include <vector>

namespace nibble {

struct SamplePreview {
  struct Setting {
    int bits = 0;
    std::string choice;              // text form
    double bitsPerWeight = 0, sqnrDb = 0;
    std::vector<double> levels;      // of a group with a large scale
  };
  std::string tensor;
  std::uint64_t weights = 0, tensors = 0;  // of the matrix; of the file
  Histogram histogram;
  std::vector<Setting> settings;
};

// Beside the program, in its installed data, or in the source tree; empty: not found.
QString samplePath();
Result<SamplePreview> samplePreview(const std::string& path, const Context& context);

}  // namespace nibble
