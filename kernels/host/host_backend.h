// SPDX-License-Identifier: GPL-3.0-or-later
// The reference backend: one literal loop per method over kernels/math, one thread. Everything else is compared with it.
#pragma once
#include "kernels/backend.h"

namespace nibble::kernels {

const Backend& hostBackend();

}  // namespace nibble::kernels
