// SPDX-License-Identifier: GPL-3.0-or-later
// The group of weights that share a scale with one cell: its rectangle in the matrix, where it is one, and its name for a person.
#pragma once
#include "ui/plots/pooling.h"
#include "ui/session/matrix_source.h"
#include "ui/session/session_state.h"

#include <QString>
#include <optional>

namespace nibble {

// Nothing: the group is no rectangle of the matrix, or there is no group.
std::optional<MatrixRegion> groupFrame(const QuantizedTensor& quantized, const MatrixSource& place, const Cell& cell);
// "group [142, 64–127]", "row 142", "the whole tensor", "group 4711".
QString describeGroup(const QuantizedTensor& quantized, const MatrixSource& place, const Cell& cell);

}  // namespace nibble
