// SPDX-License-Identifier: GPL-3.0-or-later
// The round-trip proof of one written layer: every array of the file equals what was packed, byte for byte, and the format's
// independent decoder gives the values that are shown. Errors name the layer; a difference of values is a result, not an error.
#pragma once
#include "core/base/context.h"
#include "core/formats/format.h"

#include <filesystem>
#include <vector>

namespace nibble {

// Largest |difference| between the independent decoder and the shown values; 0 is the only good answer.
Result<double> proveLayer(const Format& format, const std::filesystem::path& file, const ExportLayer& layer,
                          const std::vector<RawTensor>& arrays, const Context& context);
// The copies equal their sources, and the file holds `arrayCount` arrays in all.
Status proveCopies(const std::filesystem::path& file, const std::vector<RawTensor>& copies, std::size_t arrayCount,
                   const Context& context);

}  // namespace nibble
