// SPDX-License-Identifier: GPL-3.0-or-later
// The open door for other tools: everything in a QuantizedTensor as plain arrays. NAME/codes (original shape), NAME/scale,
// NAME/zero (subtracted before scaling) or NAME/bias (added after) in their natural group shape, NAME/levels where codes index
// a table, NAME/decoded, NAME/order where columns are permuted, NAME/choice. Beside each plane NAME/..._groups says in words
// which weights share its numbers ("blocks 1 64", "flat 64", "modulo 9", "columns" with NAME/..._index), NAME/arithmetic the
// type of each step where it is not float32, NAME/level_type the float type whose bits the codes are.
// Where one code stands for d weights, codes are [rows, columns / d] and levels end in d; NAME/signs is 1 where a level is
// negated. NAME/rotation_signs and NAME/rotation_block: of the stored row, blocks went through a Walsh-Hadamard transform and
// were multiplied by the signs. NAME/channel_scale: one number per stored column; NAME/channel_scale_use says whether decoding
// multiplies by it or divides. Decoding undoes rotation, channel scale and order, in that order.
#include "core/base/text.h"
#include "core/formats/npz/proof.h"
#include "core/formats/rules.h"
#include "core/formats/tools.h"
#include "core/quant/decode.h"

#include <algorithm>

namespace nibble {
namespace {

using namespace formats;

std::optional<std::string> refusalOf(const QuantizedTensor& tensor) {
  const std::uint64_t dimension = tensor.levels.dimension;
  if (dimension > 1 && tensor.columns % dimension != 0) return "one code stands for weights of two rows";
  return std::nullopt;
}

std::string groupsText(const Grouping& grouping) {
  switch (grouping.kind()) {
    case Grouping::Kind::Blocks:
      return "blocks " + text::number(grouping.tileRows()) + " " + text::number(grouping.tileColumns());
    case Grouping::Kind::Flat:
      return "flat " + text::number(grouping.length());
    case Grouping::Kind::Modulo:
      return "modulo " + text::number(grouping.length());
    case Grouping::Kind::Columns:
      return "columns";
  }
  return {};
}

std::string arithmeticText(const Arithmetic& arithmetic) {
  std::string words(typeName(arithmetic.step));
  if (arithmetic.fused) words += " fused";
  if (arithmetic.result != arithmetic.step) words += " then " + std::string(typeName(arithmetic.result));
  return words;
}

class Arrays {
 public:
  Arrays(std::string prefix, const QuantizedTensor& tensor) : m_prefix(std::move(prefix)), m_tensor(tensor) {}

  std::vector<RawTensor> build() {
    addCodes();
    addPlanes();
    addLevels();
    addTransforms();
    add(rawFloats("decoded", FloatType::F32, m_tensor.shape, decodeAll(m_tensor)));
    if (!m_tensor.order.empty()) add(rawIntegers("order", DType::I32, {m_tensor.order.size()}, widened(m_tensor.order)));
    if (!(m_tensor.arithmetic == Arithmetic{})) add(rawText("arithmetic", arithmeticText(m_tensor.arithmetic)));
    add(rawText("choice", m_tensor.scheme));
    return std::move(m_arrays);
  }

 private:
  void add(RawTensor array) {
    array.name = m_prefix + array.name;
    m_arrays.push_back(std::move(array));
  }

  template <class T>
  static std::vector<std::int64_t> widened(const std::vector<T>& values) {
    return {values.begin(), values.end()};
  }

  template <class T>
  void addPlainCodes(DType type) {
    const std::vector<T>* codes = m_tensor.codes.as<T>();
    if (codes == nullptr) return;
    const std::span<const std::byte> bytes = std::as_bytes(std::span(*codes));
    const std::uint64_t dimension = m_tensor.levels.dimension;
    const Shape shape = dimension == 1 ? m_tensor.shape : Shape{m_tensor.rows, m_tensor.columns / dimension};
    add(rawBytes("codes", type, shape, {bytes.begin(), bytes.end()}));
  }

  void addTransforms() {
    if (!m_tensor.signs.empty()) {
      std::vector<std::int64_t> signs(m_tensor.weightCount());
      for (std::size_t i = 0; i < signs.size(); ++i) signs[i] = m_tensor.signs[i / 8] >> (i % 8) & 1;
      add(rawIntegers("signs", DType::U8, m_tensor.shape, signs));
    }
    if (m_tensor.rotation) {
      add(rawFloats("rotation_signs", FloatType::F32, {m_tensor.columns}, m_tensor.rotation->signs));
      add(rawInteger("rotation_block", DType::I64, m_tensor.rotation->block));
    }
    if (m_tensor.channelScale.empty()) return;
    add(rawFloats("channel_scale", FloatType::F32, {m_tensor.columns}, m_tensor.channelScale));
    add(rawText("channel_scale_use", m_tensor.channelScaleMultiplies ? "multiply" : "divide"));
  }

