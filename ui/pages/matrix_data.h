// SPDX-License-Identifier: GPL-3.0-or-later
// What the heat map needs to know about the quantity it shows: colour scale, its range, decimals, and the line under the pointer.
#pragma once
#include "ui/plots/matrix_plot.h"
#include "ui/session/exploration.h"

namespace nibble {

std::string quantityName(Quantity quantity);  // "value", "error", "scale", "code", "zero"
Quantity quantityFrom(const std::string& name);
MatrixPlotData matrixData(const MatrixSource& source, Quantity quantity, const Exploration& exploration);
QString cellText(const MatrixSource& source, std::uint64_t row, std::uint64_t column);

}  // namespace nibble
