// SPDX-License-Identifier: GPL-3.0-or-later
// linear PATH --tensor NAME --inputs X: one layer with quantized weights and activations against the float layer.
#include "app/activation_options.h"
#include "app/program.h"
#include "app/selection_options.h"
#include "core/base/text.h"
#include "core/io/atomic_file.h"
#include "core/io/npy.h"
#include "core/layers/layer_files.h"
#include "core/layers/linear_study.h"
#include "core/layers/norm_fold.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

struct Options {
  SelectionOptions selection;
  ActivationOptions activationData;
  std::string tensor, reading, weights, activations, outputs, fold;
  std::optional<double> smooth;
  bool quantizeOutput = false, json = false;
};

Result<std::optional<Choice>> parsed(const std::string& text) {
  if (text.empty()) return std::nullopt;
  auto choice = Choice::parse(text);
  if (!choice) return fail(choice.error());
  return *std::move(choice);
}

// What the schemes may know of the inputs: all that was given, the samples being the inputs themselves.
Result<ActivationData> knownOf(const Program& program, const Options& options, const WeightList& weights, const Tensor& inputs) {
  ActivationOptions others = options.activationData;
  others.inputs.clear();
  auto data = others.read(program, weights, {options.tensor});
  if (!data) return data;
  auto samples = inputs.readAll();
  if (!samples) return fail(samples.error());
  LayerInputs known;
  known.channels = inputs.columns();
  known.tokens = inputs.rows();
  known.samples = *std::move(samples);
  if (auto status = data->add(options.tensor, std::move(known)); !status) return fail(status.error().within(options.activationData.inputs));
  return data;
}

Status refuseSource(const Checkpoint& checkpoint, const Options& options, const std::string& out) {
  std::error_code error;
  std::vector<std::filesystem::path> sources = checkpoint.files();
  sources.emplace_back(options.activationData.inputs);
  for (const auto& file : sources)
    if (!out.empty() && std::filesystem::equivalent(file, out, error)) return fail(out + ": is a source itself; it is never written over");
  return {};
}

Status checkOptions(const Options& options) {
  if (!options.outputs.empty() && !options.outputs.ends_with(".npy")) return fail(options.outputs + ": the output must be named .npy");
  if (!options.fold.empty() && !options.fold.ends_with(".safetensors"))
    return fail(options.fold + ": the folded tensors go to a file named .safetensors");
  if (!options.fold.empty() && !options.smooth) return fail("--fold needs --smooth", ErrorKind::Usage);
  if (options.quantizeOutput && options.activations.empty())
    return fail("--quantize-output quantizes like activations: --activations is needed", ErrorKind::Usage);
  if (options.smooth && !(*options.smooth >= 0 && *options.smooth <= 1)) return fail("--smooth " + text::number(*options.smooth) + ": 0..1");
  return {};
}

Status writeFolded(const Options& options, const Checkpoint& checkpoint, const Tensor& inputs) {
  const auto samples = inputs.readAll();
  if (!samples) return fail(samples.error());
  const auto folded = foldSmoothing(checkpoint, normFold(checkpoint, options.tensor), *samples, inputs.columns(), *options.smooth);
  if (!folded) return fail(folded.error().within(options.tensor));
  auto file = AtomicFile::create(options.fold);
  if (!file) return fail(file.error());
  NIBBLE_TRY(writeSafetensors(*file, *folded));
  return file->commit();
}

nlohmann::ordered_json smoothingJson(const Options& options, const Checkpoint& checkpoint) {
  const NormFold fold = normFold(checkpoint, options.tensor);
  nlohmann::ordered_json json = {{"alpha", *options.smooth}, {"folds", fold.refusal.empty() && !fold.norm.empty()}};
  if (!fold.norm.empty()) json["norm"] = fold.norm;
  if (!fold.refusal.empty()) json["reason"] = fold.refusal;
  if (fold.norm.empty() && fold.refusal.empty()) json["reason"] = "no norm is known before this layer";
  if (!options.fold.empty()) json["folded"] = options.fold;
  return json;
}

nlohmann::ordered_json studyJson(const Options& options, const LinearJob& job, const LinearStudy& study, const WeightList& weights) {
  nlohmann::ordered_json json;
  json["tensor"] = options.tensor;
  const WeightItem* item = weights.find(options.tensor);
  json["weights"] = nullptr;
  if (job.weightChoice) json["weights"] = job.weightChoice->text();
  if (job.packed != nullptr && item != nullptr) json["weights"] = weights.packedLayers()[*item->packed].layer.description;
  json["activations"] = nullptr;
  if (job.activationChoice) json["activations"] = job.activationChoice->text();
  json["quantizedOutput"] = job.quantizeOutput;
  json["bias"] = !job.bias.empty();
  json["shape"] = study.shape;
  json["outputMse"] = study.errors.mse();
  json["outputSqnrDb"] = study.errors.sqnrDb();
  json["outputMaxError"] = study.errors.maxError();
  json["cosine"] = study.errors.cosine();
  json["integer"] = study.integer;
  if (!study.integer) json["reason"] = study.reason;
  if (options.smooth) json["smoothing"] = smoothingJson(options, weights.checkpoint());
  if (!study.notes.empty()) json["notes"] = study.notes;
  return json;
}

