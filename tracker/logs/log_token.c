#include "tracker/logs/log_token.h"

#include <math.h>

enum {
  DRAWN_MAX = 7,   /* marks of one kind after the first */
  DIGITS_FIT = 19, /* in a uint64_t, whichever they are */
};

enum {
  DIGIT = 1,
  LETTER = 2,
  BLANK = 4,
  JOINT = 8, /* may stand inside of a word */
  QUOTE = 16,
  AFTER = 32,    /* ends a number, whatever comes next */
  PLAIN = 64,    /* a letter or digit of ASCII */
  NUMERIC = 128, /* may start a number, also nan and inf */
};

static const uint8_t class[256] = {
    ['0' ... '9'] = DIGIT | PLAIN | NUMERIC,
    ['A' ... 'H'] = LETTER | PLAIN,
    ['I'] = LETTER | PLAIN | NUMERIC,
    ['J' ... 'M'] = LETTER | PLAIN,
    ['N'] = LETTER | PLAIN | NUMERIC,
    ['O' ... 'Z'] = LETTER | PLAIN,
    ['a' ... 'h'] = LETTER | PLAIN,
    ['i'] = LETTER | PLAIN | NUMERIC,
    ['j' ... 'm'] = LETTER | PLAIN,
    ['n'] = LETTER | PLAIN | NUMERIC,
    ['o' ... 'z'] = LETTER | PLAIN,
    ['_'] = LETTER | PLAIN,
    [0x80 ... 0xff] = LETTER,
    [' '] = BLANK | AFTER,
    ['\t'] = BLANK | AFTER,
    ['\r'] = BLANK | AFTER,
    [0] = BLANK | AFTER,
    ['-'] = JOINT | NUMERIC,
    ['+'] = NUMERIC,
    ['.'] = JOINT | NUMERIC,
    ['/'] = JOINT,
    ['\''] = JOINT | QUOTE | AFTER,
    ['@'] = JOINT,
    ['^'] = JOINT,
    ['&'] = JOINT,
    ['#'] = JOINT,
    ['"'] = QUOTE | AFTER,
    ['`'] = QUOTE,
    [')'] = AFTER,
    [']'] = AFTER,
    ['}'] = AFTER,
    ['|'] = AFTER,
    [';'] = AFTER,
};

static bool is(char c, unsigned what) {
  return class[(unsigned char)c] & what;
}

/* The rest from the byte at i on, which is not behind the end. */
static inline struct str after(struct str s, size_t i) {
  return (struct str){s.p + i, s.n - i};
}

/* `word` in small letters. */
static inline bool word_at(struct str s, const char *word, size_t n) {
  if (s.n < n || (s.n > n && is(s.p[n], DIGIT | LETTER)))
    return false;
  for (size_t i = 0; i < n; i++)
    if ((s.p[i] | 0x20) != word[i])
      return false;
  return true;
}

/* nan, inf or infinity, in any case; 0: none. */
static size_t scan_nonfinite(struct str s, bool *ret_nan) {
  char first = s.n ? (char)(s.p[0] | 0x20) : 0;
  *ret_nan = first == 'n';
  if (first == 'n')
    return word_at(s, "nan", 3) ? 3 : 0;
  if (first != 'i')
    return 0;
  return word_at(s, "inf", 3) ? 3 : word_at(s, "infinity", 8) ? 8 : 0;
}

/* Also Fortran's d and Julia's f. */
static bool is_exponent(char c) {
  return (c | 0x20) == 'e' || (c | 0x20) == 'd' || (c | 0x20) == 'f';
}

static double read_text(struct str text) {
  char copy[400];
  size_t n = MIN_OF(text.n, sizeof copy);
  for (size_t i = 0; i < n; i++)
    copy[i] = is_exponent(text.p[i]) ? 'e' : text.p[i];
  double value = 0;
  return str_to_f64(str_n(copy, n), &value) ? value : (double)NAN;
}

