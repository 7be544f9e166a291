// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/layers/module_tree.h"

#include "core/base/text.h"
#include "core/io/mapped_file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace nibble {
namespace {

using Json = nlohmann::json;

constexpr int deepest = 500;

class Walk {
 public:
  Status visit(const Json& node, const std::string& name, const std::string& place, int depth) {
    if (depth > deepest) return fail(place + ": more than " + text::number(std::int64_t{deepest}) + " levels deep");
    if (!node.is_object()) return fail(place + ": a module is an object with name, type and children");
    const auto type = node.find("type");
    if (type == node.end() || !type->is_string() || type->get_ref<const std::string&>().empty())
      return fail(place + ": the module has no type");
    m_modules.push_back({name, *type});
    const auto children = node.find("children");
    if (children == node.end() || children->is_null()) return {};
    if (!children->is_array()) return fail(place + ".children: not a list");
    std::set<std::string> seen;
    for (std::size_t i = 0; i < children->size(); ++i) {
      const Json& child = (*children)[i];
      const std::string childPlace = place + ".children[" + text::number(std::uint64_t{i}) + "]";
      auto full = nameOf(child, name, childPlace);
      if (!full) return fail(full.error());
      if (!seen.insert(*full).second) return fail(childPlace + ": a second module named " + *full);
      NIBBLE_TRY(visit(child, *full, childPlace, depth + 1));
    }
    return {};
  }
  std::vector<Module> take() { return std::move(m_modules); }

 private:
  static Result<std::string> nameOf(const Json& node, const std::string& parent, const std::string& place) {
    if (!node.is_object()) return fail(place + ": a module is an object with name, type and children");
    const auto name = node.find("name");
    if (name == node.end() || !name->is_string() || name->get_ref<const std::string&>().empty())
      return fail(place + ": the module has no name");
    const std::string& text = name->get_ref<const std::string&>();
    const std::string prefix = parent.empty() ? std::string() : parent + ".";
    const bool full = !prefix.empty() && text.size() > prefix.size() && text.starts_with(prefix);
    const std::string own = full ? text.substr(prefix.size()) : text;
    if (own.find('.') != std::string::npos) return fail(place + ": '" + text + "' has a dot; names inside a module have none");
    return prefix + own;
  }

  std::vector<Module> m_modules;
};

}  // namespace

Result<std::vector<Module>> parseModuleTree(std::string_view json) {
  Json tree;
  try {
    tree = Json::parse(json);
  } catch (const Json::exception& error) {
    return fail(std::string("no JSON: ") + error.what());
  }
  Walk walk;
  if (auto status = walk.visit(tree, "", "root", 0); !status) return fail(status.error());
  return walk.take();
}

Result<std::vector<Module>> readModuleTree(const std::filesystem::path& file) {
  const auto map = MappedFile::open(file);
  if (!map) return fail(map.error());
  const auto bytes = (*map)->bytes();
  auto modules = parseModuleTree({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (auto status = (*map)->intact(); !status) return fail(status.error());
  if (!modules) return fail(modules.error().within(file.string()));
  return modules;
}

bool isSkipped(const Module& module, const std::string& skip) {
  if (skip.empty()) return module.name.empty();
  return module.name == skip || module.name.starts_with(skip + ".") || module.name.ends_with("." + skip);
}

std::vector<std::size_t> modulesOfType(const std::vector<Module>& modules, std::string_view type,
                                       const std::vector<std::string>& skip) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const auto skipped = [&](const std::string& name) { return isSkipped(modules[i], name); };
    if (modules[i].type == type && std::none_of(skip.begin(), skip.end(), skipped)) places.push_back(i);
  }
  return places;
}

}  // namespace nibble
