// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/export/export.h"

#include "core/base/text.h"
#include "core/export/convert.h"
#include "core/export/staging.h"
#include "core/export/weight_files.h"
#include "core/formats/model_rules.h"
#include "core/formats/tools.h"
#include "core/io/atomic_file.h"
#include "core/quant/decode.h"
#include "core/run/run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <set>

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr const char* configFile = "config.json";

bool isSingleFile(const ExportJob& job) {
  const std::string extension = job.out.extension().string();
  return job.format->info().extension != ".safetensors" || extension == ".safetensors" || extension == ".npz" ||
         extension == ".npy";
}

// One export from choice to published files; everything it holds dies with it.
class Export {
 public:
  Export(const ExportJob& job, const Context& context,
         const std::function<void(ExportStage, std::size_t, std::size_t)>& onStage)
      : m_job(job),
        m_context(context),
        m_onStage(onStage),
        m_single(isSingleFile(job)),
        m_file(job.format->modelFile({*job.checkpoint, job.runtime, job.mix, job.all})) {}

  Result<ExportResult> run() {
    stage(ExportStage::Preflight, 0);
    NIBBLE_TRY(checkJob());
    NIBBLE_TRY(quantizeAll());
    NIBBLE_TRY(convertAll());
    NIBBLE_TRY(applyRules());
    if (!m_result.preflightOk || m_job.dryRun) return std::move(m_result);
    NIBBLE_TRY(writeAndProve());
    stage(ExportStage::Done, layerCount());
    return std::move(m_result);
  }

 private:
  void stage(ExportStage what, std::size_t done) const {
    if (m_onStage) m_onStage(what, done, layerCount());
  }

  [[nodiscard]] std::size_t layerCount() const { return m_job.tensors.size() + m_job.packed.size(); }

  Status checkJob() {
    const FormatInfo& about = m_job.format->info();
    m_result.format = about.id;
    m_result.out = m_job.out;
    if (layerCount() == 0) return fail("nothing to export: no tensor is chosen");
    if (!m_job.runtime.empty() &&
        std::find(about.runtimes.begin(), about.runtimes.end(), m_job.runtime) == about.runtimes.end())
      return fail(std::string(about.id) + " is not loaded by " + m_job.runtime + ", only by: " + runtimeNames());
    const std::string extension = m_job.out.extension().string();
    if (m_single && extension != about.extension &&
        (m_file || extension == ".npz" || extension == ".npy" || extension == ".safetensors"))
      return fail(m_job.out.string() + ": " + std::string(about.id) + " is written as " + std::string(about.extension));
    if (m_job.shardSize != 0 && (m_single || about.extension != ".safetensors"))
      return fail("only a folder of safetensors files is split; this is " + m_job.out.string());
    if (m_job.all && about.extension == ".npz")
      return fail("an .npz holds quantized tensors only; use a safetensors format to copy the others");
    std::set<std::string> names;
    for (const auto& [name, choice] : m_job.tensors)
      if (!names.insert(name).second) return fail(name + ": chosen twice");
    for (const DetectedLayer& packed : m_job.packed)
      if (!names.insert(packed.layer.name).second) return fail(packed.layer.name + ": chosen twice");
    if (m_job.dryRun) return {};
    NIBBLE_TRY(checkNotSource(*m_job.checkpoint, m_job.out));
    return checkDestination(m_job.out, !m_single);
  }

  std::string runtimeNames() const {
    std::vector<std::string> names(m_job.format->info().runtimes.begin(), m_job.format->info().runtimes.end());
    return names.empty() ? "no runtime" : text::join(names, ", ");
  }

  // Where a scheme can store its tensor scale the other way round, which a format may want: that choice. The result names it.
  static std::optional<Choice> inverted(const Choice& choice) {
    if (!choice.has("inverse")) return std::nullopt;
    auto other = choice.with("inverse", std::string_view("true"));
    return other && *other != choice ? std::optional(*std::move(other)) : std::nullopt;
  }

