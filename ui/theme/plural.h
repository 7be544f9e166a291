// SPDX-License-Identifier: GPL-3.0-or-later
// "1 tensor", "17 tensors": the number goes where %1 stands, written as the locale does. Both forms come translated.
#pragma once
#include <QLocale>
#include <QString>

namespace nibble {

inline QString counted(qint64 count, const QString& one, const QString& many) {
  return (count == 1 ? one : many).arg(QLocale().toString(count));
}

}  // namespace nibble