void say(Program& program, const Options& options, const LinearStudy& study) {
  if (!study.integer && !options.activations.empty()) program.warn(options.tensor + ": simulated, " + study.reason);
  for (const std::string& note : study.notes) program.warn(options.tensor + ": " + note);
}

void printText(Program& program, const Options& options, const LinearStudy& study) {
  program.print(options.tensor + ": outputs " + toText(study.shape) + "\n" +                       //
                "MSE         " + text::digits(study.errors.mse(), 6) + "\n" +                      //
                "SQNR        " + text::digits(study.errors.sqnrDb(), 6) + " dB\n" +                //
                "max |error| " + text::digits(study.errors.maxError(), 6) + "\n" +                 //
                "cosine      " + text::digits(study.errors.cosine(), 9) + "\n" +                   //
                "arithmetic  " + (study.integer ? "8-bit integers, 32-bit sums" : "simulated: " + study.reason) + "\n");
  if (!options.outputs.empty()) program.print("written to " + options.outputs + "\n");
}

Result<ExitStatus> linearCommand(Program& program, const Options& options) {
  NIBBLE_TRY(checkOptions(options));
  auto weightChoice = parsed(options.weights), activations = parsed(options.activations);
  if (!weightChoice) return fail(weightChoice.error());
  if (!activations) return fail(activations.error());
  if (*activations) {
    auto meant = activationChoice(**activations);
    if (!meant) return fail(meant.error());
    *activations = *std::move(meant);
  }
  const auto list = options.selection.open(program.context());
  if (!list) return fail(list.error());
  const WeightList& weights = **list;
  for (const std::string& out : {options.outputs, options.fold}) NIBBLE_TRY(refuseSource(weights.checkpoint(), options, out));
  if (!options.fold.empty()) {
    const NormFold fold = normFold(weights.checkpoint(), options.tensor);
    if (!fold.refusal.empty()) return fail(options.tensor + ": the scales cannot be folded: " + fold.refusal);
  }
  const auto tensor = weights.read(options.tensor, options.reading);
  if (!tensor) return fail(tensor.error().within(options.selection.path));
  auto bias = readLayerBias(weights, options.tensor, tensor->rows());
  if (!bias) return fail(bias.error().within(options.selection.path));
  const auto inputs = readLayerInputs(options.activationData.inputs, options.tensor);
  if (!inputs) return fail(inputs.error());

  LinearJob job{&*tensor, nullptr, *std::move(bias), &*inputs, *std::move(weightChoice), *std::move(activations), options.smooth,
                options.quantizeOutput};
  std::optional<QuantizedTensor> packed;
  const WeightItem* item = weights.find(options.tensor);
  if (!job.weightChoice && item != nullptr && item->packed) {
    auto read = weights.readPacked(*item, options.reading);
    if (!read) return fail(read.error());
    packed = *std::move(read);
    job.packed = &*packed;
  }
  const auto known = knownOf(program, options, weights, *inputs);
  if (!known) return fail(known.error());
  Context context = program.context();
  context.activations = &*known;
  const auto line = program.showProgress("linear");
  auto study = studyLinear(job, context);
  if (!study) return fail(study.error());
  if (!options.fold.empty()) NIBBLE_TRY(writeFolded(options, weights.checkpoint(), *inputs));
  if (!options.outputs.empty())
    NIBBLE_TRY(writeNpy(options.outputs, RawTensor{options.tensor, DType::F32, study->shape, {}, std::as_bytes(std::span(study->outputs))}));
  say(program, options, *study);
  if (options.json)
    program.printJson(studyJson(options, job, *study, weights));
  else
    printText(program, options, *study);
  return ExitStatus::Done;
}

}  // namespace

void addLinear(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("linear", "A linear layer with quantized weights and activations, against float");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_option("--tensor", options->tensor, "The layer's weight")->type_name("NAME")->required();
  options->activationData.add(*command);
  command->get_option("--inputs")->required();
  command->add_option("--weights", options->weights, "How to quantize the weights; default: as they are")->type_name("SCHEME");
  command->add_option("--activations", options->activations, "How to quantize the inputs; default: not")->type_name("SCHEME");
  command->add_flag("--quantize-output", options->quantizeOutput, "Quantize the outputs like the inputs");
  command->add_option("--smooth", options->smooth, "SmoothQuant's channel scales with this alpha, 0..1")->type_name("ALPHA");
  command->add_option("--fold", options->fold, "Write the norm and the layers that it feeds with the scales folded in")
      ->type_name("FILE.safetensors");
  command->add_option("--outputs", options->outputs, "Write the outputs here")->type_name("FILE.npy");
  command->add_option("--reading", options->reading, "Which of a packed layer's readings, where it has two")->type_name("NAME");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return linearCommand(program, *options); }; });
}

}  // namespace nibble::cli
