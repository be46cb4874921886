#include "tracker/logs/line.h"

#include "base/mem.h"
#include "tracker/pack.h"

enum { STATE_VERSION = 1, CSI_MAX = 24 };

enum escape { ESC_NONE, ESC_START, ESC_CSI, ESC_STRING, ESC_STRING_END, ESC_CHARSET };

struct line_reader {
  uint32_t *cells; /* one character each, as its UTF-8 bytes, first byte lowest */
  size_t n, cap, max;
  size_t cursor;
  char *text; /* the cells as text; made when a line is handed out */
  size_t text_cap;
  uint64_t number; /* of the line being read */
  uint64_t lost_line, lost_total;
  bool begun; /* the line has had a byte */
  uint8_t utf8[4];
  uint8_t utf8_n;
  enum escape escape;
  char csi[CSI_MAX];
  uint8_t csi_n;
};

static const uint32_t REPLACEMENT = 0xbdbfef; /* EF BF BD */

struct line_reader *line_reader_new(size_t cells_max, struct err *err) {
  struct line_reader *reader = mem_zalloc(sizeof *reader);
  if (!reader) {
    err_no_memory(err);
    return NULL;
  }
  reader->max = MAX_OF(MIN_OF(cells_max, LINE_CELLS_MAX), (size_t)1);
  reader->number = 1;
  return reader;
}

void line_reader_free(struct line_reader *reader) {
  if (!reader)
    return;
  mem_free(reader->cells);
  mem_free(reader->text);
  mem_free(reader);
}

uint64_t line_lost(const struct line_reader *reader) {
  return reader->lost_total;
}

/* ---- the row of cells ---- */

static bool reserve(struct line_reader *r, size_t n) {
  if (n <= r->cap)
    return true;
  size_t cap = MIN_OF(MAX_OF(n, r->cap * 2), r->max);
  cap = MAX_OF(cap, MIN_OF((size_t)256, r->max));
  uint32_t *cells = mem_resize(r->cells, cap, sizeof *cells);
  if (!cells)
    return false;
  r->cells = cells;
  r->cap = cap;
  return true;
}

static void blank(struct line_reader *r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    r->cells[i] = ' ';
}

static bool put(struct line_reader *r, uint32_t cell) {
  if (r->cursor >= r->max) {
    r->lost_line++;
    r->lost_total++;
    return true;
  }
  if (!reserve(r, r->cursor + 1))
    return false;
  if (r->cursor > r->n)
    blank(r, r->n, r->cursor);
  r->cells[r->cursor++] = cell;
  r->n = MAX_OF(r->n, r->cursor);
  return true;
}

/* Printable ASCII, all at once. */
static bool put_run(struct line_reader *r, const char *p, size_t n) {
  size_t fit = MIN_OF(n, r->max - MIN_OF(r->cursor, r->max));
  if (!reserve(r, r->cursor + fit))
    return false;
  if (fit && r->cursor > r->n)
    blank(r, r->n, r->cursor);
  for (size_t i = 0; i < fit; i++)
    r->cells[r->cursor + i] = (unsigned char)p[i];
  r->cursor += fit;
  r->n = fit ? MAX_OF(r->n, r->cursor) : r->n;
  r->lost_line += n - fit;
  r->lost_total += n - fit;
  return true;
}

/* Parameter `index` of the control sequence collected; `fallback` when it is not given. */
static size_t csi_number(const struct line_reader *r, unsigned index, size_t fallback) {
  size_t value = 0;
  bool given = false;
  unsigned at = 0;
  for (uint8_t i = 0; i < r->csi_n; i++) {
    char c = r->csi[i];
    if (c == ';') {
      at++;
    } else if (at == index && c >= '0' && c <= '9') {
      value = MIN_OF(value * 10 + (size_t)(c - '0'), LINE_CELLS_MAX);
      given = true;
    }
  }
  return given ? value : fallback;
}

static void erase(struct line_reader *r, size_t how) {
  if (how == 0)
    r->n = MIN_OF(r->n, r->cursor);
  else if (how == 1)
    blank(r, 0, MIN_OF(r->cursor + 1, r->n));
  else
    r->n = 0;
}

