// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/activation_files.h"

#include "core/base/text.h"
#include "core/io/imatrix.h"
#include "core/io/mapped_file.h"
#include "core/io/tensor_names.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>

namespace nibble {
namespace {

enum class Kind { InputWeights, Inputs, Gram };

std::string_view nameOf(Kind kind) {
  return kind == Kind::InputWeights ? "input weights" : kind == Kind::Inputs ? "inputs" : "Gram matrix";
}

// A tensor that something is to be known of.
struct Wanted {
  std::string name;
  std::uint64_t columns = 0;
};

// NAME[e] of a stack of experts.
struct StackName {
  std::string stack;
  std::optional<std::uint64_t> expert;
};
StackName splitStack(const std::string& name) {
  const std::size_t open = name.rfind('[');
  if (open == std::string::npos || !name.ends_with(']')) return {name, std::nullopt};
  const auto expert = text::parseUnsigned(std::string_view(name).substr(open + 1, name.size() - open - 2));
  return expert ? StackName{name.substr(0, open), expert} : StackName{name, std::nullopt};
}

// One spelling for both worlds: llama.cpp's where there is one.
LlamaCppName canonical(const std::string& name) {
  const StackName parts = splitStack(name);
  if (auto known = llamaCppName(parts.stack)) {
    if (!known->expert) known->expert = parts.expert;
    return *known;
  }
  return {parts.stack, parts.expert};
}

bool isEmbedding(const std::string& name) { return canonical(name).name == "token_embd.weight"; }

class Reading {
 public:
  Reading(Kind kind, const std::filesystem::path& path, const std::vector<Wanted>& wanted, ActivationData& data,
          const std::function<void(const std::string&)>& warn)
      : m_kind(kind), m_path(path), m_wanted(wanted), m_data(data), m_warn(warn) {}
  Status read() {
    if (m_kind == Kind::InputWeights && looksLikeDat()) return readDat();
    auto file = Checkpoint::open(m_path);
    if (!file) return fail(file.error());
    if (m_kind == Kind::InputWeights && (*file)->format() == "gguf") {
      auto matrix = readImatrix(**file);
      return matrix ? addImatrix(*matrix) : Status(fail(matrix.error().within(m_path.string())));
    }
    return (*file)->format() == "npy" ? addUnkeyed(**file) : addKeyed(**file);
  }

 private:
  // The old form has no magic: the name says it, unless the file says otherwise.
  [[nodiscard]] bool looksLikeDat() const {
    const std::string ending = m_path.extension().string();
    if (ending != ".dat" && ending != ".imatrix") return false;
    const auto file = MappedFile::open(m_path);
    return !file || (*file)->bytes().size() < 4 || std::memcmp((*file)->bytes().data(), "GGUF", 4) != 0;
  }
  Status readDat() {
    const auto file = MappedFile::open(m_path);
    if (!file) return fail(file.error());
    const auto matrix = readImatrix((*file)->bytes());
    NIBBLE_TRY((*file)->intact());
    return matrix ? addImatrix(*matrix) : Status(fail(matrix.error().within(m_path.string())));
  }
  Status addImatrix(const Imatrix& matrix);
  Status addUnkeyed(const Checkpoint& file);
  Status addKeyed(const Checkpoint& file);
  Status add(const std::string& name, const Tensor& array, const std::string& arrayName);
  [[nodiscard]] Result<LayerInputs> inputsOf(const Tensor& array) const;
  void warn(const std::string& line) const {
    if (m_warn) m_warn(line);
  }
  void warnUnknown(const Wanted& wanted) const {
    const std::string_view left = m_kind == Kind::InputWeights ? ", weightedMse is left out" : "";
    warn(wanted.name + ": no " + std::string(nameOf(m_kind)) + " under this name in " + m_path.string() + std::string(left));
  }
  [[nodiscard]] Error wrongWidth(std::uint64_t values, const Wanted& wanted) const {
    return {ErrorKind::Input, m_path.string() + ": " + text::number(values) + " " + std::string(nameOf(m_kind)) + " for " + wanted.name +
                                  ", which has " + text::number(wanted.columns) + " columns"};
  }

