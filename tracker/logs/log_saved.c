/* The state between two lines as bytes, and back. */
#include "base/mem.h"
#include "tracker/logs/log_state.h"
#include "tracker/pack.h"

enum { STATE_VERSION = 1 };

static void save_place(struct buf *out, const struct place *place) {
  pack_f64(out, place->epoch);
  pack_f64(out, place->step);
  pack_f64(out, place->batch);
  pack_f64(out, place->batch_total);
}

static void save_table(struct buf *out, const struct table *t) {
  pack_u64(out, t->by);
  if (t->by == BY_NONE)
    return;
  pack_u64(out, (uint64_t)t->seen_row | (uint64_t)t->label_first << 1);
  pack_u64(out, t->count);
  for (size_t i = 0; i < t->count; i++) {
    pack_u64(out, t->columns[i].at);
    pack_u64(out, t->columns[i].end);
    pack_u64(out, t->columns[i].kind);
    pack_str(out, str_n(t->text + t->columns[i].name_at, t->columns[i].name_n));
  }
}

void log_parse_save(const struct log_parse *p, struct buf *out) {
  buf_putc(out, STATE_VERSION);
  save_place(out, &p->kept.carried);
  pack_f64(out, p->kept.epoch_first);
  pack_f64(out, p->kept.bar_total);
  pack_str(out, str_n(p->kept.section, p->kept.section_n));
  pack_u64(out, (uint64_t)p->kept.section_strong | (uint64_t)p->kept.header_open << 1 | (uint64_t)p->kept.header_seen << 2 |
                    (uint64_t)p->kept.best_next << 3 | (uint64_t)p->kept.section_used << 4);
  pack_str(out, str_n(p->kept.pending, p->kept.pending_n));
  pack_str(out, str_n(p->kept.above, p->kept.above_n));
  save_table(out, &p->kept.table);
  save_table(out, &p->kept.candidate);
  pack_u64(out, p->kept.block.kind);
  if (p->kept.block.kind != BLOCK_NONE) {
    pack_u64(out, p->kept.block.first_line);
    pack_u64(out, p->kept.block.lines);
    pack_str(out, str_n(p->kept.block.text, p->kept.block.n));
  }
  pack_u64(out, p->kept.series_n);
  for (size_t i = 0; i < SERIES_MAX; i++) {
    const struct series *s = &p->kept.series[i];
    if (!s->hash)
      continue;
    pack_u64(out, s->hash);
    pack_u64(out, s->count);
    pack_i64(out, s->last);
    pack_i64(out, s->offset);
    pack_u64(out, (uint64_t)s->level | (uint64_t)s->in_dict << 4 | (uint64_t)s->beside << 5 | (uint64_t)s->label << 13);
    pack_u64(out, s->line);
    pack_f64(out, s->printed);
  }
  for (size_t i = 0; i < STYLE_COUNT; i++)
    pack_u64(out, p->kept.points_by_style[i]);
  pack_str(out, str_n(p->kept.style, p->kept.style_n));
  pack_u64(out, p->kept.dropped);
}

static void restore_place(struct str *rest, struct place *place, bool *bad) {
  place->epoch = unpack_f64(rest, bad);
  place->step = unpack_f64(rest, bad);
  place->batch = unpack_f64(rest, bad);
  place->batch_total = unpack_f64(rest, bad);
}

static void restore_table(struct str *rest, struct table *t, bool *bad) {
  *t = (struct table){.by = (uint8_t)unpack_below(rest, BY_SEMICOLONS, bad)};
  if (*bad || t->by == BY_NONE)
    return;
  uint64_t flags = unpack_below(rest, 3, bad);
  t->seen_row = flags & 1;
  t->label_first = flags >> 1 & 1;
  t->count = (uint8_t)unpack_below(rest, COLUMNS_MAX, bad);
  *bad |= t->count < 1;
  for (size_t i = 0; i < t->count && !*bad; i++) {
    struct column *c = &t->columns[i];
    c->at = (uint32_t)unpack_below(rest, UINT32_MAX / 2, bad);
    c->end = (uint32_t)unpack_below(rest, UINT32_MAX / 2, bad);
    c->kind = (uint8_t)unpack_below(rest, LOG_KEY_BATCH, bad);
    struct str name = unpack_str(rest, COLUMN_TEXT_MAX - t->text_n, bad);
    *bad |= c->end < c->at;
    c->name_at = t->text_n;
    c->name_n = (uint16_t)name.n;
    if (name.n)
      memcpy(t->text + t->text_n, name.p, name.n);
    t->text_n = (uint16_t)(t->text_n + name.n);
  }
}