  void addCodes() {
    addPlainCodes<std::uint8_t>(DType::U8);
    addPlainCodes<std::uint16_t>(DType::U16);
    addPlainCodes<std::int32_t>(DType::I32);
    if (m_tensor.width.bits.empty()) return;
    add(rawIntegers("bits", DType::U8, m_tensor.width.grouping->naturalShape(), widened(m_tensor.width.bits)));
    addGroups("bits", *m_tensor.width.grouping);
  }

  void addGroups(const std::string& name, const Grouping& grouping) {
    add(rawText(name + "_groups", groupsText(grouping)));
    if (grouping.kind() == Grouping::Kind::Columns)
      add(rawIntegers(name + "_index", DType::I32, {grouping.index().size()}, widened(grouping.index())));
  }

  void addPlane(const std::string& name, const Grouping& grouping, const std::vector<float>& values) {
    add(rawFloats(name, FloatType::F32, grouping.naturalShape(), values));
    addGroups(name, grouping);
  }

  void addPlanes() {
    if (!m_tensor.scale) return;
    const Grouping& grouping = m_tensor.scale->grouping;
    addPlane("scale", grouping, m_tensor.scale->values);
    const std::string name = m_tensor.rule == ValueRule::ScalePlusBias ? "bias" : "zero";
    if (!m_tensor.zero || m_tensor.rule == ValueRule::Scale) {
      if (m_tensor.levels.kind == Levels::Kind::Identity)
        addPlane("zero", grouping, std::vector<float>(grouping.groupCount(), 0.0f));
      return;
    }
    // One number for all takes the shape of the scales, so that arrays of equal shape can be combined as they are.
    const std::vector<float>& values = m_tensor.zero->values;
    const bool constant = std::all_of(values.begin(), values.end(), [&](float value) { return value == values.front(); });
    if (constant)
      addPlane(name, grouping, std::vector<float>(grouping.groupCount(), values.front()));
    else
      addPlane(name, m_tensor.zero->grouping, values);
  }

  void addLevels() {
    const Levels& levels = m_tensor.levels;
    if (levels.kind == Levels::Kind::Float) add(rawText("level_type", typeName(levels.type)));
    if (levels.kind != Levels::Kind::Table) return;
    const std::uint64_t tables =
        levels.table.size() / std::max<std::size_t>(std::size_t{levels.levelCount} * levels.dimension, 1);
    Shape shape{levels.levelCount};
    if (levels.grouping) shape.insert(shape.begin(), tables);
    if (levels.dimension > 1) shape.push_back(levels.dimension);
    add(rawFloats("levels", FloatType::F32, shape, levels.table));
    if (levels.grouping) addGroups("levels", *levels.grouping);
  }

  std::string m_prefix;
  const QuantizedTensor& m_tensor;
  std::vector<RawTensor> m_arrays;
};

Verdict held(const std::vector<ExportLayer>& layers) {
  return noneRefused(
      layers, [](const ExportLayer& layer) { return refusalOf(*layer.tensor); },
      std::to_string(layers.size()) + (layers.size() == 1 ? " tensor" : " tensors"));
}

class NpzFormat final : public Format {
 public:
  [[nodiscard]] const FormatInfo& info() const override {
    static const FormatInfo info = {"npz",
                                    "NumPy arrays of codes, parameters and decoded values, for any other tool",
                                    "nibblescope-cli export --format npz",
                                    {},
                                    ".npz"};
    return info;
  }

  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const override { return refusalOf(tensor); }

  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime,
                                                  const std::vector<ExportLayer>& layers) const override {
    static const std::vector<Rule> rules = {
        {"Codes and parameters are plain arrays", {}, "nibblescope-cli export --format npz", held}};
    return apply(rules, runtime, layers);
  }

  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const override {
    if (const auto reason = refusalOf(*layer.tensor)) return fail(layer.name + ": " + *reason);
    return Arrays(layer.name + "/", *layer.tensor).build();
  }

  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const override {
    std::uint64_t bytes = 0;
    for (const char* key :
         {"codes", "scale", "zero", "bias", "levels", "bits", "order", "signs", "rotation_signs", "channel_scale"})
      for (const RawTensor& array : arrays)
        if (array.name == key || array.name == layer.name + "/" + key) bytes += byteCount(array);
    return bytes;
  }

  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const override {
    const int bits = tensor.codes.as<std::uint8_t>() != nullptr ? 8 : tensor.codes.as<std::uint16_t>() != nullptr ? 16 : 32;
    return denseLayout(tensor.codes.size(), bits);
  }

  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>&,
                                              const std::vector<std::string>&) const override {
    return config;
  }

  // Its arrays open as they are; `decoded` needs no reader.
  [[nodiscard]] std::vector<PackedLayer> detect(const Checkpoint&) const override { return {}; }
  [[nodiscard]] Result<QuantizedTensor> read(const Checkpoint&, const PackedLayer& layer) const override {
    return fail(layer.name + ": .npz arrays are not packed weights");
  }

  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file,
                                                       const std::string& name) const override {
    return proof::decodeNpz(file, name);
  }
};

}  // namespace

const Format& npzFormat() {
  static const NpzFormat format;
  return format;
}

}  // namespace nibble
