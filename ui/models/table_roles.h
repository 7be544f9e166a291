// SPDX-License-Identifier: GPL-3.0-or-later
// What the tables' models say beside their text, so that one delegate (ui/forms/table_delegate.h) can paint them all.
#pragma once
#include <Qt>
#include <cstdint>

namespace nibble {

enum TableRole {
  FamilyRole = Qt::UserRole + 100,  // int of Family: its mark is drawn before the text
  ToneRole,                         // int of Tone
  BoldRole,                         // bool
  FixedRole,                        // bool: fixed font
  AnswerRole,                       // int of Answer: drawn as an icon
  HighlightRole,                    // bool: the row or cell stands on accentSoft
  IconNameRole,                     // QString: an icon of ui/theme/icons.h before the text
  SourceIndexRole,                  // int: index in the owner's own list, whatever the sorting
};

enum class Tone : std::uint8_t { Normal, Quiet, Good, Warn, Bad };
enum class Answer : std::uint8_t { NotAsked, Pass, Fail, Waiting };

}  // namespace nibble