static inline double scale(uint64_t digits, int exponent, struct str text) {
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  /* Both operands are exact, so one rounding gives the nearest double. */
  if (digits < (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22)
    return exponent < 0 ? (double)digits / powers[-exponent] : (double)digits * powers[exponent];
  double quick;
  if (exponent > -300 && exponent < 300 && str_scale_ten(digits, exponent, &quick))
    return quick;
  return read_text(text);
}

/* Adds digits to the number; returns where they end. */
static inline const char *scan_digits(const char *p, const char *end, uint64_t *number) {
  unsigned digit;
  for (; p < end && (digit = (unsigned)(unsigned char)*p - '0') <= 9; p++)
    *number = *number * 10 + digit;
  return p;
}

/* e-05, E5, d+00 at p: returns where it ends; p when there is none. */
static inline const char *scan_exponent(const char *p, const char *end, int *exponent) {
  if (p == end || !is_exponent(*p))
    return p;
  const char *digits = p + 1;
  bool down = digits < end && *digits == '-';
  digits += digits < end && (*digits == '-' || *digits == '+');
  if (digits == end || !is(*digits, DIGIT))
    return p;
  int e = 0;
  for (p = digits; p < end && is(*p, DIGIT); p++)
    e = MIN_OF(e * 10 + (*p - '0'), 100000);
  *exponent += down ? -e : e;
  return p;
}

size_t log_scan_number(struct str s, struct log_number *ret) {
  const char *const end = s.p + s.n;
  bool minus = s.n && s.p[0] == '-', nan;
  const char *start = s.p + (minus || (s.n && s.p[0] == '+'));
  if (start == end || (!is(*start, DIGIT) && *start != '.')) {
    size_t word = scan_nonfinite(after(s, (size_t)(start - s.p)), &nan);
    *ret = (struct log_number){nan ? (double)NAN : minus ? -(double)INFINITY : (double)INFINITY, false};
    return word ? (size_t)(start - s.p) + word : 0;
  }
  uint64_t digits = 0;
  const char *point = scan_digits(start, end, &digits), *p = point;
  if (p < end && *p == '.')
    p = scan_digits(p + 1, end, &digits);
  size_t behind = p > point ? (size_t)(p - point) - 1 : 0, seen = (size_t)(point - start) + behind;
  if (!seen)
    return 0;
  int exponent = -(int)behind;
  p = scan_exponent(p, end, &exponent);
  struct str text = str_n(start, (size_t)(p - start));
  double value = seen <= DIGITS_FIT ? scale(digits, exponent, text) : read_text(text);
  *ret = (struct log_number){minus ? -value : value, p == point};
  return (size_t)(p - s.p);
}

bool log_number_whole(struct str s, struct log_number *ret) {
  s = str_trim(s);
  size_t n = log_scan_number(s, ret);
  return n && (n == s.n || (n + 1 == s.n && s.p[n] == '%'));
}

size_t log_scan_drawing(struct str s) {
  if (s.n < 3 || (unsigned char)s.p[0] != 0xe2)
    return 0;
  unsigned second = (unsigned char)s.p[1], third = (unsigned char)s.p[2];
  bool drawing = (second >= 0x94 && second <= 0x97) ||                                                   /* box drawing, blocks, shapes */
                 (second >= 0xa0 && second <= 0xa3) ||                                                   /* braille, used by spinners */
                 second == 0x86 || second == 0x87 ||                                                     /* arrows */
                 (second == 0x80 && (third == 0x93 || third == 0x94 || third == 0xa2 || third == 0xa6)); /* dashes, bullet, dots */
  return drawing ? 3 : 0;
}

/* "12:30", "0:04:52.75", "2026-11-21T16:00:00Z", "1.2.3", "1,234.5": what starts as a number and is none. 0 when it is not so. */
static size_t scan_opaque(struct str s, size_t number_n, char before) {
  size_t i = number_n;
  if (i >= s.n)
    return 0;
  char c = s.p[i];
  bool two = i + 2 < s.n && is(s.p[i + 1], DIGIT) && is(s.p[i + 2], DIGIT);
  bool time = c == ':' && two && number_n <= 4 && !memchr(s.p, '.', number_n);
  bool date = (c == '-' || c == '/') && two && number_n == 4 && i + 3 < s.n && s.p[i + 3] == c;
  bool us_date = c == '/' && number_n <= 2 && i + 1 < s.n && is(s.p[i + 1], DIGIT);
  if (us_date) { /* 11/21/2021 */
    size_t j = i + 1;
    while (j < s.n && j < i + 3 && is(s.p[j], DIGIT))
      j++;
    us_date = j + 1 < s.n && s.p[j] == '/' && is(s.p[j + 1], DIGIT);
  }
  bool version = c == '.' && i + 1 < s.n && is(s.p[i + 1], DIGIT);
  bool thousands = c == ',' && before != '[' && before != ',' && number_n <= 3 && two && i + 3 < s.n && is(s.p[i + 3], DIGIT) &&
                   (i + 4 >= s.n || (!is(s.p[i + 4], DIGIT) && s.p[i + 4] != ' ')) && !memchr(s.p, '.', number_n);
  if (!time && !date && !us_date && !version && !thousands)
    return 0;
  while (i < s.n && (is(s.p[i], DIGIT) || (strchr(":.,-/TZ+", s.p[i]) && i + 1 < s.n && is(s.p[i + 1], DIGIT)) || s.p[i] == 'Z'))
    i++;
  return i;
}

/* "0,5123", as in German and French: how long it is; 0 when the comma divides. Three digits behind it may be thousands. */
static size_t scan_decimal_comma(struct str s, size_t number_n, char before, double *ret) {
  size_t i = number_n + 1, end = i;
  if (number_n > 4 || i >= s.n || s.p[number_n] != ',' || !before || !(is(before, BLANK) || before == '=' || before == ':'))
    return 0;
  double value = 0, unit = 1;
  for (; end < s.n && is(s.p[end], DIGIT) && end < i + 17; end++) {
    value = value * 10 + (s.p[end] - '0');
    unit *= 10;
  }
  bool zero = s.p[number_n - 1] == '0' && (number_n == 1 || !is(s.p[number_n - 2], DIGIT));
  if (end == i || (end == i + 3 && !zero))
    return 0;
  char next = end < s.n ? s.p[end] : ' ', second = end + 1 < s.n ? s.p[end + 1] : ' ';
  if (!is(next, BLANK) && next != ';' && next != '%' && !(next == ',' && is(second, BLANK)))
    return 0;
  *ret = value / unit;
  return end;
}

static size_t scan_unit(struct str s, size_t i) {
  while (i < s.n && (is(s.p[i], LETTER | DIGIT) || (s.p[i] == '/' && i + 1 < s.n && is(s.p[i + 1], LETTER))) &&
         !log_scan_drawing(after(s, i)))
    i++;
  return i;
}

static size_t scan_word(struct str s) {
  size_t i = 0;
  bool at_sign = false;
  while (i < s.n) {
    while (i < s.n && is(s.p[i], PLAIN))
      i++;
    if (i == s.n || !(is(s.p[i], LETTER | JOINT) || s.p[i] == ':'))
      break;
    char c = s.p[i], next = i + 1 < s.n ? s.p[i + 1] : 0;
    if (is(c, LETTER)) {
      if ((unsigned char)c == 0xe2 && log_scan_drawing(after(s, i)))
        break;
      if ((unsigned char)c == 0xc2 && ((unsigned char)next == 0xb1 || (unsigned char)next == 0xa0 || (unsigned char)next == 0xb7))
        break;
      i++;
    } else if (is(c, JOINT) && is(next, LETTER | DIGIT) && i > 0 && !log_scan_drawing(after(s, i + 1))) {
      at_sign |= c == '@';
      i++;
    } else if (c == '@' && next == '.' && i + 2 < s.n && is(s.p[i + 2], DIGIT)) { /* mAP@.5 */
      at_sign = true;
      i += 2;
    } else if (c == ':' && at_sign && memchr(s.p, '.', i) && (is(next, DIGIT) || next == '.')) { /* mAP@0.5:0.95 */
      i += 1 + (next == '.');
    } else {
      break;
    }
  }
  return i;
}

/* May a sign belong to a number here? Not in "1-100" or "a-5". */
static bool sign_starts_number(struct str line, size_t i) {
  return i == 0 || !(is(line.p[i - 1], LETTER | DIGIT) || line.p[i - 1] == ')' || line.p[i - 1] == ']' || line.p[i - 1] == '%');
}

/* How long the number is that starts at i; 0: none does. */
static inline size_t number_at(struct str line, size_t i, struct log_number *ret) {
  char c = line.p[i];
  if (!is(c, NUMERIC))
    return 0;
  if (c == '.' && !(i + 1 < line.n && is(line.p[i + 1], DIGIT)))
    return 0;
  if ((c == '-' || c == '+') && !sign_starts_number(line, i))
    return 0;
  return log_scan_number(after(line, i), ret);
}

/* "Step: 99. Epoch: 3": the point behind a whole number ends a sentence. "1. 0.5" is an array. */
static bool ends_sentence(struct str s, size_t n) {
  return s.p[n - 1] == '.' && n + 1 < s.n && s.p[n] == ' ' && s.p[n + 1] >= 'A' && s.p[n + 1] <= 'Z';
}

static void number_token(struct str line, size_t i, size_t n, const struct log_number *number, struct log_token *t) {
  char before = i ? line.p[i - 1] : 0;
  struct str rest = after(line, i);
  if (ends_sentence(rest, n)) {
    t->type = LOG_T_NUMBER;
    t->value = number->value;
    t->flags |= LOG_T_INT;
    t->end = t->unit_end = (uint32_t)(i + n - 1);
    return;
  }
  t->end = t->unit_end = (uint32_t)(i + n);
  if (n == rest.n || is(rest.p[n], AFTER)) {
    t->type = LOG_T_NUMBER;
    t->value = number->value;
    t->flags |= number->integer ? LOG_T_INT : 0;
    return;
  }
  size_t opaque = scan_opaque(rest, n, before);
  if (opaque) {
    t->type = LOG_T_OPAQUE;
    t->end = t->unit_end = (uint32_t)(i + opaque);
    return;
  }
  t->type = LOG_T_NUMBER;
  t->value = number->value;
  double fraction;
  size_t comma = number->integer ? scan_decimal_comma(rest, n, before, &fraction) : 0;
  if (comma) {
    t->value += rest.p[0] == '-' ? -fraction : fraction;
    n = comma;
    t->end = t->unit_end = (uint32_t)(i + n);
  }
  if (n < rest.n && rest.p[n] == '%') {
    t->flags |= LOG_T_PERCENT;
    t->unit_end++;
    return;
  }
  size_t unit_end = scan_unit(rest, n);
  if (unit_end == n) {
    t->flags |= number->integer && !comma ? LOG_T_INT : 0;
    return;
  }
  bool letters_only = true;
  for (size_t k = n; k < unit_end; k++)
    letters_only &= !is(rest.p[k], DIGIT) && rest.p[k] != '_';
  if (letters_only) {
    t->flags |= LOG_T_UNIT;
  } else {
    t->type = LOG_T_WORD; /* "3x3", "7b1f3c", "10_000" */
    t->end = (uint32_t)(i + unit_end);
  }
  t->unit_end = (uint32_t)(i + unit_end);
}

static void mark_token(struct str line, size_t i, struct log_token *t) {
  struct str rest = after(line, i);
  if ((unsigned char)line.p[i] < 0x80) {
    t->end = t->unit_end = (uint32_t)(i + 1);
    t->type = LOG_T_MARK;
    t->mark = line.p[i];
    return;
  }
  size_t drawing = log_scan_drawing(rest);
  t->end = t->unit_end = (uint32_t)(i + (drawing ? drawing : 1));
  t->type = LOG_T_BREAK;
  t->mark = line.p[i];
  if (drawing)
    return;
  if (rest.n >= 2 && (unsigned char)rest.p[0] == 0xc2 && ((unsigned char)rest.p[1] == 0xb1 || (unsigned char)rest.p[1] == 0xb7)) {
    t->end = t->unit_end = (uint32_t)(i + 2);
    t->type = (unsigned char)rest.p[1] == 0xb1 ? LOG_T_MARK : LOG_T_BREAK;
    t->mark = '+';
    return;
  }
  t->type = LOG_T_MARK;
}

/* Where the drawing ends whose first characters are tokens already: before its last one, which may be a number's sign. */
static size_t drawn_until(struct str line, const struct log_token *t) {
  size_t width = t->end - t->at, i = t->end;
  if (width == 1)
    return MAX_OF(log_run_end(line, t->at) - 1, i);
  while (i + 2 * width <= line.n && memcmp(line.p + i, line.p + t->at, width) == 0 &&
         memcmp(line.p + i + width, line.p + t->at, width) == 0)
    i += width;
  return i;
}

static inline bool is_wide_blank(struct str line, size_t i) {
  return i + 1 < line.n && (unsigned char)line.p[i] == 0xc2 && (unsigned char)line.p[i + 1] == 0xa0;
}

/* Where the blanks from i on end. */
static inline size_t skip_blanks(struct str line, size_t i, uint8_t *ret_flags) {
  const size_t start = i;
  size_t wide = 0;
  for (;; i++) {
    while (i < line.n && is(line.p[i], BLANK))
      i++;
    if (!is_wide_blank(line, i))
      break;
    i++;
    wide++;
  }
  size_t blanks = i - start - wide;
  bool gap = blanks > 1 || (blanks && line.p[start] == '\t');
  *ret_flags = (uint8_t)((blanks ? LOG_T_SPACE : 0) | (gap ? LOG_T_GAP : 0));
  return i;
}

size_t log_tokenize(struct str line, struct log_token *tokens, size_t max) {
  size_t n = 0, i = 0, drawn = 0;
  char mark = 0; /* the one before */
  while (n < max) {
    uint8_t flags;
    i = skip_blanks(line, i, &flags);
    if (i == line.n)
      return n;
    struct log_token *t = &tokens[n++];
    *t = (struct log_token){.at = (uint32_t)i, .flags = flags};
    char c = line.p[i];
    struct log_number number;
    size_t length = number_at(line, i, &number);
    if (length) {
      number_token(line, i, length, &number, t);
      mark = 0;
    } else if (is(c, LETTER) && (length = scan_word(after(line, i))) > 0) {
      t->type = LOG_T_WORD;
      t->end = t->unit_end = (uint32_t)(i + length);
      mark = 0;
    } else {
      mark_token(line, i, t);
      drawn = c == mark && !(flags & LOG_T_SPACE) ? drawn + 1 : 0;
      if (drawn == DRAWN_MAX)
        t->unit_end = t->end = (uint32_t)drawn_until(line, t);
      mark = c;
    }
    i = t->unit_end;
  }
  return n;
}
