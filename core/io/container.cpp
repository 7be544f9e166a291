// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/container.h"

#include <array>
#include <cctype>
#include <fstream>
#include <new>
#include <system_error>

namespace nibble {

extern const Container safetensorsContainer, ggufContainer, npyContainer, npzContainer;

namespace {

constexpr std::array<const Container*, 4> list{&safetensorsContainer, &ggufContainer, &npyContainer, &npzContainer};

Result<PathFacts> look(const std::filesystem::path& path) {
  PathFacts facts;
  facts.path = path;
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) return fail(path.string() + ": no such file or directory");
  if (error) return fail(path.string() + ": " + error.message());
  facts.directory = status.type() == std::filesystem::file_type::directory;
  if (facts.directory) return facts;
  if (status.type() != std::filesystem::file_type::regular) return fail(path.string() + ": is neither a file nor a directory");
  for (const char c : path.extension().string())
    facts.extension += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::ifstream stream(path, std::ios::binary);
  facts.head.resize(16);
  stream.read(facts.head.data(), 16);
  facts.head.resize(static_cast<std::size_t>(stream.gcount()));
  return facts;
}

Error unknownKind(const PathFacts& facts) {
  std::string names;
  for (const Container* container : list) names += (names.empty() ? "" : ", ") + std::string(container->name);
  std::string what = facts.directory ? "the directory holds no weights that can be read" : "is no container that can be read";
  if (facts.extension == ".bin" || facts.extension == ".pt" || facts.extension == ".pth" || facts.extension == ".ckpt")
    what = "a pickled file is never opened, because it may run code; save it as safetensors";
  return {ErrorKind::Input, facts.path.string() + ": " + what + " (known: " + names + ")"};
}

Result<std::shared_ptr<const Checkpoint>> openAny(const std::filesystem::path& path, const Context& context) {
  Result<PathFacts> facts = look(path);
  if (!facts) return fail(facts.error());
  for (const Container* container : list)
    if (container->byName(*facts)) return container->open(path, context);
  for (const Container* container : list)
    if (container->byContent(*facts)) return container->open(path, context);
  return fail(unknownKind(*facts));
}

}  // namespace

std::span<const Container* const> allContainers() {
  return list;
}

Result<std::shared_ptr<const Checkpoint>> Checkpoint::open(const std::filesystem::path& path, const Context& context) {
  try {
    return openAny(path, context);
  } catch (const std::bad_alloc&) {
    return fail(path.string() + ": not enough memory to open");
  } catch (const std::exception& error) {
    return fail(path.string() + ": " + error.what());
  }
}

std::string printable(std::string_view name) {
  constexpr std::size_t longest = 200;
  std::string line(name.substr(0, longest));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  if (name.size() > longest) line += "...";
  return "\"" + line + "\"";
}

}  // namespace nibble