static void control_sequence(struct line_reader *r, char final) {
  size_t column = r->cursor;
  switch (final) {
  case 'K':
  case 'J':
    erase(r, csi_number(r, 0, 0));
    return;
  case 'C':
    column = r->cursor + MAX_OF(csi_number(r, 0, 1), (size_t)1);
    break;
  case 'D':
    column = r->cursor - MIN_OF(r->cursor, MAX_OF(csi_number(r, 0, 1), (size_t)1));
    break;
  case 'G':
    column = MAX_OF(csi_number(r, 0, 1), (size_t)1) - 1;
    break;
  case 'H':
  case 'f':
    column = MAX_OF(csi_number(r, 1, 1), (size_t)1) - 1;
    break;
  case 'E':
  case 'F':
    column = 0;
    break;
  default: /* colours, going up and down, modes */
    return;
  }
  r->cursor = MIN_OF(column, r->max);
}

/* ---- bytes ---- */

static void escape_byte(struct line_reader *r, unsigned char c) {
  switch (r->escape) {
  case ESC_START:
    r->csi_n = 0;
    r->escape = c == '[' ? ESC_CSI : strchr("]P^_X", c) && c ? ESC_STRING : c >= 0x20 && c <= 0x2f ? ESC_CHARSET : ESC_NONE;
    return;
  case ESC_CSI:
    if (c >= 0x40 && c <= 0x7e) {
      r->escape = ESC_NONE;
      control_sequence(r, (char)c);
    } else if (r->csi_n < CSI_MAX) {
      r->csi[r->csi_n++] = (char)c;
    }
    return;
  case ESC_STRING:
    r->escape = c == 0x07 ? ESC_NONE : c == 0x1b ? ESC_STRING_END : ESC_STRING;
    return;
  case ESC_STRING_END:
  case ESC_CHARSET:
  case ESC_NONE:
    r->escape = ESC_NONE;
  }
}

/* How many bytes the sequence that starts with c has; 0 when none starts so. */
static unsigned utf8_length(unsigned char c) {
  return c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

static bool utf8_second_fits(unsigned char first, unsigned char second) {
  if (first == 0xe0)
    return second >= 0xa0;
  if (first == 0xed)
    return second <= 0x9f;
  if (first == 0xf0)
    return second >= 0x90;
  return first != 0xf4 || second <= 0x8f;
}

/* An unfinished sequence is one replacement character, whatever follows. */
static bool utf8_give_up(struct line_reader *r) {
  if (!r->utf8_n)
    return true;
  r->utf8_n = 0;
  return put(r, REPLACEMENT);
}

static bool text_byte(struct line_reader *r, unsigned char c) {
  if (r->utf8_n) {
    bool goes_on = (c & 0xc0) == 0x80 && (r->utf8_n > 1 || utf8_second_fits(r->utf8[0], c));
    if (!goes_on) {
      if (!utf8_give_up(r))
        return false;
    } else {
      r->utf8[r->utf8_n++] = c;
      if (r->utf8_n < utf8_length(r->utf8[0]))
        return true;
      uint32_t cell = 0;
      for (unsigned i = r->utf8_n; i-- > 0;)
        cell = cell << 8 | r->utf8[i];
      r->utf8_n = 0;
      return put(r, cell);
    }
  }
  if (c < 0x80)
    return put(r, c);
  if (!utf8_length(c))
    return put(r, REPLACEMENT);
  r->utf8[0] = c;
  r->utf8_n = 1;
  return true;
}

static bool any_byte(struct line_reader *r, unsigned char c) {
  if (r->escape != ESC_NONE) {
    /* A sequence cut short by a control character ends there. */
    if (r->escape != ESC_CSI || (c >= 0x20 && c <= 0x7e)) {
      escape_byte(r, c);
      return true;
    }
    r->escape = ESC_NONE;
  }
  if (c >= 0x20 || c == '\t')
    return c == 0x7f || text_byte(r, c);
  if (!utf8_give_up(r))
    return false;
  if (c == '\r')
    r->cursor = 0;
  else if (c == '\b')
    r->cursor -= r->cursor > 0;
  else if (c == 0x1b)
    r->escape = ESC_START;
  return true;
}

/* ---- lines ---- */

static void begin_line(struct line_reader *r) {
  r->n = r->cursor = 0;
  r->lost_line = 0;
  r->begun = false;
  r->utf8_n = 0;
  r->escape = ESC_NONE;
  r->number++;
}

static bool cells_to_text(struct line_reader *r, struct line *ret) {
  if (!utf8_give_up(r))
    return false;
  size_t need = r->n * 4 + 1;
  if (need > r->text_cap) {
    char *text = mem_resize(r->text, need, 1);
    if (!text)
      return false;
    r->text = text;
    r->text_cap = need;
  }
  size_t n = 0;
  for (size_t i = 0; i < r->n; i++)
    for (uint32_t cell = r->cells[i]; cell; cell >>= 8)
      r->text[n++] = (char)cell;
  *ret = (struct line){{r->text, n}, r->number, r->lost_line};
  return true;
}

static bool is_control(unsigned char c) {
  return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* Can the bytes be shown as they are? Eight at a time. */
static bool is_plain(const char *p, size_t n) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  uint64_t high = 0;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    memcpy(&word, p + i, 8);
    uint64_t deletes = word ^ (ones * 0x7f);
    uint64_t suspects = ((word - ones * 0x20) & ~word) | ((deletes - ones) & ~deletes); /* may also mark a byte after a true one */
    high |= word;
    if (suspects & tops)
      for (size_t k = i; k < i + 8; k++)
        if (is_control((unsigned char)p[k]))
          return false;
  }
  for (; i < n; i++) {
    high |= (unsigned char)p[i];
    if (is_control((unsigned char)p[i]))
      return false;
  }
  return !(high & tops) || str_is_utf8(str_n(p, n));
}

