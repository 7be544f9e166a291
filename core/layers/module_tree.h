// SPDX-License-Identifier: GPL-3.0-or-later
// A model's modules as a tree in JSON, and the replacement of layers by type:
//   {"type": "MyNet", "children": [{"name": "fc1", "type": "Linear"}, {"name": "seq", "type": "Sequential", "children": [...]}]}
// Names are as PyTorch's named_modules gives them: the root's is empty, others are joined by dots ("seq.0"), depth first. A
// child may also carry its full name. Only modules whose type *is* the named one are replaced; a class of one's own that does
// the same is another type. Source: spec uniform 1.5.
#pragma once
#include "core/base/result.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace nibble {

struct Module {
  std::string name;  // full, dotted; empty: the root
  std::string type;
};

// Errors say where in the tree: no type, no name, a name twice, an unknown key's type, text that is no JSON.
Result<std::vector<Module>> parseModuleTree(std::string_view json);
Result<std::vector<Module>> readModuleTree(const std::filesystem::path& file);

// Places of the modules to replace. A skipped name is a full one, the last part of one ("lm_head"), or a module with all in it.
std::vector<std::size_t> modulesOfType(const std::vector<Module>& modules, std::string_view type, const std::vector<std::string>& skip);
bool isSkipped(const Module& module, const std::string& skip);

}  // namespace nibble
