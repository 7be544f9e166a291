// SPDX-License-Identifier: GPL-3.0-or-later
#include "tests/support/walls.h"

#include <algorithm>
#include <array>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

namespace nibble::test {
namespace {

bool startsWith(const std::string& text, const std::string& head) {
  return text.rfind(head, 0) == 0;
}
bool isSource(const std::string& path) {
  return std::regex_search(path, std::regex(R"(\.(cpp|h|cu|cuh)$)"));
}
std::string topOf(const std::string& path) {
  return path.substr(0, path.find('/'));
}
std::string nameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// Files where rounding half away from zero is the reference's own, each through a named function.
const std::set<std::string> roundingAllowed{"kernels/math/block_rounding.h"};

// The benchmark times fixed choices by their text; a distribution, methods, variants and noise of training, a runtime and a
// container have the names of schemes and formats.
const std::set<std::string> namesAllowed{"core/run/bench_schemes.cpp",   "core/tensor/synthetic.cpp",
                                         "core/train/methods.cpp",       "core/train/train_settings.cpp",
                                         "ui/session/load_command.cpp",  "core/io/gguf.h",
                                         "core/io/gguf.cpp",             "core/run/activation_files.cpp"};

std::optional<std::string> includedBy(const std::string& line) {
  static const std::regex include(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"])");
  std::smatch match;
  if (!std::regex_search(line, match, include)) return std::nullopt;
  return match[1].str();
}

// kernels <- core <- ui <- app: each may include those before it.
std::optional<std::string> layerBroken(const std::string& path, const std::string& included) {
  static const std::array<std::string, 4> layers{"kernels", "core", "ui", "app"};
  const auto mine = std::find(layers.begin(), layers.end(), topOf(path));
  const auto theirs = std::find(layers.begin(), layers.end(), topOf(included));
  if (mine == layers.end() || included.find('/') == std::string::npos) return std::nullopt;
  if (topOf(included) == "tests") return "includes " + included + ": only tests include tests";
  if (theirs == layers.end() || theirs <= mine) return std::nullopt;
  return topOf(path) + " includes " + included + ": kernels <- core <- ui <- app, never back";
}

std::optional<std::string> libraryBroken(const std::string& path, const std::string& included) {
  static const std::regex qt(R"(^(Q[A-Z]\w*(/\w+)?|Qt\w+(/\w+)?|qt\w*\.h|q[a-z]+\.h)$)");
  const std::string top = topOf(path);
  if (included == "qcustomplot.h") {
    if (startsWith(path, "ui/plots/") && path.ends_with(".cpp")) return std::nullopt;
    return "qcustomplot.h outside ui/plots/*.cpp";
  }
  if (included == "cuda_runtime.h" || included == "cuda.h" || included == "cuda_runtime_api.h") {
    if (startsWith(path, "kernels/cuda/")) return std::nullopt;
    return included + " outside kernels/cuda";
  }
  if ((top == "kernels" || top == "core") && std::regex_match(included, qt)) return "Qt (" + included + ") in " + top;
  if (path == "app/cli_main.cpp" || startsWith(path, "app/commands/")) {
    if (startsWith(included, "ui/") || std::regex_match(included, qt)) return "the command line includes " + included;
  }
  return std::nullopt;
}

std::optional<std::string> formatBroken(const std::string& path, const std::string& included) {
  static const std::regex folder(R"(^core/formats/(\w+)/)");
  std::smatch match;
  if (!std::regex_search(included, match, folder) || topOf(path) == "tests") return std::nullopt;
  const std::string home = "core/formats/";
  const bool catalogue = startsWith(path, home) && path.find('/', home.size()) == std::string::npos;
  if (catalogue || startsWith(path, match[0].str())) return std::nullopt;
  return "includes " + included + ": a packed format is known only in its own folder and in the list of formats";
}

// A scheme's or format's id as a whole string, or as the head of a choice's text.
std::optional<std::string> nameBroken(const std::string& path, const std::string& line, const WallFacts& facts) {
  if (topOf(path) == "tests" || startsWith(path, "core/formats/") || startsWith(path, "core/schemes/")) return std::nullopt;
  if (nameOf(path).find("preset") != std::string::npos || namesAllowed.contains(path)) return std::nullopt;
  const auto names = [&line](const std::string& id) {
    return line.find("\"" + id + "\"") != std::string::npos || line.find("\"" + id + ":") != std::string::npos;
  };
  for (const std::string& scheme : facts.schemes)
    if (names(scheme)) return "names the scheme \"" + scheme + "\": schemes are known by the catalogue";
  for (const std::string& format : facts.formats)
    if (names(format) && format != "npz") return "names the format \"" + format + "\": formats are known by their list";
  return std::nullopt;
}

std::optional<std::string> otherSchemeBroken(const std::string& path, const std::string& line, const WallFacts& facts) {
  if (!startsWith(path, "core/schemes/")) return std::nullopt;
  const std::string own = nameOf(path).substr(0, nameOf(path).rfind('.'));
  if (std::find(facts.schemes.begin(), facts.schemes.end(), own) == facts.schemes.end()) return std::nullopt;
  for (const std::string& scheme : facts.schemes)
    if (scheme != own && std::regex_search(line, std::regex("(^|\\W)" + scheme + R"(Scheme\(\))")))
      return own + " calls " + scheme + "'s scheme";
  return std::nullopt;
}

std::optional<std::string> roundingBroken(const std::string& path, const std::string& line) {
  static const std::regex away(R"(std::l{0,2}round[fl]?\s*\(|(^|[^\w:])l{0,2}round[fl]?\s*\(|\bqRound)");
  if ((topOf(path) != "core" && topOf(path) != "kernels") || roundingAllowed.contains(path)) return std::nullopt;
  if (!std::regex_search(line, away)) return std::nullopt;
  return "rounds half away from zero; std::nearbyint rounds half to even";
}

// A GUI test that sets values or calls slots proves nothing about what a person can do.
std::optional<std::string> guiTestBroken(const std::string& path, const std::string& line) {
  // Opening a file of the test's own is no slot of the window.
  static const std::regex call(
      R"((->|\.)(set(Value|Text|PlainText|Checked|Current\w+|SliderPosition|Selection\w*|State|Range)|click|animateClick|toggle|trigger|undo|redo|select\w*|open\w*|activate\w*|emit\w*)\s*\((?!\s*QIODevice))"
      R"(|\b(emit|Q_EMIT)\b|QMetaObject::invokeMethod|QMetaMethod)");
  if (!std::regex_search(path, std::regex(R"(^tests/ui/.*\b(test_)?gui_\w+\.(cpp|h)$)"))) return std::nullopt;
  if (const auto included = includedBy(line))
    if (startsWith(*included, "ui/session/") || startsWith(*included, "core/run/")) return "a GUI test includes " + *included;
  std::smatch match;
  if (!std::regex_search(line, match, call)) return std::nullopt;
  return "a GUI test calls " + match.str() + ": only mouse, key and drop events count";
}

}  // namespace

std::string withoutComments(const std::string& text) {
  std::string out;
  enum { Code, Line, Block, Quote } state = Code;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '\n' && state != Block) state = Code;
    if (state == Code && c == '/' && (next == '/' || next == '*')) {
      state = next == '/' ? Line : Block;
      ++i;
    } else if (state == Block) {
      if (c == '\n') out += c;
      if (c == '*' && next == '/') state = Code, ++i;
    } else if (state == Quote && c == '\\') {
      out += {c, next};
      ++i;
    } else if (state != Line) {
      // A digit separator is no quote.
      const bool separator = c == '\'' && !out.empty() && std::isalnum(static_cast<unsigned char>(out.back())) != 0;
      if (state == Quote && c == quote)
        state = Code;
      else if (state == Code && (c == '"' || (c == '\'' && !separator)))
        state = Quote, quote = c;
      out += c;
    }
  }
  return out;
}