/* Where the printable ASCII from i on ends. */
static size_t printable_run(const char *p, size_t i, size_t n) {
  const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  uint64_t word;
  for (; i + 8 <= n; i += 8) {
    memcpy(&word, p + i, 8);
    uint64_t deletes = word ^ (ones * 0x7f);
    if ((((word - ones * 0x20) & ~word) | ((deletes - ones) & ~deletes) | word) & tops)
      break;
  }
  while (i < n && p[i] >= 0x20 && p[i] < 0x7f)
    i++;
  return i;
}

/* A whole character of the blocks that bars are drawn with (E2 xx xx), as a cell; 0 when it is none. */
static uint32_t drawn_character(const char *p, size_t n) {
  if (n < 3 || (unsigned char)p[0] != 0xe2 || ((unsigned char)p[1] & 0xc0) != 0x80 || ((unsigned char)p[2] & 0xc0) != 0x80)
    return 0;
  return (uint32_t)(unsigned char)p[2] << 16 | (uint32_t)(unsigned char)p[1] << 8 | 0xe2;
}

static bool take_bytes(struct line_reader *r, const char *p, size_t n, size_t *ret_taken) {
  size_t i = 0;
  while (i < n) {
    bool between = r->escape == ESC_NONE && !r->utf8_n;
    size_t run = between ? printable_run(p, i, n) : i;
    uint32_t cell;
    *ret_taken = i;
    if (run > i) {
      if (!put_run(r, p + i, run - i))
        return false;
      i = run;
    } else if (between && (cell = drawn_character(p + i, n - i))) {
      if (!put(r, cell))
        return false;
      i += 3;
    } else if (!any_byte(r, (unsigned char)p[i++])) {
      return false;
    }
  }
  return true;
}

enum line_answer line_next(struct line_reader *r, struct str *bytes, struct line *ret) {
  if (!bytes->n)
    return LINE_MORE;
  const char *end = memchr(bytes->p, '\n', bytes->n);
  size_t n = end ? (size_t)(end - bytes->p) : bytes->n;
  if (end && !r->begun) {
    size_t shown = n && bytes->p[n - 1] == '\r' ? n - 1 : n;
    if (shown <= r->max && is_plain(bytes->p, shown)) {
      *ret = (struct line){{bytes->p, shown}, r->number, 0};
      bytes->p += n + 1;
      bytes->n -= n + 1;
      begin_line(r);
      return LINE_READY;
    }
  }
  r->begun = true;
  size_t taken;
  if (!take_bytes(r, bytes->p, n, &taken)) {
    bytes->p += taken;
    bytes->n -= taken;
    return LINE_NO_MEMORY;
  }
  if (!end) {
    bytes->p += n;
    bytes->n = 0;
    return LINE_MORE;
  }
  if (!cells_to_text(r, ret)) {
    bytes->p += n;
    bytes->n -= n;
    return LINE_NO_MEMORY;
  }
  bytes->p += n + 1;
  bytes->n -= n + 1;
  begin_line(r);
  return LINE_READY;
}