  Status quantizeAll() {
    ReportOptions options;
    options.percentile = false;
    for (const auto& [name, choice] : m_job.tensors) {
      stage(ExportStage::Quantize, m_layers.size());
      if (m_context.stopRequested()) return cancelled();
      const auto tensor = readWeights(name);
      if (!tensor) return fail(tensor.error());
      Choice used = choice;
      auto outcome = nibble::run(*tensor, used, m_context, options);
      if (!outcome) return fail(outcome.error());
      auto reason = m_job.format->refusal(*outcome->quantized);
      if (const auto other = reason ? inverted(choice) : std::nullopt) {
        auto again = nibble::run(*tensor, *other, m_context, options);
        if (!again) return fail(again.error());
        if (!m_job.format->refusal(*again->quantized)) {
          reason.reset();
          used = *other;
          outcome = std::move(again);
        }
      }
      if (reason) return fail(std::string(m_job.format->info().id) + " cannot hold " + name + ": " + *reason);
      m_quantized.push_back(outcome->quantized);
      m_layers.push_back({name, m_quantized.back().get(), biasOf(name, tensor->rows())});
      ExportedTensor exported;
      exported.name = name;
      exported.scheme = used.text();
      exported.weights = tensor->size();
      exported.sqnrDb = outcome->report.sqnrDb();
      exported.maxDifference = std::numeric_limits<double>::quiet_NaN();
      m_result.tensors.push_back(std::move(exported));
    }
    return {};
  }

  Result<Tensor> readWeights(const std::string& name) const {
    for (const DetectedLayer& packed : m_job.decoded) {
      if (packed.layer.name != name) continue;
      const auto layer = packed.format->read(*m_job.checkpoint, packed.layer);
      if (!layer) return fail(layer.error().within(name));
      return Tensor::fromFloats(name, packed.layer.shape, decodeAll(*layer));
    }
    return m_job.checkpoint->read(name);
  }

  Status convertAll() {
    for (const DetectedLayer& packed : m_job.packed) {
      stage(ExportStage::Quantize, m_layers.size());
      if (m_context.stopRequested()) return cancelled();
      const std::string& name = packed.layer.name;
      auto source = packed.format->read(*m_job.checkpoint, packed.layer);
      if (!source) return fail(source.error().within(name));
      auto converted = convertFor(*m_job.format, std::make_shared<const QuantizedTensor>(*std::move(source)), m_context);
      if (!converted && converted.error().kind == ErrorKind::Cancelled) return fail(converted.error());
      if (!converted)
        return fail(std::string(m_job.format->info().id) + " cannot hold " + name + ": " + converted.error().message);
      m_quantized.push_back(converted->tensor);
      m_layers.push_back({name, m_quantized.back().get(), biasOf(name, m_quantized.back()->rows)});
      ExportedTensor exported;
      exported.name = name;
      exported.scheme = m_quantized.back()->scheme;
      exported.weights = m_quantized.back()->weightCount();
      exported.sqnrDb = std::numeric_limits<double>::quiet_NaN();  // there is no unquantized weight to compare with
      exported.maxDifference = std::numeric_limits<double>::quiet_NaN();
      exported.converted = true;
      exported.conversionDifference = converted->maxDifference;
      m_result.tensors.push_back(std::move(exported));
    }
    return {};
  }

  std::optional<Tensor> biasOf(const std::string& name, std::uint64_t rows) const {
    if (!name.ends_with(".weight")) return std::nullopt;
    const auto index = m_job.checkpoint->find(formats::moduleName(name) + ".bias");
    if (!index || m_job.checkpoint->entries()[*index].shape != Shape{rows}) return std::nullopt;
    auto bias = m_job.checkpoint->read(*index);
    return bias ? std::optional(std::move(*bias)) : std::nullopt;
  }

  Status applyRules() {
    if (m_context.stopRequested()) return cancelled();
    m_result.preflight = m_job.format->preflight(m_job.runtime, m_layers);
    if (m_file) {
      for (RuleResult& rule : m_file->preflight(m_layers)) m_result.preflight.push_back(std::move(rule));
    } else if (!m_job.format->info().runtimes.empty()) {
      for (RuleResult& rule : modelRules(m_job.runtime, m_layers, modelFacts())) m_result.preflight.push_back(std::move(rule));
      m_result.advice = modelAdvice(m_layers, modelFacts());
    }
    std::uint64_t weights = 0;
    for (const ExportedTensor& tensor : m_result.tensors) weights += tensor.weights;
    m_result.preflight.push_back({"No weight is NaN or infinite", true, true, "0 of " + text::number(weights), "every format"});
    if (!m_file && !m_job.format->info().runtimes.empty()) m_result.preflight.push_back(configRule());
    m_result.preflightOk = std::all_of(m_result.preflight.begin(), m_result.preflight.end(),
                                       [](const RuleResult& rule) { return !rule.asked || rule.ok; });
    return {};
  }

  // A file of some layers alone is no model: nothing is left out of it.
  ModelFacts modelFacts() const {
    return {m_job.checkpoint->configText(), m_job.all ? leftAlone() : std::vector<std::string>(), m_job.cards};
  }