std::vector<WallFinding> wallFindings(const std::string& path, const std::string& text, const WallFacts& facts) {
  std::vector<WallFinding> findings;
  if (!isSource(path)) return findings;
  if (!startsWith(text, "// SPDX-License-Identifier: GPL-3.0-or-later\n"))
    findings.push_back({path, 1, "the first line is not the SPDX line"});
  std::istringstream lines(withoutComments(text));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const auto note = [&](std::optional<std::string> what) {
      if (what) findings.push_back({path, number, *what});
    };
    if (const auto included = includedBy(line)) {
      note(layerBroken(path, *included));
      note(libraryBroken(path, *included));
      note(formatBroken(path, *included));
    } else {
      note(nameBroken(path, line, facts));
    }
    note(otherSchemeBroken(path, line, facts));
    note(roundingBroken(path, line));
    note(guiTestBroken(path, line));
  }
  return findings;
}

std::vector<WallFinding> proofFindings(const SourceTree& tree) {
  std::vector<WallFinding> findings;
  for (const auto& [path, text] : tree) {
    if (!startsWith(path, "core/formats/") || !startsWith(nameOf(path), "proof")) continue;
    std::vector<std::string> open{path};
    std::set<std::string> seen{path};
    while (!open.empty()) {
      const std::string file = open.back();
      open.pop_back();
      std::istringstream lines(withoutComments(tree.at(file)));
      std::string line;
      for (int number = 1; std::getline(lines, line); ++number) {
        const auto included = includedBy(line);
        if (!included || !tree.contains(*included) || !seen.insert(*included).second) continue;
        // The vectors of GGUF's iq types are facts of the format, far too many to stand twice.
        const bool shared = startsWith(*included, "core/base/") || startsWith(nameOf(*included), "proof") ||
                            *included == "kernels/math/vector_tables.h";
        if (!shared)
          findings.push_back({path, number, "a proof decoder reaches " + *included + (file == path ? "" : " through " + file)});
        else
          open.push_back(*included);
      }
    }
  }
  return findings;
}

}  // namespace nibble::test