  Kind m_kind;
  const std::filesystem::path& m_path;
  const std::vector<Wanted>& m_wanted;
  ActivationData& m_data;
  const std::function<void(const std::string&)>& m_warn;
};

// Entries of stacks hold a slice per expert.
Status Reading::addImatrix(const Imatrix& matrix) {
  std::map<std::string, const std::vector<float>*, std::less<>> entries;
  for (const auto& [name, values] : matrix) entries.emplace(canonical(name).name, &values);
  for (const Wanted& wanted : m_wanted) {
    const LlamaCppName name = canonical(wanted.name);
    const auto found = entries.find(name.name);
    if (found == entries.end()) {
      warnUnknown(wanted);
      continue;
    }
    const std::vector<float>& values = *found->second;
    const std::uint64_t begin = name.expert.value_or(0) * wanted.columns;
    const bool fits = name.expert ? values.size() % wanted.columns == 0 && begin < values.size() : values.size() == wanted.columns;
    if (!fits && isEmbedding(wanted.name)) {
      warn(wanted.name + ": its " + std::string(nameOf(m_kind)) + " do not fit its columns and are ignored");
      continue;
    }
    if (!fits) return fail(wrongWidth(values.size(), wanted));
    LayerInputs inputs;
    inputs.channels = wanted.columns;
    const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
    inputs.meanSquares.assign(first, first + static_cast<std::ptrdiff_t>(wanted.columns));
    NIBBLE_TRY(m_data.add(wanted.name, std::move(inputs)));
  }
  return {};
}

Result<std::vector<double>> readDoubles(const Tensor& array) {
  if (array.type() == DType::F64) {
    std::vector<double> values(array.size());
    if (!values.empty()) std::memcpy(values.data(), array.bytes().data(), array.bytes().size());
    NIBBLE_TRY(array.intact());
    return values;
  }
  const auto values = array.readAll();
  if (!values) return fail(values.error());
  return std::vector<double>(values->begin(), values->end());
}

Result<LayerInputs> Reading::inputsOf(const Tensor& array) const {
  LayerInputs inputs;
  if (m_kind == Kind::Gram) {
    if (array.shape().size() != 2 || array.rows() != array.columns())
      return fail("a Gram matrix is square [in, in]; this is " + toText(array.shape()));
    auto values = readDoubles(array);
    if (!values) return fail(values.error());
    inputs.gram = *std::move(values);
    inputs.channels = array.columns();
    return inputs;
  }
  auto values = array.readAll();
  if (!values) return fail(values.error());
  if (m_kind == Kind::InputWeights) {
    inputs.channels = array.size();
    inputs.meanSquares = *std::move(values);
  } else {
    if (array.size() == 0) return fail("no samples: " + toText(array.shape()));
    inputs.channels = array.columns();
    inputs.tokens = array.rows();
    inputs.samples = *std::move(values);
  }
  return inputs;
}

Status Reading::add(const std::string& name, const Tensor& array, const std::string& arrayName) {
  const std::string place = m_path.string() + (arrayName.empty() ? "" : ": " + arrayName);
  if (!info(array.type()).floating) return fail(place + ": " + std::string(info(array.type()).name) + " is not a floating-point type");
  auto inputs = inputsOf(array);
  if (!inputs) return fail(inputs.error().within(place));
  if (auto status = m_data.add(name, *std::move(inputs)); !status) return fail(status.error().within(m_path.string()));
  return {};
}

Status Reading::addUnkeyed(const Checkpoint& file) {
  const auto array = file.read(std::size_t{0});
  if (!array) return fail(array.error());
  const std::uint64_t channels = m_kind == Kind::InputWeights ? array->size() : array->columns();
  const auto fits = [channels](const Wanted& wanted) { return wanted.columns == channels; };
  if (!m_wanted.empty() && std::none_of(m_wanted.begin(), m_wanted.end(), fits)) return fail(wrongWidth(channels, m_wanted.front()));
  NIBBLE_TRY(add({}, *array, {}));
  for (const Wanted& wanted : m_wanted)
    if (!fits(wanted)) warn(wrongWidth(channels, wanted).message);
  return {};
}

Status Reading::addKeyed(const Checkpoint& file) {
  std::map<std::string, std::size_t, std::less<>> exact;
  std::map<std::pair<std::string, std::optional<std::uint64_t>>, std::size_t> byMeaning;
  for (std::size_t i = 0; i < file.entries().size(); ++i) {
    const std::string& name = file.entries()[i].name;
    const LlamaCppName meaning = canonical(name);
    exact.emplace(name, i);
    byMeaning.emplace(std::pair(meaning.name, meaning.expert), i);
  }
  for (const Wanted& wanted : m_wanted) {
    const LlamaCppName meaning = canonical(wanted.name);
    const auto own = exact.find(wanted.name);
    const auto same = byMeaning.find(std::pair(meaning.name, meaning.expert));
    if (own == exact.end() && same == byMeaning.end()) {
      warnUnknown(wanted);
      continue;
    }
    const std::size_t index = own != exact.end() ? own->second : same->second;
    const auto array = file.read(index);
    if (!array) return fail(array.error());
    const std::uint64_t channels = m_kind == Kind::InputWeights ? array->size() : array->columns();
    if (channels != wanted.columns) return fail(wrongWidth(channels, wanted));
    NIBBLE_TRY(add(wanted.name, *array, file.entries()[index].name));
  }
  return {};
}

}  // namespace

Result<ActivationData> readActivations(const ActivationFiles& files, const WeightList& weights,
                                       const std::vector<std::string>& names,
                                       const std::function<void(const std::string&)>& warn) try {
  std::vector<Wanted> wanted;
  for (const std::string& name : names) {
    const auto shape = weights.shapeOf(name);
    if (!shape) return fail(shape.error());
    wanted.push_back({name, shape->empty() ? 1 : shape->back()});
  }
  ActivationData data;
  // Mean squares that were given win over those that follow from samples.
  const std::pair<Kind, const std::filesystem::path*> all[] = {
      {Kind::Gram, &files.gram}, {Kind::Inputs, &files.inputs}, {Kind::InputWeights, &files.inputWeights}};
  for (const auto& [kind, path] : all)
    if (!path->empty()) NIBBLE_TRY(Reading(kind, *path, wanted, data, warn).read());
  return data;
} catch (const std::bad_alloc&) {
  return fail("not enough memory for the data about activations");
}

}  // namespace nibble
