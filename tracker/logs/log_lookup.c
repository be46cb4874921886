/* What words and names mean, looked up once: a log says the same ones again and again. */
#include "tracker/logs/log_state.h"

/* Stands in stored states: it stays as it is. */
static uint64_t stored_hash(struct str s) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < s.n; i++)
    hash = (hash ^ (unsigned char)s.p[i]) * 1099511628211u;
  return hash ? hash : 1;
}

static uint64_t load(const char *p, size_t n) {
  uint64_t word = 0;
  memcpy(&word, p, n);
  return word;
}

/* Eight bytes at a time, for what is kept only while the program runs. */
static uint64_t quick_hash(struct str s) {
  uint64_t hash = s.n * 0x9e3779b97f4a7c15u;
  size_t i = 0;
  for (; i + 8 <= s.n; i += 8) {
    hash = (hash ^ load(s.p + i, 8)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  if (s.n - i >= 4) {
    hash = (hash ^ load(s.p + i, 4) ^ load(s.p + s.n - 4, 4) << 32) * 0xff51afd7ed558ccdu;
  } else if (s.n > i) {
    size_t rest = s.n - i;
    uint64_t last = (uint64_t)(unsigned char)s.p[i] << 16 | (uint64_t)(unsigned char)s.p[i + rest / 2] << 8 | (unsigned char)s.p[s.n - 1];
    hash = (hash ^ last) * 0xff51afd7ed558ccdu;
  }
  hash ^= hash >> 29;
  hash *= 0xc4ceb9fe1a85ec53u;
  hash ^= hash >> 32;
  return hash ? hash : 1;
}

uint64_t log_key_hash(struct log_parse *p, struct str key) {
  uint64_t quick = quick_hash(key);
  size_t at = quick & (CACHE_MAX - 1);
  if (p->hashes[at].quick != quick) {
    p->hashes[at].quick = quick;
    p->hashes[at].stored = stored_hash(key);
  }
  return p->hashes[at].stored;
}

static bool is_time_unit(struct str word) {
  static const char *const units[] = {"s", "sec", "second", "ms", "us", "min", "h", "hour"};
  for (size_t i = 0; i < ARRAY_LEN(units); i++)
    if (str_eq_nocase(word, str_of(units[i])))
      return true;
  return false;
}

/* "it/s", "clips/sec", "ms/step", "GB/s": a measure, whatever is counted. */
static bool is_rate_unit(struct str word) {
  size_t slash = str_find(word, '/');
  return slash != SIZE_MAX && slash > 0 && slash + 1 < word.n &&
         (is_time_unit(str_slice(word, 0, slash)) || is_time_unit(str_slice(word, slash + 1, word.n)));
}

static const struct word_info *look_up(struct log_parse *p, struct str name) {
  uint64_t hash = quick_hash(name);
  size_t at = hash & (CACHE_MAX - 1);
  if (p->cache[at].hash != hash) {
    p->cache[at].hash = hash;
    p->cache[at].info = (struct word_info){.flags = (uint16_t)(log_word(name) | (is_rate_unit(name) ? LOG_WORD_UNIT : 0)),
                                           .section = log_is_section(name),
                                           .placing = log_may_be_place(name),
                                           .dotted = str_find(name, '.') != SIZE_MAX,
                                           .divided = str_find(name, ' ') != SIZE_MAX,
                                           .key = log_key_classify(name)};
  }
  return &p->cache[at].info;
}

unsigned log_flags(struct log_parse *p, struct str word) {
  return look_up(p, word)->flags;
}

/* A name is asked for several times in turn. */
const struct word_info *log_look_up(struct log_parse *p, struct str name) {
  if (name.n && name.n == p->asked.n && memcmp(name.p, p->asked.name, name.n) == 0)
    return &p->asked.info;
  const struct word_info *info = look_up(p, name);
  if (name.n > sizeof p->asked.name || !name.n)
    return info;
  memcpy(p->asked.name, name.p, name.n);
  p->asked.n = (uint8_t)name.n;
  p->asked.info = *info;
  return &p->asked.info;
}

struct log_key log_classify(struct log_parse *p, struct str name) {
  return log_look_up(p, name)->key;
}

/* ".75R: 0.1", "1NN=0.9": a number with letters that are no unit, before a value. */
static bool is_name(struct log_parse *p, const struct log_token *t) {
  struct str unit = str_n(p->text.p + t->end, t->unit_end - t->end), after = str_slice(p->text, t->unit_end, t->unit_end + 3);
  struct log_number number;
  if (after.n < 2 || (after.p[0] != ':' && after.p[0] != '=') || log_flags(p, unit) || !isalpha((unsigned char)unit.p[0]))
    return false;
  after = str_trim(str_slice(after, 1, after.n));
  return log_scan_number(after, &number) > 0;
}

void log_read_tokens(struct log_parse *p, struct str text) {
  p->text = text;
  p->tokens_n = log_tokenize(text, p->tokens, TOKENS_MAX);
  struct line_has has = {.only_names = true};
  for (size_t i = 0; i < p->tokens_n; i++) {
    struct log_token *t = &p->tokens[i];
    if (t->flags & LOG_T_UNIT && is_name(p, t)) {
      t->type = LOG_T_WORD;
      t->flags &= (uint8_t) ~(LOG_T_UNIT | LOG_T_INT);
      t->end = t->unit_end;
    }
    if (t->type == LOG_T_WORD) {
      p->words[i] = *look_up(p, token_text(p, i));
      continue;
    }
    p->words[i] = (struct word_info){0};
    if (t->type == LOG_T_NUMBER) {
      has.numbers = i + 1;
      has.percent |= (t->flags & LOG_T_PERCENT) != 0;
      has.only_names &= (t->flags & LOG_T_INT) != 0;
    } else {
      bool line = t->type == LOG_T_BREAK || t->mark == '|';
      has.lines |= line && !has.numbers;
      has.only_names &= line;
    }
  }
  p->has = has;
}
