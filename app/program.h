// SPDX-License-Identifier: GPL-3.0-or-later
// What every command of nibblescope-cli shares: global options, the context for core, and where text goes. Data is collected
// and written to standard output once, at the end, so that a failed command prints none of it; warnings and progress go to
// standard error at once. Used from the main thread only.
#pragma once
#include "app/progress_line.h"
#include "core/base/context.h"
#include "core/base/result.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace nibble::cli {

// Fixed by the command line's contract.
enum class ExitStatus : int { Done = 0, Failed = 1, Usage = 2, CheckFailed = 3, Cancelled = 130 };

struct GlobalOptions {
  int threads = 0;  // 0: one per core
  std::string backend = "auto";
  bool quiet = false, noProgress = false;
};

class Program {
 public:
  Program(GlobalOptions options, std::stop_token stop);

  // Fails for a backend that this machine cannot run.
  Status start();
  [[nodiscard]] Context context();
  // Whether the command line named one.
  [[nodiscard]] bool backendWasChosen() const { return m_options.backend != "auto"; }
  void useBackend(const kernels::Backend& backend) { m_backend = &backend; }
  [[nodiscard]] const kernels::Backend& backend() const { return *m_backend; }
  // Shows the progress of `context()` while the answer lives.
  [[nodiscard]] std::unique_ptr<ProgressLine> showProgress(const std::string& title);

  void warn(const std::string& line) const;
  void print(std::string_view text) { m_output += text; }
  void printJson(const nlohmann::ordered_json& document);
  // Everything printed so far to standard output.
  Status flush();

 private:
  GlobalOptions m_options;
  std::stop_token m_stop;
  Progress m_progress;
  const kernels::Backend* m_backend = nullptr;
  std::string m_output;
};

using Action = std::function<Result<ExitStatus>(Program&)>;

// Adds one command to the parser; when it is the one called, `chosen` is what runs it.
void addInfo(CLI::App& app, Action& chosen);
void addCatalogues(CLI::App& app, Action& chosen);
void addCompare(CLI::App& app, Action& chosen);
void addExport(CLI::App& app, Action& chosen);
void addDecode(CLI::App& app, Action& chosen);
void addDiff(CLI::App& app, Action& chosen);
void addInspect(CLI::App& app, Action& chosen);
void addBench(CLI::App& app, Action& chosen);
void addRun(CLI::App& app, Action& chosen);
void addLinear(CLI::App& app, Action& chosen);
void addModules(CLI::App& app, Action& chosen);
void addTrain(CLI::App& app, Action& chosen);

// Ids of the packed formats and of the runtimes they name, for checks and lists.
std::vector<std::string> formatIds();
std::vector<std::string> runtimeIds();

// One line: control characters, which a hostile file may have put into a name, become spaces.
std::string oneLine(const std::string& text);

}  // namespace nibble::cli
