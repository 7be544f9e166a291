// SPDX-License-Identifier: GPL-3.0-or-later
// decode PATH --tensor NAME --out FILE.npy: an already-quantized layer, or any stored tensor, as float32.
#include "app/program.h"
#include "app/selection_options.h"
#include "core/base/text.h"
#include "core/io/npy.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

struct Options {
  SelectionOptions selection;
  std::string tensor, out, reading;
  bool json = false;
};

Status refuseSource(const Checkpoint& checkpoint, const std::filesystem::path& out) {
  std::error_code error;
  for (const auto& file : checkpoint.files())
    if (std::filesystem::equivalent(file, out, error))
      return fail(out.string() + ": is the source itself; it is never written over");
  return {};
}

// Where there are two ways to read a layer and none was asked for, the one taken is said.
void warnOfDoubt(const Program& program, const Options& options, const WeightList& weights) {
  const PackedLayer* layer = weights.packedLayer(options.tensor);
  if (layer != nullptr && options.reading.empty() && !layer->doubt.empty())
    program.warn(options.tensor + ": " + layer->doubt + " (--reading chooses)");
}

Result<ExitStatus> decodeCommand(Program& program, const Options& options) {
  const std::filesystem::path out(options.out);
  if (out.extension() != ".npy") return fail(options.out + ": the output must be named .npy");
  const auto weights = options.selection.open(program.context());
  if (!weights) return fail(weights.error());
  NIBBLE_TRY(refuseSource((*weights)->checkpoint(), out));
  const auto tensor = (*weights)->read(options.tensor, options.reading);
  if (!tensor) return fail(tensor.error().within(options.selection.path));
  warnOfDoubt(program, options, **weights);
  const auto values = tensor->readAll();
  if (!values) return fail(values.error());
  if (program.context().stopRequested()) return cancelled();
  NIBBLE_TRY(writeNpy(out, RawTensor{options.tensor, DType::F32, tensor->shape(), {}, std::as_bytes(std::span(*values))}));

  const auto item = (*weights)->packedItem(options.tensor);
  nlohmann::ordered_json json;
  json["tensor"] = options.tensor;
  json["quantizedAs"] = nullptr;
  if (item) json["quantizedAs"] = (*weights)->packedLayers()[*item->packed].layer.description;
  json["bitsPerWeight"] = item ? item->bitsPerWeight() : static_cast<double>(info(tensor->type()).bits);
  json["shape"] = tensor->shape();
  if (!options.reading.empty()) json["reading"] = options.reading;
  if (options.json) {
    program.printJson(json);
  } else {
    const std::string stored =
        json["quantizedAs"].is_null() ? std::string(info(tensor->type()).name) : std::string(json["quantizedAs"]);
    program.print(options.tensor + ": " + toText(tensor->shape()) + ", stored as " + stored + ", " +
                  text::digits(json["bitsPerWeight"], 5) + " bits per weight\nwritten to " + options.out + "\n");
  }
  return ExitStatus::Done;
}

}  // namespace

void addDecode(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("decode", "A quantized layer as float32");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_option("--tensor", options->tensor, "Which one")->type_name("NAME")->required();
  command->add_option("--out", options->out, "Where to")->type_name("FILE.npy")->required();
  command->add_option("--reading", options->reading, "Which of a layer's readings, where it has two: v1, v2")
      ->type_name("NAME");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return decodeCommand(program, *options); }; });
}

}  // namespace nibble::cli
