// SPDX-License-Identifier: GPL-3.0-or-later
// The tensors of a checkpoint by module path, as plain values built off the GUI thread: "encoder.layer.0" > "attention.self" >
// "query.weight". Modules with a single module in them share one line; a module that holds only tensors is joined with them
// ("query.weight"), and drops ".weight" where that is all it holds; a module of two or three such modules gives its name to them
// ("attention.self", "attention.output"). Immutable and shared.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace nibble {

// What a finding says about a tensor, worst last.
enum class TreeMark : std::uint8_t { None, Note, Warning };

struct TensorItem {
  std::string name;
  std::string type;       // "BF16", or what a packed layer is: "hqq 4 bit"
  std::vector<std::uint64_t> shape;
  std::uint64_t sizeBytes = 0;
  TreeMark mark = TreeMark::None;
  std::string markText;    // why it is marked
  bool worthQuantizing = false;
};

struct TensorNode {
  std::string label;
  int parent = -1;
  int item = -1;               // index of the tensor; -1: a module
  std::uint64_t sizeBytes = 0; // of all tensors below
  std::vector<int> children;   // nodes, in file order
};

class TensorTree {
 public:
  explicit TensorTree(std::vector<TensorItem> items);
  [[nodiscard]] const std::vector<TensorItem>& items() const { return m_items; }
  [[nodiscard]] const std::vector<TensorNode>& nodes() const { return m_nodes; }  // [0] is the invisible root
  [[nodiscard]] int nodeOf(const std::string& tensor) const;                      // -1: none

 private:
  void build();
  void foldChains(int node);
  void dissolve();
  std::vector<TensorItem> m_items;
  std::vector<TensorNode> m_nodes;
  std::vector<int> m_nodeOfItem;
};

}  // namespace nibble
