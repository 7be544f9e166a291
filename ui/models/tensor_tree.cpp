// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/models/tensor_tree.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace nibble {

TensorTree::TensorTree(std::vector<TensorItem> items) : m_items(std::move(items)) { build(); }

namespace {

// "layer.0.dense.weight" -> module "layer.0.dense", tensor "weight".
std::pair<std::string_view, std::string_view> splitLast(std::string_view name) {
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos) return {{}, name};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

struct Module {
  std::string_view path;
  int tensors = 0, modules = 0;
};

// Which modules there are, and how many tensors and modules each holds directly.
std::unordered_map<std::string_view, Module> modulesOf(const std::vector<TensorItem>& items) {
  std::unordered_map<std::string_view, Module> modules;
  for (const auto& item : items) {
    auto [path, last] = splitLast(item.name);
    if (path.empty()) continue;
    auto [place, added] = modules.try_emplace(path, Module{path, 0, 0});
    ++place->second.tensors;
    while (added) {
      auto [up, name] = splitLast(path);
      if (up.empty()) break;
      auto [above, fresh] = modules.try_emplace(up, Module{up, 0, 0});
      ++above->second.modules;
      path = up;
      added = fresh;
    }
  }
  return modules;
}

}  // namespace

void TensorTree::build() {
  const auto modules = modulesOf(m_items);
  std::unordered_map<std::string_view, int> nodeOfModule;
  m_nodes.push_back({});
  m_nodeOfItem.assign(m_items.size(), -1);
  const auto addNode = [this](std::string_view label, int parent, int item) {
    m_nodes.push_back({std::string(label), parent, item, 0, {}});
    m_nodes[parent].children.push_back(static_cast<int>(m_nodes.size()) - 1);
    return static_cast<int>(m_nodes.size()) - 1;
  };
  const auto moduleNode = [&](std::string_view path, const auto& self) -> int {
    if (path.empty()) return 0;
    if (const auto found = nodeOfModule.find(path); found != nodeOfModule.end()) return found->second;
    const auto [up, name] = splitLast(path);
    const int node = addNode(name, self(up, self), -1);
    nodeOfModule.emplace(path, node);
    return node;
  };
  for (std::size_t i = 0; i < m_items.size(); ++i) {
    const std::string_view name = m_items[i].name;
    auto [path, label] = splitLast(name);
    std::string_view parent = path;
    if (const auto module = modules.find(path); module != modules.end() && module->second.modules == 0) {
      const auto [up, moduleName] = splitLast(path);
      if (!up.empty() || module->second.tensors <= 2) {
        parent = up;
        label = name.substr(path.size() - moduleName.size());
        if (module->second.tensors == 1 && name.substr(path.size()) == ".weight") label = moduleName;
      }
    }
    const int node = addNode(label, moduleNode(parent, moduleNode), static_cast<int>(i));
    m_nodeOfItem[i] = node;
    for (int up = node; up >= 0; up = m_nodes[up].parent) m_nodes[up].sizeBytes += m_items[i].sizeBytes;
  }
  foldChains(0);
  dissolve();
}

// A module whose only child is a module takes that child's place and children.
void TensorTree::foldChains(int start) {
  std::vector<int> open = {start};
  while (!open.empty()) {
    const int node = open.back();
    open.pop_back();
    auto& children = m_nodes[node].children;
    while (node != 0 && children.size() == 1 && m_nodes[children[0]].item < 0) {
      auto& only = m_nodes[children[0]];
      m_nodes[node].label += "." + only.label;
      std::vector<int> grand = std::move(only.children);
      only.parent = -1;
      for (const int child : grand) m_nodes[child].parent = node;
      children = std::move(grand);
    }
    open.insert(open.end(), children.begin(), children.end());
  }
}

// A module below the top that holds only two or three modules of tensors gives way to them.
void TensorTree::dissolve() {
  const auto onlyTensors = [this](int node) {
    return m_nodes[node].item < 0 && std::all_of(m_nodes[node].children.begin(), m_nodes[node].children.end(),
                                                 [this](int child) { return m_nodes[child].item >= 0; });
  };
  for (auto& parent : m_nodes) {
    std::vector<int> children;
    for (const int child : parent.children) {
      const auto& inner = m_nodes[child].children;
      const bool gives = &parent != &m_nodes[0] && m_nodes[child].item < 0 && inner.size() >= 2 && inner.size() <= 3 &&
                         std::all_of(inner.begin(), inner.end(), onlyTensors);
      if (!gives) {
        children.push_back(child);
        continue;
      }
      for (const int grandchild : inner) {
        m_nodes[grandchild].label = m_nodes[child].label + "." + m_nodes[grandchild].label;
        m_nodes[grandchild].parent = static_cast<int>(&parent - m_nodes.data());
        children.push_back(grandchild);
      }
      m_nodes[child].children.clear();
    }
    parent.children = std::move(children);
  }
}

int TensorTree::nodeOf(const std::string& tensor) const {
  for (std::size_t i = 0; i < m_items.size(); ++i)
    if (m_items[i].name == tensor) return m_nodeOfItem[i];
  return -1;
}

}  // namespace nibble
