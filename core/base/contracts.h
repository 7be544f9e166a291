// SPDX-License-Identifier: GPL-3.0-or-later
// Contracts are checks for our own mistakes, never for input: a broken one stops the program with its place.
#pragma once
#include <cstdio>
#include <cstdlib>

#define NIBBLE_EXPECTS(condition)                                                                   \
  do {                                                                                              \
    if (!(condition)) {                                                                             \
      std::fprintf(stderr, "%s:%d: contract broken: %s\n", __FILE__, __LINE__, #condition);         \
      std::abort();                                                                                 \
    }                                                                                               \
  } while (false)
