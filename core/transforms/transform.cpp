// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/transforms/transform.h"

#include <algorithm>

namespace nibble {

const Transform* findTransform(std::string_view id) {
  const auto all = allTransforms();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Transform* transform) { return transform->info().id == id; });
  return found == all.end() ? nullptr : *found;
}

}  // namespace nibble
