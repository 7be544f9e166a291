// SPDX-License-Identifier: GPL-3.0-or-later
// nibblescope-cli: the engine without a window. Wiring only; each command is a file under app/commands.
#include "app/interrupt.h"
#include "app/program.h"
#include "kernels/backend.h"

#include <cstdio>
#include <new>

namespace {

using namespace nibble::cli;

void addGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_option("--threads", options.threads, "Threads of parallel work; 0: one per core")->check(CLI::Range(0, 4096));
  app.add_option("--backend", options.backend, "Which arithmetic to use")
      ->check(CLI::IsMember({"host", "simd", "cuda", "auto"}));
  app.add_flag("--quiet", options.quiet, "Neither warnings nor progress");
  app.add_flag("--no-progress", options.noProgress, "No progress line");
  app.set_version_flag("--version", std::string("nibblescope-cli ") + NIBBLESCOPE_VERSION);
}

int finish(ExitStatus status) {
  return static_cast<int>(status);
}

int report(const nibble::Error& error) {
  std::fprintf(stderr, "nibblescope-cli: %s\n", oneLine(error.message).c_str());
  switch (error.kind) {
    case nibble::ErrorKind::Usage:
      return finish(ExitStatus::Usage);
    case nibble::ErrorKind::Cancelled:
      return finish(ExitStatus::Cancelled);
    case nibble::ErrorKind::Check:
      return finish(ExitStatus::CheckFailed);
    case nibble::ErrorKind::Input:
      break;
  }
  return finish(ExitStatus::Failed);
}

int execute(const GlobalOptions& options, const Action& action, const Interrupt& interrupt) try {
  Program program(options, interrupt.token());
  if (const auto started = program.start(); !started) return report(started.error());
  const auto status = action(program);
  if (const std::string notice = program.backend().notice(); !notice.empty())
    program.warn("backend " + std::string(program.backend().name()) + ": " + notice);
  if (!status) return report(status.error());
  if (const auto written = program.flush(); !written) return report(written.error());
  return finish(*status);
} catch (const std::bad_alloc&) {
  return report({nibble::ErrorKind::Input, "not enough memory"});
}

}  // namespace

int main(int argc, char** argv) {
  const Interrupt interrupt;
  GlobalOptions options;
  Action action;
  CLI::App app("Nibblescope without a window: quantize weights, see what breaks, export packed files.", "nibblescope-cli");
  app.require_subcommand(1);
  app.fallthrough();
  addGlobalOptions(app, options);
  addInfo(app, action);
  addCatalogues(app, action);
  addCompare(app, action);
  addExport(app, action);
  addDecode(app, action);
  addDiff(app, action);
  addInspect(app, action);
  addBench(app, action);
  addRun(app, action);
  addLinear(app, action);
  addModules(app, action);
  addTrain(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? finish(ExitStatus::Done) : finish(ExitStatus::Usage);
  }
  return execute(options, action, interrupt);
}
