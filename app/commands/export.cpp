// SPDX-License-Identifier: GPL-3.0-or-later
// export PATH SCHEME --format FORMAT --out PATH: pre-flight, write, read back with an independent decoder, compare.
// Without SCHEME the packed layers of PATH go into the other format as they are.
#include "core/export/export.h"
#include "app/activation_options.h"
#include "app/export_output.h"
#include "app/program.h"
#include "app/selection_options.h"
#include "core/export/shards.h"
#include "core/run/recipe.h"
#include "core/schemes/gguf_mixes.h"

#include <nlohmann/json.hpp>

#include <set>

namespace nibble::cli {
namespace {

struct Options {
  SelectionOptions selection;
  ActivationOptions activations;
  std::string scheme, recipe, format, out, runtime, shardSize;
  bool all = false, requantize = false, dryRun = false, noVerify = false, json = false;
  int cards = 1;
};

bool isMix(const std::string& name) {
  const auto mixes = mixNames();
  return std::find(mixes.begin(), mixes.end(), name) != mixes.end();
}

// A packed layer is decoded first, where that was asked for.
Status choose(const Options& options, const WeightList& weights, const std::string& name, const Choice& choice, ExportJob& job) {
  if (const WeightItem* item = weights.find(name); item != nullptr && item->packed) {
    if (!options.requantize) return fail(name + ": is already quantized; --requantize decodes it and quantizes it again");
    job.decoded.push_back(weights.packedLayers()[*item->packed]);
  }
  job.tensors.emplace_back(name, choice);
  return {};
}

// A named mix says for every tensor of the model what becomes of it.
Status chooseMix(Program& program, const Options& options, const WeightList& weights, ExportJob& job) {
  if (!options.selection.tensors.empty() || !options.selection.pattern.empty())
    return fail(options.scheme + " is a mix for a whole model; choose a scheme for single tensors", ErrorKind::Usage);
  std::vector<MixTensor> tensors;
  for (const WeightItem& item : weights.items()) {
    const std::uint64_t columns = item.shape.empty() ? 1 : item.shape.back();
    const std::uint64_t rows = columns == 0 ? 0 : elementCount(item.shape) / columns;
    tensors.push_back({item.name, rows, columns, static_cast<int>(item.shape.size())});
  }
  const auto assignments = mixAssignments(options.scheme, tensors, !options.activations.inputWeights.empty());
  if (!assignments) return fail(assignments.error());
  for (const MixAssignment& one : *assignments) {
    if (one.scheme.empty()) continue;
    if (!one.note.empty()) program.warn(one.tensor + ": " + one.note + "; it becomes " + one.scheme);
    const auto choice = Choice::parse(one.scheme);
    if (!choice) return fail(choice.error());
    NIBBLE_TRY(choose(options, weights, one.tensor, *choice, job));
  }
  job.mix = options.scheme;
  job.all = true;
  return {};
}

// Everything worth quantizing, packed layers among it; stacks stay whole.
Result<std::vector<std::string>> selectDecoded(const Options& options, const WeightList& weights) {
  auto names = options.selection.select(weights);
  if (!names) return names;
  std::vector<std::string> whole;
  for (const std::string& name : *names) {
    const std::string stored = weights.find(name) != nullptr ? name : name.substr(0, name.rfind('['));
    if (whole.empty() || whole.back() != stored) whole.push_back(stored);
  }
  return whole;
}

// What of PATH is quantized, and to what.
Status chooseTensors(Program& program, const Options& options, const WeightList& weights, ExportJob& job) {
  if (isMix(options.scheme)) return chooseMix(program, options, weights, job);
  auto choice = Choice::parse(options.scheme);
  if (!choice) return fail(choice.error());
  auto names = options.requantize ? selectDecoded(options, weights) : options.selection.select(weights, true);
  if (!names) return fail(names.error().within(options.selection.path));
  for (const std::string& name : *names) NIBBLE_TRY(choose(options, weights, name, *choice, job));
  return {};
}

// The same by a recipe, tensor by tensor.
Status chooseByRecipe(const Options& options, const WeightList& weights, ExportJob& job) {
  if (!options.scheme.empty())
    return fail("SCHEME and --recipe: only one of them says what to quantize to", ErrorKind::Usage);
  const auto recipe = Recipe::read(options.recipe);
  if (!recipe) return fail(recipe.error());
  const auto names = options.selection.select(weights, true);
  if (!names) return fail(names.error().within(options.selection.path));
  auto chosen = recipe->choose(weights, *names, !options.activations.inputWeights.empty());
  if (!chosen) return fail(chosen.error().within(options.recipe));
  job.tensors = *std::move(chosen);
  return {};
}

// Which packed layers of PATH are taken over.
Status choosePacked(const Options& options, const WeightList& weights, ExportJob& job) {
  if (weights.packedLayers().empty())
    return fail(options.selection.path + ": holds no packed layers; SCHEME says how to quantize it", ErrorKind::Usage);
  const auto names = options.selection.select(weights);
  if (!names) return fail(names.error().within(options.selection.path));
  std::set<const PackedLayer*> chosen;  // a stack whole, whichever of its matrices is named
  for (const std::string& name : *names) chosen.insert(weights.packedLayer(name));
  for (const DetectedLayer& packed : weights.packedLayers())
    if (chosen.count(&packed.layer) != 0) job.packed.push_back(packed);
  for (const std::string& name : options.selection.tensors)
    if (weights.packedLayer(name) == nullptr)
      return fail(name + ": is not packed; SCHEME says how to quantize it");
  if (job.packed.empty()) return fail(options.selection.path + ": no packed layer is among what was chosen");
  return {};
}

Result<ExitStatus> exportCommand(Program& program, const Options& options) {
  Context context = program.context();
  const auto weights = options.selection.open(context);
  if (!weights) return fail(weights.error());
  ExportJob job;
  job.checkpoint = (*weights)->shared();
  job.all = options.all;
  if (!options.recipe.empty())
    NIBBLE_TRY(chooseByRecipe(options, **weights, job));
  else
    NIBBLE_TRY(options.scheme.empty() ? choosePacked(options, **weights, job) : chooseTensors(program, options, **weights, job));
  std::vector<std::string> names;
  for (const auto& [name, choice] : job.tensors) names.push_back(name);
  const auto activations = options.activations.read(program, **weights, names);
  if (!activations) return fail(activations.error());
  context.activations = &*activations;
  job.format = findFormat(options.format);
  job.runtime = options.runtime;
  job.out = options.out;
  job.verify = !options.noVerify;
  job.dryRun = options.dryRun;
  job.cards = options.cards;
  if (!options.shardSize.empty()) {
    const auto size = parseByteSize(options.shardSize);
    if (!size) return fail(size.error().within("--shard-size"));
    job.shardSize = *size;
  }
  const auto progress = program.showProgress("export");
  const auto result = exportTensors(job, context);
  if (!result) return fail(result.error());
  if (options.json) {
    program.printJson(exportJson(*result));
  } else {
    program.print(exportText(*result, options.dryRun));
  }
  return exportPassed(job, *result) ? ExitStatus::Done : ExitStatus::CheckFailed;
}

}  // namespace

void addExport(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("export", "Write packed weights that another program loads");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_option(
      "SCHEME", options->scheme,
      "What to quantize to, as id:key=value,... or a named mix of llama.cpp (Q4_K_M), which is for a whole model; without it packed "
      "layers keep their codes and change their format");
  command->add_option("--recipe", options->recipe, "What to quantize each tensor to: a recipe in JSON, as allocate writes it")
      ->type_name("FILE");
  options->selection.addSelection(*command);
  options->activations.add(*command);
  command->add_option("--format", options->format, "Packed format")->required()->check(CLI::IsMember(formatIds()));
  command->add_option("--out", options->out, "File for .npz, .npy, .gguf and .safetensors names, else a directory")->required();
  command->add_option("--target", options->runtime, "Runtime whose rules must hold")->check(CLI::IsMember(runtimeIds()));
  command->add_option("--tp", options->cards, "Cards that the runtime will split the model over")->check(CLI::Range(1, 1024));
  command->add_option("--shard-size", options->shardSize, "Largest weights file of a model folder: 5GB, 500MB, 2GiB, bytes")
      ->type_name("SIZE");
  command->add_flag("--all", options->all, "Copy what is not quantized");
  command->add_flag("--requantize", options->requantize, "Decode what is already quantized, and quantize it again");
  command->add_flag("--dry-run", options->dryRun, "Pre-flight only");
  command->add_flag("--no-verify", options->noVerify, "Do not read back");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return exportCommand(program, *options); }; });
}

}  // namespace nibble::cli
