// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/bit_scale.h"

#include "core/base/text.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace nibble::train {
namespace {

constexpr int fewestTrueBits = 1, mostTrueBits = 15;
constexpr double rangeBits = 64, widthBits = 8;  // minimum and maximum; how many bits a group's bits take

double logistic(double logit) {
  if (logit >= 0) return 1 / (1 + std::exp(-logit));
  const double e = std::exp(logit);
  return e / (1 + e);
}

double logNoise(double bits) {
  return -std::log(std::exp2(bits) - 1);
}

// Bits that say a group's bits, where the largest is `most`.
double bitsOfBits(double most, double minBits) {
  return std::max(0.0, std::ceil(std::log2(1 + std::max(0.0, std::nearbyint(most) - minBits))));
}

double sizeFrom(double sum, double most, std::size_t groups, std::uint64_t length, double minBits) {
  return static_cast<double>(length) * sum + rangeBits + widthBits + bitsOfBits(most, minBits) * static_cast<double>(groups);
}

// One [seq] at the start of `pattern`: its length, or 0 where the bracket is never closed and stands for itself.
std::size_t bracketLength(std::string_view pattern) {
  std::size_t end = 1;
  if (end < pattern.size() && pattern[end] == '!') ++end;
  if (end < pattern.size() && pattern[end] == ']') ++end;
  while (end < pattern.size() && pattern[end] != ']') ++end;
  return end < pattern.size() ? end + 1 : 0;
}

bool inBracket(std::string_view bracket, char c) {
  std::string_view inner = bracket.substr(1, bracket.size() - 2);
  const bool negated = inner.starts_with('!');
  if (negated) inner.remove_prefix(1);
  bool found = false;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (i + 2 < inner.size() && inner[i + 1] == '-') {
      found = found || (inner[i] <= c && c <= inner[i + 2]);
      i += 2;
    } else {
      found = found || inner[i] == c;
    }
  }
  return found != negated;
}

}  // namespace

BitScale::BitScale(const DiffqSettings& settings)
    : m_param(settings.param),
      m_min(settings.minBits),
      m_max(settings.maxBits),
      m_logLow(logNoise(settings.maxBits)),
      m_logHigh(logNoise(settings.minBits)) {}

double BitScale::logitOf(double bits) const {
  const double t = m_param == DiffqSettings::Param::Bits ? (bits - m_min) / (m_max - m_min)
                                                         : (logNoise(bits) - m_logHigh) / (m_logLow - m_logHigh);
  return std::log(t / (1 - t));
}

double BitScale::bits(double logit) const {
  if (m_param == DiffqSettings::Param::Noise) return std::log2(1 + 1 / noise(logit));
  const double t = logistic(logit);
  return m_max * t + m_min * (1 - t);
}

double BitScale::noise(double logit) const {
  if (m_param == DiffqSettings::Param::Bits) return 1 / (std::exp2(bits(logit)) - 1);
  const double t = logistic(logit);
  return std::exp(t * m_logLow + (1 - t) * m_logHigh);
}

double BitScale::bitsSlope(double logit) const {
  const double t = logistic(logit), slope = t * (1 - t);
  if (m_param == DiffqSettings::Param::Bits) return (m_max - m_min) * slope;
  return -(m_logLow - m_logHigh) * slope / (std::numbers::ln2 * (1 + noise(logit)));
}

double BitScale::noiseSlope(double logit) const {
  const double t = logistic(logit), slope = t * (1 - t);
  if (m_param == DiffqSettings::Param::Noise) return noise(logit) * (m_logLow - m_logHigh) * slope;
  const double power = std::exp2(bits(logit));
  return -std::numbers::ln2 * power / ((power - 1) * (power - 1)) * (m_max - m_min) * slope;
}

int trueBits(double bits) {
  return std::clamp(static_cast<int>(std::nearbyint(bits)), fewestTrueBits, mostTrueBits);
}

double sizeInBits(std::span<const double> bits, std::uint64_t length, double minBits) {
  double sum = 0, most = 0;
  for (const double b : bits) {
    sum += b;
    most = std::max(most, b);
  }
  return sizeFrom(sum, most, bits.size(), length, minBits);
}

double trueSizeInBits(std::span<const double> bits, std::uint64_t length, double minBits) {
  double sum = 0;
  int most = 0;
  for (const double b : bits) {
    const int rounded = trueBits(b);
    sum += rounded;
    most = std::max(most, rounded);
  }
  return sizeFrom(sum, most, bits.size(), length, minBits);
}

bool leftFloat(const DiffqSettings& settings, const std::string& name, std::uint64_t size) {
  if (static_cast<double>(size) <= std::floor(settings.minSizeMb * 1048576 / 4)) return true;
  const std::size_t dot = name.rfind('.');
  const std::string full = dot == std::string::npos ? "." + name : name;
  const std::string bare = dot == std::string::npos ? name : name.substr(dot + 1);
  return std::any_of(settings.exclude.begin(), settings.exclude.end(),
                     [&](const std::string& pattern) { return globMatches(pattern, full) || globMatches(pattern, bare); });
}

bool globMatches(std::string_view pattern, std::string_view text) {
  // Where to go on from when what follows the last * does not fit: one character of the text more for the *.
  std::string_view afterStar, retry;
  bool starred = false;
  while (true) {
    std::size_t used = 1;
    bool fits = false;
    if (pattern.empty()) {
      if (text.empty()) return true;
    } else if (pattern.front() == '*') {
      pattern.remove_prefix(1);
      afterStar = pattern;
      retry = text;
      starred = true;
      continue;
    } else if (!text.empty()) {
      const std::size_t bracket = pattern.front() == '[' ? bracketLength(pattern) : 0;
      if (bracket != 0) {
        fits = inBracket(pattern.substr(0, bracket), text.front());
        used = bracket;
      } else {
        fits = pattern.front() == '?' || pattern.front() == text.front();
      }
    }
    if (fits) {
      pattern.remove_prefix(used);
      text.remove_prefix(1);
      continue;
    }
    if (!starred || retry.empty()) return false;
    retry.remove_prefix(1);
    pattern = afterStar;
    text = retry;
  }
}

Status check(const DiffqSettings& settings) {
  const auto number = [](double value) { return text::number(value); };
  if (!(settings.minBits >= fewestTrueBits && settings.minBits < settings.initBits && settings.initBits < settings.maxBits &&
        settings.maxBits <= mostTrueBits))
    return fail("bits are to be 1 <= fewest < first < most <= 15, not " + number(settings.minBits) + ", " +
                number(settings.initBits) + ", " + number(settings.maxBits));
  const auto positive = [](double value) { return value >= 0 && std::isfinite(value); };
  if (!positive(settings.lambda)) return fail("lambda is a number of 0 or more, not " + number(settings.lambda));
  if (!positive(settings.extraBits)) return fail("extra bits are a number of 0 or more, not " + number(settings.extraBits));
  if (!positive(settings.logitsLearningRate))
    return fail("a learning rate of logits is a number of 0 or more, not " + number(settings.logitsLearningRate));
  if (!positive(settings.minSizeMb))
    return fail("a smallest size is a number of 0 or more MB, not " + number(settings.minSizeMb));
  return {};
}

}  // namespace nibble::train
