// SPDX-License-Identifier: GPL-3.0-or-later
// A text as one word of a POSIX shell: quoted where it must be.
#pragma once
#include <QString>
#include <algorithm>
#include <string>

namespace nibble {

inline QString shellWord(const QString& text) {
  static const QString plain = QStringLiteral("-_./:=,@%+");
  const bool safe = !text.isEmpty() && std::all_of(text.begin(), text.end(), [](QChar c) {
    return (c.unicode() < 128 && c.isLetterOrNumber()) || plain.contains(c);
  });
  if (safe) return text;
  QString quoted = text;
  return "'" + quoted.replace("'", "'\\''") + "'";
}

inline QString shellWord(const std::string& text) { return shellWord(QString::fromStdString(text)); }

}  // namespace nibble
