#include "tracker/logs/reread.h"

#include "tracker/pack.h"

static int64_t mark_at(size_t mark) {
  return (int64_t)REREAD_FIRST_MARK << mark;
}

static size_t next_mark(const struct reread *r) {
  size_t mark = 0;
  while (mark < REREAD_MARKS && mark_at(mark) <= r->next)
    mark++;
  return mark;
}

uint64_t reread_hash(uint64_t hash, struct str bytes) {
  for (size_t i = 0; i < bytes.n; i++)
    hash = (hash ^ (unsigned char)bytes.p[i]) * 1099511628211u;
  return hash;
}

void reread_begin(struct reread *r) {
  if (r->next >= r->check_to) {
    r->check_to = r->next;
    r->check_hash = r->hash;
  }
  r->next = 0;
  r->hash = REREAD_INIT.hash;
}

void reread_cut(struct reread *r) {
  r->check_to = MIN_OF(r->check_to, r->next);
}

int64_t reread_known(const struct reread *r) {
  return MAX_OF(r->check_to - r->next, (int64_t)0);
}

bool reread_pass(struct reread *r, struct str bytes) {
  bool known = reread_known(r) > 0, same = (int64_t)bytes.n <= reread_known(r) || !known;
  while (bytes.n && same) {
    size_t mark = next_mark(r);
    struct str step = mark < REREAD_MARKS ? str_slice(bytes, 0, (size_t)(mark_at(mark) - r->next)) : bytes;
    r->hash = reread_hash(r->hash, step);
    r->next += (int64_t)step.n;
    bytes = str_slice(bytes, step.n, bytes.n);
    if (mark == REREAD_MARKS || r->next < mark_at(mark))
      continue;
    if (known)
      same = !r->marks[mark] || r->marks[mark] == r->hash;
    else
      r->marks[mark] = r->hash;
  }
  return same && (!known || r->next < r->check_to || r->hash == r->check_hash);
}

/* How many marks there can be. */
static size_t mark_count(const struct reread *r) {
  size_t count = 0;
  while (count < REREAD_MARKS && mark_at(count) <= MAX_OF(r->next, r->check_to))
    count++;
  return count;
}

void reread_save(const struct reread *r, struct buf *out) {
  pack_i64(out, r->next);
  pack_u64(out, r->hash);
  pack_i64(out, r->check_to);
  pack_u64(out, r->check_hash);
  for (size_t i = 0, n = mark_count(r); i < n; i++)
    pack_u64(out, r->marks[i]);
}

void reread_restore(struct reread *r, bool with_marks, struct str *state, bool *bad) {
  *r = REREAD_INIT;
  r->next = unpack_i64(state, bad);
  r->hash = unpack_u64(state, bad);
  r->check_to = unpack_i64(state, bad);
  r->check_hash = unpack_u64(state, bad);
  *bad |= r->next < 0 || r->check_to < 0;
  for (size_t i = 0, n = with_marks && !*bad ? mark_count(r) : 0; i < n; i++)
    r->marks[i] = unpack_u64(state, bad);
}
