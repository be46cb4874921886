/* A line of a log as tokens: words, numbers, times, punctuation. Pure; allocates nothing. */
#ifndef WINNOW_TRACKER_LOG_TOKEN_H
#define WINNOW_TRACKER_LOG_TOKEN_H

#include "base/str.h"

enum log_token_type {
  LOG_T_WORD,
  LOG_T_NUMBER,
  LOG_T_OPAQUE, /* a time, date, version, address: no number, no name */
  LOG_T_MARK,   /* one punctuation character */
  LOG_T_BREAK,  /* drawn lines, bars, bullets, dashes: ends whatever was before */
};

enum {
  LOG_T_SPACE = 1,   /* blanks before it */
  LOG_T_GAP = 2,     /* two blanks or more, or a TAB before it */
  LOG_T_PERCENT = 4, /* a number followed by % */
  LOG_T_INT = 8,     /* a number without point, exponent or unit */
  LOG_T_UNIT = 16,   /* a number with letters directly behind it */
  LOG_T_USED = 32,   /* part of a place: "Epoch 3/10" */
};

struct log_token {
  double value;
  uint32_t at, end; /* bytes of the line; of a number without its % or unit */
  uint32_t unit_end;
  uint8_t type;
  uint8_t flags;
  char mark; /* '+' also for the plus-minus sign */
};

/* At most `max` tokens; what comes after is left out. Of a mark that is drawn again and again, as in a bar, the first few are tokens of
 * their own, and the last. Returns the count. */
size_t log_tokenize(struct str line, struct log_token *tokens, size_t max);

struct log_number {
  double value;
  bool integer;
};

/* The number that starts at s.p: decimal, exponent (e, d or f, as Fortran and Julia write), nan, inf, infinity, sign. Returns its
 * length, 0 when there is none. Letters may follow. */
size_t log_scan_number(struct str s, struct log_number *ret);

/* All of `s` is one number, a % may follow it. */
bool log_number_whole(struct str s, struct log_number *ret);

/* Where the bytes end that are the same as the one at i. */
static inline size_t log_run_end(struct str s, size_t i) {
  const uint64_t same = (unsigned char)s.p[i] * 0x0101010101010101u;
  uint64_t word;
  size_t end = i + 1;
  for (; end + 8 <= s.n; end += 8) {
    memcpy(&word, s.p + end, 8);
    if (word != same)
      break;
  }
  while (end < s.n && s.p[end] == s.p[i])
    end++;
  return end;
}

/* What a character of a drawing, a progress bar or a bullet takes, in bytes; 0 when s.p does not start with one. */
size_t log_scan_drawing(struct str s);

#endif
