// SPDX-License-Identifier: GPL-3.0-or-later
// What a file container is to Checkpoint::open: a name, the question whether a path is one, and the way to open it.
// A new container is one file that defines its Container, and its word in the list in container.cpp.
#pragma once
#include "core/base/context.h"
#include "core/base/result.h"
#include "core/io/checkpoint.h"

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace nibble {

struct PathFacts {
  std::filesystem::path path;
  bool directory = false;
  std::string extension;  // in lower case, with its dot
  std::string head;       // the first bytes of a file, at most 16
};

struct Container {
  std::string_view name;
  // Whether the name alone says that it is one of ours: asked of all containers before any looks into the file.
  bool (*byName)(const PathFacts& facts);
  bool (*byContent)(const PathFacts& facts);
  Result<std::shared_ptr<const Checkpoint>> (*open)(const std::filesystem::path& path, const Context& context);
};

std::span<const Container* const> allContainers();

// A name as one line of an error message: control characters become '?', long names are cut.
std::string printable(std::string_view name);

}  // namespace nibble
