// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/presets.h"

#include <string>

namespace nibble {
namespace {

constexpr const char* preferred = "hqq";
constexpr const char* baseline = "float";  // four times the size of the others: it would flatten every plot

}  // namespace

std::optional<Choice> firstChoice() {
  if (const Scheme* scheme = findScheme(preferred)) return Choice(*scheme);
  if (allSchemes().empty()) return std::nullopt;
  return Choice(*allSchemes().front());
}

Result<Choice> previewChoice(int bits) {
  return Choice::parse(std::string(preferred) + ":bits=" + std::to_string(bits) + ",group=64");
}

std::vector<Choice> reportChoices() {
  std::vector<Choice> choices;
  for (const int bits : {8, 4, 3, 2})
    if (auto choice = previewChoice(bits)) choices.push_back(*choice);
  for (const Scheme* scheme : allSchemes())
    if (scheme->info().id != preferred && scheme->info().id != baseline) choices.emplace_back(*scheme);
  return choices;
}

namespace {

std::vector<Choice> parsedAll(std::initializer_list<const char*> texts) {
  std::vector<Choice> choices;
  for (const char* text : texts)
    if (auto choice = Choice::parse(text)) choices.push_back(*std::move(choice));
  return choices;
}

}  // namespace

std::vector<Choice> layerWeightChoices() { return parsedAll({"uniform:bits=8,granularity=channel"}); }

std::vector<Choice> layerInputChoices() {
  return parsedAll({"uniform:bits=8,granularity=tensor,kind=activation", "uniform:bits=8,granularity=token,kind=activation",
                    "uniform:bits=4,granularity=token,kind=activation"});
}

}  // namespace nibble