  RuleResult configRule() const {
    RuleResult rule{"config.json names the method",
                    m_job.runtime == "transformers" || m_job.runtime == "vllm",
                    !m_single,
                    {},
                    "transformers quantizers/auto.py"};
    if (m_single)
      rule.detail = "a single file has no config.json; give a folder";
    else if (m_job.checkpoint->configText().empty())
      rule.detail = "quantization_config only: the source has no config.json";
    else
      rule.detail = "quantization_config added";
    return rule;
  }

  // From here on layers have the names and rows they have in the file; those without a place there are gone.
  Status placeAll() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < m_layers.size(); ++i) {
      if (m_context.stopRequested()) return cancelled();
      if (m_layers[i].bias) m_placedNames.insert(formats::moduleName(m_layers[i].name) + ".bias");
      m_placedNames.insert(m_layers[i].name);
      auto placed = m_file->place(m_layers[i]);
      if (!placed) return fail(placed.error());
      if (placed->layer.tensor == nullptr) continue;
      m_layers[kept] = std::move(placed->layer);
      if (placed->tensor) m_quantized[i] = std::move(placed->tensor);
      if (kept != i) {
        m_quantized[kept] = std::move(m_quantized[i]);
        m_result.tensors[kept] = std::move(m_result.tensors[i]);
      }
      ++kept;
    }
    m_layers.resize(kept);
    m_quantized.resize(kept);
    m_result.tensors.resize(kept);
    return kept != 0 ? Status{} : fail("nothing to export: the file has no place for any of the tensors");
  }

  std::vector<std::string> leftAlone() const {
    std::vector<std::string> names;
    for (const TensorEntry& entry : m_job.checkpoint->entries()) {
      const bool chosen =
          std::any_of(m_layers.begin(), m_layers.end(), [&](const auto& layer) { return layer.name == entry.name; });
      if (!chosen && info(entry.type).floating && entry.shape.size() >= 2) names.push_back(entry.name);
    }
    return names;
  }

  Status writeAndProve() {
    if (m_file) NIBBLE_TRY(placeAll());
    WeightFiles files(*m_job.format, m_file.get(), m_layers, m_context);
    NIBBLE_TRY(packAll(files));
    if (m_job.all) NIBBLE_TRY(addCopies(files));
    auto staging = Staging::create(m_job.out, !m_single);
    if (!staging) return fail(staging.error());
    NIBBLE_TRY(files.write(*staging, m_job.shardSize));
    m_names = files.names();
    if (!m_single) NIBBLE_TRY(writeSideFiles(*staging));
    if (m_job.verify) NIBBLE_TRY(prove(files));
    if (m_context.stopRequested()) return cancelled();
    NIBBLE_TRY(staging->publish());
    for (const std::string& name : m_names) m_result.files.push_back(m_single ? m_job.out : m_job.out / name);
    return {};
  }

  Status packAll(WeightFiles& files) {
    std::uint64_t weights = 0;
    for (std::size_t i = 0; i < m_layers.size(); ++i) {
      stage(ExportStage::Write, i);
      if (m_context.stopRequested()) return cancelled();
      const auto bytes = files.pack(i, placeOf(i), m_job.heldBytes);
      if (!bytes) return fail(bytes.error());
      m_result.tensors[i].sizeBytes = *bytes;
      m_result.sizeBytes += *bytes;
      weights += m_result.tensors[i].weights;
    }
    m_result.bitsPerWeight = 8.0 * static_cast<double>(m_result.sizeBytes) / static_cast<double>(weights);
    return {};
  }

  // In the source, whose order is kept.
  [[nodiscard]] std::size_t placeOf(std::size_t layer) const {
    if (m_file) return 0;  // layers in their order, then what is copied
    if (layer < m_job.tensors.size()) return m_job.checkpoint->find(m_layers[layer].name).value_or(0);
    const auto& parts = m_job.packed[layer - m_job.tensors.size()].layer.parts;
    return parts.empty() ? 0 : *std::min_element(parts.begin(), parts.end());
  }

  // Tensors that stay as they are, as views of the source.
  Status addCopies(WeightFiles& files) const {
    std::set<std::string> taken = m_placedNames;
    for (const auto* layers : {&m_job.packed, &m_job.decoded})
      for (const DetectedLayer& packed : *layers)
        for (const std::size_t part : packed.layer.parts) taken.insert(m_job.checkpoint->entries()[part].name);
    for (const ExportLayer& layer : m_layers) taken.insert(layer.name);
    for (std::size_t i = 0; i < m_job.checkpoint->entries().size(); ++i) {
      const TensorEntry& entry = m_job.checkpoint->entries()[i];
      if (taken.count(entry.name) != 0 || files.holds(entry.name)) continue;
      auto tensor = m_job.checkpoint->read(i);
      if (!tensor) return fail(tensor.error());
      auto copy = m_file ? m_file->copy(entry, *tensor) : plainCopy(entry, *tensor);
      if (!copy) return fail(copy.error());
      if (*copy) files.addCopy(std::move(**copy), *std::move(tensor), m_file ? 1 : i);
    }
    if (m_file)
      for (RawTensor& further : m_file->further()) files.addCopy(std::move(further), std::nullopt, 1);
    return {};
  }

  static Result<std::optional<RawTensor>> plainCopy(const TensorEntry& entry, const Tensor& tensor) {
    if (entry.block) return fail(entry.name + ": is stored in a block type, which can be copied into the same container only");
    RawTensor copy;
    copy.name = entry.name;
    copy.type = entry.type;
    copy.shape = entry.shape;
    if (!tensor.bytes().empty()) copy.borrowed = tensor.bytes();
    return std::optional(std::move(copy));
  }

  // Whatever the proof finds is a check that failed, not an input that is wrong.
  Status prove(const WeightFiles& files) {
    std::size_t done = 0;
    Status proven = files.prove([&](std::size_t layer, double largest) {
      m_result.tensors[layer].maxDifference = largest;
      stage(ExportStage::ReadBack, ++done);
    });
    if (!proven && proven.error().kind == ErrorKind::Input)
      return fail(proven.error().message + "; nothing was kept", ErrorKind::Check);
    if (!proven) return proven;
    m_result.verified = true;
    return {};
  }

  Status writeSideFiles(const Staging& staging) {
    const std::vector<std::string> kept = leftAlone();
    const auto config = m_job.format->configure(m_job.checkpoint->configText(), m_layers, kept);
    if (!config) return fail(config.error());
    auto side = m_job.format->sideFiles(m_layers, kept);
    if (!side) return fail(side.error());
    if (!config->empty()) side->emplace_back(configFile, *config);
    for (const auto& [name, text] : *side) {
      NIBBLE_TRY(writeFileAtomically(staging.place(name), text));
      m_names.push_back(name);
    }
    return m_job.all ? copySideFiles(staging) : Status{};
  }

  // Tokenizer, generation settings, licence: every small file beside the weights that is neither weights nor written above.
  Status copySideFiles(const Staging& staging) {
    const fs::path folder = m_job.checkpoint->files().front().parent_path();
    if (!fs::exists(folder / configFile))
      return {};  // a lone file in somebody's download folder: its neighbours are not its own
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
      if (m_context.stopRequested()) return cancelled();
      const std::string name = entry.path().filename().string();
      if (!entry.is_regular_file() || !isSideFile(entry.path()) ||
          (!(m_job.packed.empty() && m_job.decoded.empty()) && describesPacking(name)) ||
          std::find(m_names.begin(), m_names.end(), name) != m_names.end())
        continue;
      fs::copy_file(entry.path(), staging.place(name), error);
      if (error) return fail(entry.path().string() + ": cannot be copied: " + error.message());
      m_names.push_back(name);
    }
    if (error) return fail(folder.string() + ": cannot be listed: " + error.message());
    return {};
  }

  static bool isSideFile(const fs::path& path) {
    static const std::set<std::string> weights = {".safetensors", ".bin", ".pt", ".pth",     ".gguf",
                                                  ".npz",         ".npy", ".h5", ".msgpack", ".onnx"};
    const std::string name = path.filename().string();
    return weights.count(path.extension().string()) == 0 && !name.starts_with(".") && !name.ends_with(".index.json");
  }

  // What the source's quantizer wrote about its own packing; beside other packed weights it would lie.
  static bool describesPacking(const std::string& name) {
    return name == "quantize_config.json" || name == "quantization_config.json" || name == "quant_strategy.json" ||
           name == "quantization_map.json";
  }

  const ExportJob& m_job;
  const Context& m_context;
  const std::function<void(ExportStage, std::size_t, std::size_t)>& m_onStage;
  bool m_single;
  std::unique_ptr<ModelFile> m_file;    // null: arrays under the source's names
  std::set<std::string> m_placedNames;  // of the source, that `m_file` has taken
  ExportResult m_result;
  std::vector<std::shared_ptr<const QuantizedTensor>> m_quantized;
  std::vector<ExportLayer> m_layers;
  std::vector<std::string> m_names;
};

}  // namespace

Result<ExportResult> exportTensors(const ExportJob& job, const Context& context,
                                   const std::function<void(ExportStage, std::size_t, std::size_t)>& onStage) try {
  return Export(job, context, onStage).run();
} catch (const std::bad_alloc&) {
  return fail("not enough memory to export");
} catch (const fs::filesystem_error& error) {
  return fail(std::string("export: ") + error.what());
}

}  // namespace nibble
