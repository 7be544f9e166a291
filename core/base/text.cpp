// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/base/text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace nibble::text {
namespace {

template <class T>
std::string shortest(T value) {
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  return {buffer.data(), end};
}

template <class T>
std::optional<T> parse(std::string_view text) {
  T value{};
  const char* last = text.data() + text.size();
  const auto [end, code] = std::from_chars(text.data(), last, value);
  if (code != std::errc{} || end != last || text.empty()) return std::nullopt;
  return value;
}

std::string fixed(double value, int decimals) {
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, decimals).ptr;
  return {buffer.data(), end};
}

}  // namespace

std::string number(double value) { return shortest(value); }
std::string number(float value) { return shortest(value); }
std::string number(std::int64_t value) { return shortest(value); }
std::string number(std::uint64_t value) { return shortest(value); }

std::string digits(double value, int significant) {
  std::array<char, 64> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::general, significant).ptr;
  return {buffer.data(), end};
}

std::optional<double> parseDouble(std::string_view text) { return parse<double>(text); }
std::optional<std::int64_t> parseInteger(std::string_view text) { return parse<std::int64_t>(text); }
std::optional<std::uint64_t> parseUnsigned(std::string_view text) { return parse<std::uint64_t>(text); }

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string joined;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) joined += separator;
    joined += part;
  }
  return joined;
}

std::string byteSize(std::uint64_t bytes) {
  constexpr double kibi = 1024.0;
  const double size = static_cast<double>(bytes);
  if (bytes < 1024) return number(bytes) + " bytes";
  if (size < kibi * kibi) return fixed(size / kibi, 1) + " KiB";
  if (size < kibi * kibi * kibi) return fixed(size / (kibi * kibi), 2) + " MiB";
  return fixed(size / (kibi * kibi * kibi), 2) + " GiB";
}

}  // namespace nibble::text
