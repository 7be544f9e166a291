// SPDX-License-Identifier: GPL-3.0-or-later
// run SESSION.nibble: what a saved session holds, headless. The candidates are compared on the session's tensors; with --out
// the figures are also written as compare.json, and the export that the session was set to is made beside it. A session that
// was saved on the Train page trains, as `train` does; --out takes what `train --out` writes.
#include "app/compare_output.h"
#include "app/export_output.h"
#include "app/program.h"
#include "app/selection_options.h"
#include "app/train_run.h"
#include "core/io/atomic_file.h"
#include "core/export/staging.h"
#include "core/run/session_file.h"
#include "core/train/train_session.h"
#include "kernels/backend.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {
namespace {

struct Options {
  std::string session, out;
  bool json = false;
};

Result<std::vector<Choice>> choices(const SessionFile& session) {
  std::vector<std::string> texts = session.candidates;
  if (texts.empty() && !session.choice.empty()) texts.push_back(session.choice);
  std::vector<Choice> parsed;
  for (const std::string& text : texts) {
    auto choice = Choice::parse(text);
    if (!choice) return fail(choice.error());
    parsed.push_back(*std::move(choice));
  }
  if (parsed.empty()) return fail("the session holds neither candidates nor a scheme");
  return parsed;
}

Result<std::vector<std::string>> tensors(const SessionFile& session, const WeightList& weights) {
  if (!session.tensors.empty()) return weights.select(session.tensors, "");
  if (!session.tensor.empty()) return weights.select({session.tensor}, "");
  return weights.select({}, "");
}

// The session's backend, unless the command line asked for another one.
Status chooseBackend(Program& program, const SessionFile& session) {
  if (program.backendWasChosen()) return {};
  const kernels::Backend* backend = kernels::findBackend(session.backend);
  if (backend == nullptr) return fail("backend " + session.backend + " of the session is not built in");
  if (!backend->unusableReason().empty()) {
    program.warn("backend " + session.backend + " of the session cannot run here: " + std::string(backend->unusableReason()));
    return {};
  }
  program.useBackend(*backend);
  return {};
}

Result<ExitStatus> exportSession(Program& program, const SessionFile& session, const WeightList& weights,
                                 const std::vector<std::string>& names, const std::filesystem::path& folder) {
  if (session.exporting.format.empty()) return ExitStatus::Done;
  ExportJob job;
  job.format = findFormat(session.exporting.format);
  if (job.format == nullptr) return fail("unknown format '" + session.exporting.format + "' in the session");
  const auto choice = Choice::parse(session.choice);
  if (!choice) return fail(choice.error());
  job.checkpoint = weights.shared();
  for (const std::string& name : names) job.tensors.emplace_back(name, *choice);
  job.runtime = session.exporting.runtime;
  job.out = folder / (session.exporting.format + std::string(job.format->info().extension));
  const auto result = exportTensors(job, program.context());
  if (!result) return fail(result.error());
  NIBBLE_TRY(writeFileAtomically(folder / "export.json", exportJson(*result).dump(2) + "\n"));
  return exportPassed(job, *result) ? ExitStatus::Done : ExitStatus::CheckFailed;
}

Result<ExitStatus> writeResults(Program& program, const SessionFile& session, const WeightList& weights,
                                const std::vector<std::string>& names, const nlohmann::ordered_json& document,
                                const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(folder.string() + ": " + error.message());
  NIBBLE_TRY(writeFileAtomically(folder / "compare.json", document.dump(2) + "\n"));
  return exportSession(program, session, weights, names, folder);
}

bool trains(const SessionFile& session) { return session.page == "train"; }

Result<ExitStatus> trainSession(Program& program, const Options& options, const SessionFile& session, const WeightList& weights) {
  auto job = train::sessionJob(session, weights);
  if (!job) return fail(job.error());
  job->warn = [&program](const std::string& line) { program.warn(line); };
  if (!options.out.empty()) {
    NIBBLE_TRY(checkDestination(options.out, true));
    NIBBLE_TRY(checkNotSource(weights.checkpoint(), options.out));
  }
  const auto progress = program.showProgress("train");
  TrainFiles files;
  files.out = options.out;
  const auto result = trainRun(*job, train::sessionBreakpoints(session.view), files, program.context());
  if (!result) return fail(result.error());
  if (options.json)
    program.printJson(trainJson(*result));
  else
    program.print(trainText(*result));
  return result->stop == train::StopReason::Reached ? ExitStatus::Done : ExitStatus::CheckFailed;
}

Result<ExitStatus> runSession(Program& program, const Options& options, const SessionFile& session) {
  NIBBLE_TRY(chooseBackend(program, session));
  if (session.checkpoint.empty()) return fail("the session has no checkpoint open");
  const Context context = program.context();
  const auto weights = openWeights(session.checkpoint.string(), context);
  if (!weights) return fail(weights.error());
  if (trains(session)) return trainSession(program, options, session, **weights);
  auto parsed = choices(session);
  if (!parsed) return fail(parsed.error());
  const auto names = tensors(session, **weights);
  if (!names) return fail(names.error());
  CompareJob job;
  job.weights = weights->get();
  job.tensors = *names;
  job.choices = *std::move(parsed);
  job.warn = [&program](const std::string& line) { program.warn(line); };
  const auto progress = program.showProgress("run");
  const auto candidates = compare(job, context);
  if (!candidates) return fail(candidates.error());
  const auto document = compareJson(session.checkpoint.string(), program.backend().name(), *candidates);
  if (options.json) {
    program.printJson(document);
  } else {
    program.print(compareTable(*candidates));
  }
  return options.out.empty() ? ExitStatus::Done : writeResults(program, session, **weights, *names, document, options.out);
}

Result<ExitStatus> runCommand(Program& program, const Options& options) {
  const auto session = SessionFile::read(options.session);
  if (!session) return fail(session.error());
  auto status = runSession(program, options, *session);
  if (!status && status.error().kind == ErrorKind::Input) return fail(status.error().within(options.session));
  return status;
}

}  // namespace

void addRun(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("run", "A saved session, headless: the numbers the window shows");
  const auto options = std::make_shared<Options>();
  command->add_option("SESSION", options->session, "Session file (.nibble)")->required();
  command->add_option("--out", options->out, "Folder for compare.json and the session's export, or for what was trained")->type_name("DIR");
  command->add_flag("--json", options->json, "One JSON document");
  command->callback([&chosen, options] { chosen = [options](Program& program) { return runCommand(program, *options); }; });
}

}  // namespace nibble::cli
