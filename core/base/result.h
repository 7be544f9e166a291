// SPDX-License-Identifier: GPL-3.0-or-later
// Result<T>: what the world may get wrong (files, settings text, devices, disks), as a value.
// An error says what and where in one line; whoever knows more about the place puts it in front with `within`.
// Nothing in core throws across a function boundary; library exceptions become an Error where they are caught.
#pragma once
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace nibble {

enum class ErrorKind {
  Input,      // a file, value or setting is wrong (exit status 1)
  Usage,      // the command line is wrong (exit status 2)
  Cancelled,  // the stop token was raised (exit status 130)
  Check,      // the work was done, but a check that was asked for failed (exit status 3)
};

struct Error {
  ErrorKind kind = ErrorKind::Input;
  std::string message;

  // "where: message", for the caller that knows the file or tensor.
  [[nodiscard]] Error within(const std::string& where) const { return {kind, where + ": " + message}; }
  bool operator==(const Error&) const = default;
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> fail(std::string message, ErrorKind kind = ErrorKind::Input) {
  return tl::unexpected<Error>(Error{kind, std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }
[[nodiscard]] inline tl::unexpected<Error> cancelled() { return fail("cancelled", ErrorKind::Cancelled); }

}  // namespace nibble

// Evaluates a Result or Status; on error returns it from the enclosing function.
#define NIBBLE_TRY(expression)                                                    \
  do {                                                                            \
    if (auto nibbleStatus = (expression); !nibbleStatus)                          \
      return tl::unexpected<::nibble::Error>(std::move(nibbleStatus).error());    \
  } while (false)
