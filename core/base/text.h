// SPDX-License-Identifier: GPL-3.0-or-later
// Numbers to text and back, whatever the process locale: C locale, shortest form that reads back to the same value.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::text {

std::string number(double value);            // shortest round-trip, "4", "0.7", "1e-05"
std::string number(float value);
std::string number(std::int64_t value);
std::string number(std::uint64_t value);
// Fixed count of significant digits as printf's %.*g does: 9 for float32, 17 for double (cli.md).
std::string digits(double value, int significant);

std::optional<double> parseDouble(std::string_view text);            // the whole text or nothing
std::optional<std::int64_t> parseInteger(std::string_view text);
std::optional<std::uint64_t> parseUnsigned(std::string_view text);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
// "1.50 MiB", "288.0 KiB", "12 bytes".
std::string byteSize(std::uint64_t bytes);

}  // namespace nibble::text
