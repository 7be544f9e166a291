// SPDX-License-Identifier: GPL-3.0-or-later
// Everything a person can change, as one copyable, comparable value. Undo and redo exchange whole states, so nothing can be
// forgotten; results are not in it, they follow from it.
#pragma once
#include "core/run/choice.h"
#include "ui/session/opened_file.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble {

enum class Page : std::uint8_t { Explore, Compare, Train, Export };

struct Cell {
  std::uint64_t row = 0, column = 0;
  bool operator==(const Cell&) const = default;
};

// Parameters dragged in the microscope, for the group of the selected cell only.
struct WhatIf {
  double scale = 0, zero = 0;
  bool operator==(const WhatIf&) const = default;
};

struct Candidate {
  Choice choice;
  bool ticked = false;
  bool operator==(const Candidate&) const = default;
};

struct ExportSettings {
  std::string format, runtime, out;
  bool selectionOnly = false;  // the selected tensors instead of everything worth quantizing
  bool copyRest = true;        // what is not quantized goes along as it is
  bool operator==(const ExportSettings&) const = default;
};

struct SessionState {
  std::shared_ptr<const OpenedFile> file;  // null: nothing open
  std::string tensor;                      // the current one; empty: none
  std::vector<std::string> selection;      // all selected ones, in file order
  std::optional<Cell> cell;                // none: the largest weight
  std::optional<WhatIf> whatIf;
  std::optional<Choice> choice;            // none only when the program knows no scheme
  bool asStored = true;                    // packed layers are shown as their file has them, not quantized anew by `choice`
  std::vector<Candidate> candidates;
  std::size_t baseline = 0;                // index into candidates
  Page page = Page::Explore;
  ExportSettings exporting;
  std::string backend = "auto";
  std::map<std::string, std::string> view; // options of the views by their own names

  bool operator==(const SessionState&) const = default;
  [[nodiscard]] std::string viewOption(const std::string& key, const std::string& fallback) const {
    const auto found = view.find(key);
    return found == view.end() ? fallback : found->second;
  }
  // The current tensor's packed layer while it is shown as stored; null: `choice` is what is shown.
  [[nodiscard]] const WeightItem* storedLayer() const { return asStored ? packedLayer() : nullptr; }
  [[nodiscard]] const WeightItem* packedLayer() const {
    const WeightItem* item = file ? file->weights->find(tensor) : nullptr;
    return item != nullptr && item->packed ? item : nullptr;
  }
  // How the current packed layer is read where the file allows two ways ("v2" zero points of GPTQ); empty: as its format takes it.
  [[nodiscard]] std::string reading() const {
    const WeightItem* item = packedLayer();
    if (item == nullptr) return {};
    const auto& known = file->weights->packedLayers()[*item->packed].layer.readings;
    const std::string wanted = viewOption("stored.reading", "");
    return std::find(known.begin(), known.end(), wanted) == known.end() || wanted == known.front() ? std::string() : wanted;
  }
  void choose(const Choice& wanted) {
    choice = wanted;
    asStored = false;
    whatIf.reset();
  }
  // Compare ranks two files tensor by tensor instead of schemes on one tensor.
  [[nodiscard]] bool comparesFiles() const { return viewOption("compare.mode", "schemes") == "files"; }
  // Compare shows the layer with its inputs.
  [[nodiscard]] bool comparesActivations() const { return viewOption("compare.mode", "schemes") == "activations"; }
  [[nodiscard]] bool isCandidate(const Choice& wanted) const {
    for (const auto& candidate : candidates)
      if (candidate.choice == wanted) return true;
    return false;
  }
};


}  // namespace nibble