static size_t restore_text(struct str *rest, char *text, size_t max, bool *bad) {
  struct str s = unpack_str(rest, max, bad);
  if (s.n)
    memcpy(text, s.p, s.n);
  return s.n;
}

static void restore_block(struct str *rest, struct block *b, bool *bad) {
  b->kind = (uint8_t)unpack_below(rest, BLOCK_RECORD, bad);
  if (*bad || b->kind == BLOCK_NONE)
    return;
  b->first_line = unpack_u64(rest, bad);
  b->lines = (uint32_t)unpack_below(rest, BLOCK_LINES_MAX, bad);
  b->n = (uint32_t)restore_text(rest, b->text, BLOCK_MAX, bad);
  *bad |= b->kind == BLOCK_DICT && !memchr(b->text, '{', b->n);
}

static void restore_series(struct str *rest, struct kept *kept, bool *bad) {
  uint64_t n = unpack_below(rest, SERIES_MAX * 3 / 4, bad);
  for (uint64_t i = 0; i < n && !*bad; i++) {
    struct series s = {.hash = unpack_u64(rest, bad)};
    s.count = unpack_u64(rest, bad);
    s.last = unpack_i64(rest, bad);
    s.offset = unpack_i64(rest, bad);
    uint64_t flags = unpack_below(rest, ((uint64_t)UINT16_MAX << 13) + 8191, bad);
    s.level = flags & 15;
    s.in_dict = flags >> 4 & 1;
    s.beside = (uint8_t)(flags >> 5 & UINT8_MAX);
    s.label = (uint16_t)(flags >> 13);
    s.line = unpack_u64(rest, bad);
    s.printed = unpack_f64(rest, bad);
    *bad |= s.hash == 0 || s.level >= LEVEL_COUNT || s.last > LOG_STEP_MAX || s.last < 0 || s.offset > LOG_STEP_MAX || s.offset < 0;
    size_t at = s.hash & (SERIES_MAX - 1);
    while (kept->series[at].hash && kept->series[at].hash != s.hash)
      at = (at + 1) & (SERIES_MAX - 1);
    *bad |= kept->series[at].hash == s.hash;
    if (*bad)
      return;
    kept->series[at] = s;
    kept->series_n++;
  }
}

bool log_parse_restore(struct log_parse *p, struct str state, struct err *err) {
  AUTO_FREE struct kept *next = mem_zalloc(sizeof *next);
  if (!next)
    return err_no_memory(err);
  bool bad = unpack_u64(&state, &(bool){false}) != STATE_VERSION;
  restore_place(&state, &next->carried, &bad);
  next->epoch_first = unpack_f64(&state, &bad);
  next->bar_total = unpack_f64(&state, &bad);
  next->section_n = (uint8_t)restore_text(&state, next->section, SECTION_MAX, &bad);
  uint64_t flags = unpack_below(&state, 31, &bad);
  next->section_strong = flags & 1;
  next->header_open = flags >> 1 & 1;
  next->header_seen = flags >> 2 & 1;
  next->best_next = flags >> 3 & 1;
  next->section_used = flags >> 4 & 1;
  next->pending_n = (uint8_t)restore_text(&state, next->pending, LOG_NAME_MAX, &bad);
  next->above_n = (uint16_t)restore_text(&state, next->above, sizeof next->above, &bad);
  restore_table(&state, &next->table, &bad);
  restore_table(&state, &next->candidate, &bad);
  restore_block(&state, &next->block, &bad);
  restore_series(&state, next, &bad);
  for (size_t i = 0; i < STYLE_COUNT; i++)
    next->points_by_style[i] = unpack_u64(&state, &bad);
  next->style_n = (uint8_t)restore_text(&state, next->style, STYLE_MAX, &bad);
  next->dropped = unpack_u64(&state, &bad);
  if (!bad && !state.n)
    p->kept = *next;
  p->above_is_prose = false;
  return (!bad && !state.n) || err_set(err, ERR_INVALID, "the stored state of the log parser is not valid");
}