/* Could moves of the cursor bring characters beyond the ceiling? */
static bool may_lose(const struct line_reader *r, const char *p, size_t n) {
  size_t reach = n;
  for (const char *end = p + n; (p = memchr(p, 0x1b, (size_t)(end - p)));) {
    size_t digits = 0, longest = 0;
    if (++p == end || *p != '[')
      continue;
    for (p++; p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x40; p++) {
      digits = *p >= '0' && *p <= '9' ? digits + 1 : 0;
      longest = MAX_OF(longest, digits);
    }
    if (p < end && (*p == 'C' || *p == 'G' || *p == 'H' || *p == 'f')) /* to the right, or to a column: 999 at most in three digits */
      reach += longest > 3 ? r->max : 999;
  }
  return reach > r->max;
}

void line_skip(struct line_reader *r, struct str *bytes, size_t n) {
  const char *p = bytes->p, *stop = p + MIN_OF(n, bytes->n), *end;
  if (r->begun)
    return;
  bool moves = p < stop && memchr(p, 0x1b, (size_t)(stop - p));
  for (; p < stop && (end = memchr(p, '\n', (size_t)(stop - p))); p = end + 1, r->number++)
    if ((size_t)(end - p) > r->max || (moves && may_lose(r, p, (size_t)(end - p))))
      break;
  bytes->n -= (size_t)(p - bytes->p);
  bytes->p = p;
}

bool line_last(struct line_reader *r, struct line *ret) {
  if (!r->begun || !cells_to_text(r, ret))
    return false;
  begin_line(r);
  return true;
}

/* ---- the state ---- */

void line_save(const struct line_reader *r, struct buf *out) {
  buf_putc(out, STATE_VERSION);
  pack_u64(out, r->number);
  pack_u64(out, r->lost_line);
  pack_u64(out, r->lost_total);
  pack_u64(out, r->begun);
  pack_u64(out, r->cursor);
  pack_str(out, str_n((const char *)r->utf8, r->utf8_n));
  pack_u64(out, r->escape);
  pack_str(out, str_n(r->csi, r->csi_n));
  pack_u64(out, r->n);
  for (size_t i = 0; i < r->n; i++)
    for (uint32_t cell = r->cells[i]; cell; cell >>= 8)
      buf_putc(out, (char)cell);
}

static bool bad_state(struct err *err) {
  return err_set(err, ERR_INVALID, "the stored state of the line reader is not valid");
}

/* Takes one character off the front. */
static uint32_t take_cell(struct str *rest) {
  unsigned n = rest->n ? ((unsigned char)rest->p[0] < 0x80 ? 1 : utf8_length((unsigned char)rest->p[0])) : 0;
  if (!n || n > rest->n || !str_is_utf8(str_n(rest->p, n)))
    return 0;
  uint32_t cell = 0;
  for (unsigned i = n; i-- > 0;)
    cell = cell << 8 | (unsigned char)rest->p[i];
  rest->p += n;
  rest->n -= n;
  return cell;
}

bool line_restore(struct line_reader *r, struct str state, struct err *err) {
  bool bad = false;
  struct line_reader next = *r;
  if (unpack_u64(&state, &bad) != STATE_VERSION)
    return bad_state(err);
  next.number = unpack_u64(&state, &bad);
  next.lost_line = unpack_u64(&state, &bad);
  next.lost_total = unpack_u64(&state, &bad);
  next.begun = unpack_below(&state, 1, &bad);
  next.cursor = unpack_below(&state, r->max, &bad);
  struct str utf8 = unpack_str(&state, 3, &bad);
  next.escape = (enum escape)unpack_below(&state, ESC_CHARSET, &bad);
  struct str csi = unpack_str(&state, CSI_MAX, &bad);
  next.n = unpack_below(&state, r->max, &bad);
  if (bad || (utf8.n && utf8_length((unsigned char)utf8.p[0]) <= utf8.n))
    return bad_state(err);
  if (!reserve(r, next.n))
    return err_no_memory(err);
  struct str cells = state;
  for (size_t i = 0; i < next.n; i++)
    if (!take_cell(&cells))
      return bad_state(err);
  if (cells.n)
    return bad_state(err);
  for (size_t i = 0; i < next.n; i++)
    r->cells[i] = take_cell(&state);
  next.cells = r->cells;
  next.cap = r->cap;
  memcpy(next.utf8, utf8.p, utf8.n);
  next.utf8_n = (uint8_t)utf8.n;
  memcpy(next.csi, csi.p, csi.n);
  next.csi_n = (uint8_t)csi.n;
  *r = next;
  return true;
}
