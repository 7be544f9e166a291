// SPDX-License-Identifier: GPL-3.0-or-later
// inspect PATH --tensor NAME --row R --column C: the bit microscope as text, for one weight.
#include "app/activation_options.h"
#include "app/program.h"
#include "app/selection_options.h"
#include "app/text_table.h"
#include "core/base/text.h"
#include "core/report/microscope.h"
#include "core/run/run.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  SelectionOptions selection;
  ActivationOptions activations;
  std::string tensor, scheme, format, reading;
  std::uint64_t row = 0, column = 0;
  bool json = false;
};

struct Subject {
  std::optional<Tensor> weights;  // none: only the packed layer is known
  std::shared_ptr<const QuantizedTensor> quantized;
};

Result<Subject> quantize(Program& program, const Options& options, const WeightList& weights) {
  const auto choice = Choice::parse(options.scheme);
  if (!choice) return fail(choice.error());
  auto tensor = weights.read(options.tensor, options.reading);
  if (!tensor) return fail(tensor.error().within(options.selection.path));
  const auto activations = options.activations.read(program, weights, {options.tensor});
  if (!activations) return fail(activations.error());
  Context context = program.context();
  context.activations = &*activations;
  ReportOptions report;
  report.percentile = false;
  auto outcome = run(*tensor, *choice, context, report);
  if (!outcome) return fail(outcome.error());
  return Subject{*std::move(tensor), outcome->quantized};
}

Result<Subject> subject(Program& program, const Options& options, const WeightList& weights) {
  if (!options.scheme.empty()) return quantize(program, options, weights);
  const auto shape = weights.shapeOf(options.tensor);
  if (!shape) return fail(shape.error().within(options.selection.path));
  const auto item = weights.packedItem(options.tensor);
  if (!item) return fail(options.tensor + ": is not quantized; say with --scheme how it is to be");
  auto packed = weights.readPacked(*item, options.reading);
  if (!packed) return fail(packed.error());
  return Subject{std::nullopt, std::make_shared<const QuantizedTensor>(*std::move(packed))};
}

Result<std::shared_ptr<const Layout>> layoutOf(const Options& options, const QuantizedTensor& quantized) {
  if (options.format.empty()) return quantized.layout;
  const Format* format = findFormat(options.format);
  auto layout = format->layout(quantized);
  if (layout != nullptr) return layout;
  return fail(options.format + " cannot hold " + options.tensor + ": " + format->refusal(quantized).value_or("no layout"));
}

// What is shown of the chosen weight, once for both outputs.
struct View {
  const Options& options;
  const Subject& subject;
  const Microscope& scope;
  const PackedView& packed;
  std::vector<BitPlace> places;
};

Json placeJson(const View& view, const BitPlace& place) {
  return {{"wordIndex", place.word},
          {"word", "0x" + view.packed.hex(place.value)},
          {"bitRange", {place.firstBit, place.firstBit + place.width - 1}},
          {"codeShift", place.codeShift}};
}

Json inspectJson(const View& view) {
  const MicroscopeMember& weight = view.scope.chosen();
  Json json{{"tensor", view.options.tensor},  {"scheme", view.subject.quantized->scheme},
            {"row", view.scope.row},          {"column", view.scope.column},
            {"group", view.scope.group},      {"groupSize", view.scope.groupSize},
            {"grouping", view.scope.grouping}};
  json["scale"] = view.scope.hasScale ? Json(view.scope.scale) : Json();
  json["zero"] = view.scope.hasZero ? Json(view.scope.zero) : Json();
  json["code"] = weight.code;
  json["codeBits"] = view.scope.width;
  json["layout"] = view.packed.layoutName();
  json["wordBits"] = view.packed.wordBits();
  if (!view.places.empty()) json.update(placeJson(view, view.places.front()));
  json.erase("codeShift");
  json["places"] = Json::array();
  for (const BitPlace& place : view.places) json["places"].push_back(placeJson(view, place));
  json["value"] = weight.decoded;
  json["weight"] = view.subject.weights ? Json(weight.weight) : Json();
  json["error"] = view.subject.weights ? Json(weight.error) : Json();
  return json;
}

std::string inspectText(const View& view) {
  const Microscope& scope = view.scope;
  const MicroscopeMember& weight = scope.chosen();
  TextTable table({{view.options.tensor}, {"[" + text::number(scope.row) + ", " + text::number(scope.column) + "]"}});
  table.add({"scheme", view.subject.quantized->scheme});
  table.add({"group", text::number(scope.group) + " of " + scope.grouping + ", " + text::number(scope.groupSize) + " weights"});
  if (scope.hasScale) table.add({"scale", text::number(scope.scale)});
  if (scope.hasZero) table.add({scope.rule == ValueRule::ScalePlusBias ? "bias" : "zero", text::number(scope.zero)});
  table.add({"code", text::number(weight.code) + " (" + std::to_string(scope.width) + " bits)"});
  table.add({"layout", view.packed.layoutName() + ", words of " + std::to_string(view.packed.wordBits()) + " bits"});
  for (const BitPlace& place : view.places) {
    const int last = place.firstBit + place.width - 1;
    table.add({"word " + text::number(place.word),
               "0x" + view.packed.hex(place.value) + ", bits " + std::to_string(place.firstBit) + ".." + std::to_string(last)});
  }
  table.add({"value", text::number(weight.decoded)});
  if (view.subject.weights) {
    table.add({"weight", text::number(weight.weight)});
    table.add({"error", text::number(weight.error)});
  }
  return table.text();
}

Result<ExitStatus> inspectCommand(Program& program, const Options& options) {
  const auto weights = options.selection.open(program.context());
  if (!weights) return fail(weights.error());
  const auto found = subject(program, options, **weights);
  if (!found) return fail(found.error());
  const auto layout = layoutOf(options, *found->quantized);
  if (!layout) return fail(layout.error());
  const auto scope = microscope(found->weights ? &*found->weights : nullptr, *found->quantized, options.row, options.column);
  if (!scope) return fail(scope.error().within(options.tensor));
  const PackedView packed(found->quantized, *layout);
  auto places = packed.places(scope->chosen().codeIndex);
  if (!places) return fail(places.error().within(options.tensor));
  const View view{options, *found, *scope, packed, *std::move(places)};
  if (options.json) {
    program.printJson(inspectJson(view));
  } else {
    program.print(inspectText(view));
  }
  return ExitStatus::Done;
}

}  // namespace

void addInspect(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("inspect", "One weight down to its bits");
  const auto options = std::make_shared<Options>();
  options->selection.addPath(*command);
  command->add_option("--tensor", options->tensor, "Which one")->type_name("NAME")->required();
  command->add_option("--row", options->row, "Output channel, from 0")->type_name("R")->required();
  command->add_option("--column", options->column, "Input channel, from 0")->type_name("C")->required();
  command->add_option("--scheme", options->scheme, "How to quantize it; a packed layer is shown as it is stored")
      ->type_name("SCHEME");
  options->activations.add(*command);
  command->add_option("--format", options->format, "Bits as this format packs them")->check(CLI::IsMember(formatIds()));
  command->add_option("--reading", options->reading, "Which of a packed layer's readings, where it has two: v1, v2")
      ->type_name("NAME");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return inspectCommand(program, *options); }; });
}

}  // namespace nibble::cli
