// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/scheme.h"

#include <algorithm>

namespace nibble {

std::string_view name(Family family) {
  switch (family) {
    case Family::Uniform: return "uniform";
    case Family::Hqq: return "hqq";
    case Family::Codebook: return "codebook";
    case Family::Gguf: return "gguf";
    case Family::Micro: return "micro";
    case Family::Gptq: return "gptq";
    case Family::Exl2: return "exl2";
    case Family::Learned: return "learned";
  }
  return {};
}

std::string_view name(Needs needs) {
  switch (needs) {
    case Needs::Nothing: return "nothing";
    case Needs::ImportanceWeights: return "importance-weights";
    case Needs::Samples: return "samples";
  }
  return {};
}

std::string_view name(Promise promise) {
  switch (promise) {
    case Promise::Deterministic: return "deterministic";
    case Promise::ZeroStaysZero: return "zero-stays-zero";
    case Promise::NearestLevel: return "nearest-level";
    case Promise::Idempotent: return "idempotent";
    case Promise::ScaleEquivariant: return "scale-equivariant";
  }
  return {};
}

std::string_view definition(Promise promise) {
  switch (promise) {
    case Promise::Deterministic: return "the same codes and parameters on every run, backend and number of threads";
    case Promise::ZeroStaysZero: return "a weight of exactly 0 decodes to exactly 0";
    case Promise::NearestLevel: return "every code is the nearest of its group's levels";
    case Promise::Idempotent: return "quantizing the decoded weights again decodes to the same values";
    case Promise::ScaleEquivariant: return "weights times a power of two decode to the decoded weights times that power, where none of them is denormal";
  }
  return {};
}

const Scheme* findScheme(std::string_view id) {
  const auto schemes = allSchemes();
  const auto found = std::find_if(schemes.begin(), schemes.end(), [&](const Scheme* scheme) { return scheme->info().id == id; });
  return found == schemes.end() ? nullptr : *found;
}

}  // namespace nibble
