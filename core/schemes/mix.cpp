// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/schemes/mix.h"

#include "core/base/text.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace nibble {
namespace {

constexpr std::uint64_t inputStep = 32;
constexpr double shareSlack = 1e-6;

std::optional<MixPart> parsePart(std::string_view text) {
  const std::size_t colon = text.find("b:"), at = text.find('@');
  if (colon == std::string_view::npos || at == std::string_view::npos || at < colon) return std::nullopt;
  const auto bits = text::parseUnsigned(text.substr(0, colon));
  const auto share = text::parseDouble(text.substr(colon + 2, at - colon - 2));
  const auto group = text::parseUnsigned(text.substr(at + 1));
  if (!bits || !share || !group || *bits > 8) return std::nullopt;
  return MixPart{static_cast<std::uint8_t>(*bits), *share, *group};
}

Status checkParts(std::span<const MixPart> parts) {
  double sum = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (std::find(groupWidths.begin(), groupWidths.end(), parts[i].bits) == groupWidths.end())
      return fail("codes of " + text::number(std::int64_t{parts[i].bits}) + " bits; there are 8 6 5 4 3 2");
    if (i != 0 && parts[i].bits >= parts[i - 1].bits) return fail("widths must descend");
    if (!(parts[i].share > 0 && parts[i].share <= 1))
      return fail("a share of " + text::number(parts[i].share) + " is not in (0, 1]");
    if (parts[i].group == 0 || parts[i].group % inputStep != 0 || parts[i].group > 65536)
      return fail("a group of " + text::number(parts[i].group) + " is not a multiple of 32");
    sum += parts[i].share;
  }
  if (std::fabs(sum - 1) > shareSlack) return fail("the shares add up to " + text::number(sum) + ", not to 1");
  return {};
}

}  // namespace

Result<std::vector<MixPart>> parseMix(std::string_view textForm) {
  std::vector<MixPart> parts;
  const std::string quoted = "mix=" + std::string(textForm) + ": ";
  for (const std::string& word : text::split(textForm, '+')) {
    const auto part = parsePart(word);
    if (!part) return fail(quoted + "expected BITSb:SHARE@GROUP joined by '+', as 4b:0.9@128+3b:0.1@128");
    parts.push_back(*part);
  }
  if (auto legal = checkParts(parts); !legal) return fail(quoted + legal.error().message);
  return parts;
}

std::string mixText(std::span<const MixPart> parts) {
  std::string words;
  for (const MixPart& part : parts)
    words += (words.empty() ? "" : "+") + text::number(std::int64_t{part.bits}) + "b:" + text::number(part.share) + "@" +
             text::number(part.group);
  return words;
}

std::vector<WidthGroup> groupsOfMix(std::span<const MixPart> parts, std::uint64_t inputs, ShareRounding rounding) {
  std::vector<WidthGroup> groups;
  std::uint64_t left = inputs;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const MixPart& part = parts[i];
    const double exact = std::min(static_cast<double>(inputs) * part.share, static_cast<double>(left));
    // A share such as 0.9 is no binary number: a group more for its last bit would be nobody's wish.
    const double whole = exact / static_cast<double>(part.group);
    double count =
        rounding == ShareRounding::Up ? std::ceil(whole - shareSlack) : std::max(1.0, std::floor(whole + shareSlack));
    if (i + 1 == parts.size()) count = std::ceil(static_cast<double>(left) / static_cast<double>(part.group));
    for (; count > 0 && left > 0; --count) {
      groups.push_back({part.bits, std::min(part.group, left)});
      left -= groups.back().inputs;
    }
  }
  return groups;
}

std::vector<std::uint32_t> byImportance(std::span<const float> meanSquares) {
  std::vector<std::uint32_t> order(meanSquares.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return meanSquares[a] > meanSquares[b]; });
  return order;
}

}  // namespace nibble
