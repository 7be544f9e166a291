// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/program.h"

#include "core/formats/format.h"
#include "kernels/backend.h"

#include <nlohmann/json.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace nibble::cli {

Program::Program(GlobalOptions options, std::stop_token stop)
    : m_options(std::move(options)), m_stop(std::move(stop)), m_backend(&kernels::defaultBackend()) {}

Status Program::start() {
  kernels::setThreadCount(m_options.threads);
  const kernels::Backend* backend = kernels::findBackend(m_options.backend);
  if (backend == nullptr) return fail("backend " + m_options.backend + " is not built in");
  if (!backend->unusableReason().empty())
    return fail("backend " + m_options.backend + " cannot run here: " + std::string(backend->unusableReason()));
  m_backend = backend;
  return {};
}

Context Program::context() {
  return {m_backend, m_stop, &m_progress};
}

std::unique_ptr<ProgressLine> Program::showProgress(const std::string& title) {
  const bool shown = !m_options.quiet && !m_options.noProgress && isatty(STDERR_FILENO) != 0;
  return std::make_unique<ProgressLine>(title, m_progress, shown);
}

void Program::warn(const std::string& line) const {
  if (!m_options.quiet) std::fprintf(stderr, "nibblescope-cli: warning: %s\n", oneLine(line).c_str());
}

// Names come from files: bytes that are no UTF-8 become U+FFFD instead of failing the whole document.
void Program::printJson(const nlohmann::ordered_json& document) {
  m_output += document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  m_output += '\n';
}

Status Program::flush() {
  const bool written = std::fwrite(m_output.data(), 1, m_output.size(), stdout) == m_output.size();
  if (!written || std::fflush(stdout) != 0) return fail(std::string("standard output: ") + std::strerror(errno));
  m_output.clear();
  return {};
}

std::vector<std::string> formatIds() {
  std::vector<std::string> ids;
  for (const Format* format : allFormats()) ids.emplace_back(format->info().id);
  return ids;
}

std::vector<std::string> runtimeIds() {
  std::vector<std::string> ids;
  for (const Format* format : allFormats())
    for (const std::string_view runtime : format->info().runtimes)
      if (std::find(ids.begin(), ids.end(), runtime) == ids.end()) ids.emplace_back(runtime);
  return ids;
}

std::string oneLine(const std::string& text) {
  std::string line = text;
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return line;
}

}  // namespace nibble::cli
