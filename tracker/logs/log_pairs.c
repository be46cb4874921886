/* Names with numbers in a line of any shape: "loss: 0.5", "acc=91.2%", "Loss 2.30 (2.31)", "0.53 cost", "val: tensor(0.3)".
 *
 * The line is read from left to right. A segment is the run of words that may become a name; separators end it. A number behind a colon
 * or an equals sign is a value; a number right behind a word is one when the word is a metric's. Words that become no name may tell the
 * section. */
#include "tracker/logs/log_scan.h"

enum { LIST_MAX = 8 };

void log_next_segment(struct log_scan *s, size_t segment) {
  if (s->segment < s->at)
    log_leave_words(s->p, s->segment, s->at);
  s->segment = segment;
}

static bool segment_has(const struct log_scan *s, unsigned flags) {
  for (size_t i = s->segment; i < s->at; i++)
    if (s->p->tokens[i].type == LOG_T_WORD && token_word(s->p, i) & flags)
      return true;
  return false;
}

/* "positive_sample_loss at", "HITS@10 at": among the words is a metric's name. */
static bool segment_measures(const struct log_scan *s) {
  for (size_t i = s->segment; i < s->at; i++)
    if (token_is_word(s->p, i) && (token_word(s->p, i) & LOG_WORD_METRIC || token_key(s->p, i).kind == LOG_KEY_METRIC))
      return true;
  return false;
}

/* "package.module.callbacks:157 >> ": where in the code a logger stands, before the message. */
static bool is_code_place(const struct log_scan *s, struct str name) {
  const struct log_parse *p = s->p;
  size_t number = s->at + 1, next = s->at + 2;
  if (next >= p->tokens_n || !token_is(p, s->at, ':') || p->tokens[s->at].flags & LOG_T_SPACE || !token_is_int(p, number) ||
      p->tokens[number].flags & LOG_T_SPACE)
    return false;
  for (size_t i = 0; i < name.n; i++)
    if (!islower((unsigned char)name.p[i]) && !isdigit((unsigned char)name.p[i]) && name.p[i] != '_' && name.p[i] != '.')
      return false;
  return token_is(p, next, '>') || token_is(p, next, '-') || token_is(p, next, '|') || token_is(p, next, ']');
}

/* A name of several words that starts with the section passes it on: "train mean loss: 2.1, accuracy: 0.3". */
static void inherit_section(struct log_parse *p, struct str name, enum log_key_kind kind) {
  if (kind != LOG_KEY_METRIC || !log_look_up(p, name)->divided)
    return;
  struct str word = str_slice(name, 0, str_find(name, ' '));
  if (log_flags(p, word) & LOG_WORD_SECTION)
    p->line_section = word;
}

struct raw *log_add_pair(struct log_scan *s, struct str name, double value, bool percent) {
  if (log_look_up(s->p, name)->dotted && (log_is_source_file(name) || is_code_place(s, name))) /* train.py:42 */
    return NULL;
  struct raw *raw = log_add_raw(s->p, name, value);
  if (!raw)
    return NULL;
  raw->percent = percent;
  if (s->summary && !s->p->line_section.n)
    raw->section = STR("*");
  return raw;
}

/* "Rank-1: 30.1%", how often the right one is among the first so many; "rank 1: 4.2" is a process. */
static bool is_rank(struct str name, bool percent) {
  return name.n >= 5 && name.n <= 8 && strncasecmp(name.p, "rank", 4) == 0 && (percent || name.p[4] != ' ') &&
         isdigit((unsigned char)name.p[name.n - 1]) && name.p[4] != '0' && name.p[5 - (name.n == 5)] != '0';
}

/* "log_mle: 0.98 (1.01)" within a training: a value and its mean so far are measured, whatever the name. */
static bool is_meter(const struct log_parse *p, const struct log_reading *r) {
  bool within = !place_is_none(&p->kept.carried) || !place_is_none(&p->own);
  return within && r->count == 2 && !r->integer && str_is(r->second, " avg");
}

void log_take_reading(struct log_scan *s, struct str name, const struct log_reading *r) {
  struct raw *raw = log_add_pair(s, name, r->values[0], r->percent);
  if (!raw)
    return;
  raw->integer = r->integer && !r->percent;
  if (r->measure)
    raw->kind = LOG_KEY_CLOCK;
  if (raw->kind == LOG_KEY_UNKNOWN && is_meter(s->p, r))
    raw->kind = LOG_KEY_METRIC;
  if (raw->kind == LOG_KEY_SETTING && !raw->integer && is_rank(name, r->percent))
    raw->kind = LOG_KEY_METRIC;
  if (raw->integer && (r->values[0] == 16 || r->values[0] == 32 || r->values[0] == 64) && str_ends(name, STR("precision")))
    raw->kind = LOG_KEY_SETTING;
  if (r->count == 2)
    log_add_second(s->p, r->values[1], r->second_percent, r->second);
  inherit_section(s->p, name, raw->kind);
}

/* "mIoU/mAcc/allAcc 0.61/0.72/0.91": as many numbers as names, divided alike. */
static bool divided_values(struct log_scan *s, size_t value) {
  struct log_parse *p = s->p;
  size_t end = value;
  if (s->at == p->first || !token_is_word(p, s->at - 1))
    return false;
  struct str names = token_text(p, s->at - 1), rest = names, part;
  for (; str_split(&rest, '/', &part); end += 2)
    if (log_classify(p, part).kind != LOG_KEY_METRIC || !token_is_number(p, end) || p->tokens[end].flags & LOG_T_UNIT ||
        token_is(p, end + 1, '/') != (rest.n > 0))
      return false;
  log_leave_words(p, s->segment, s->at - 1);
  for (rest = names; str_split(&rest, '/', &part); value += 2)
    log_add_pair(s, part, p->tokens[value].value, p->tokens[value].flags & LOG_T_PERCENT);
  s->at = end - 2;
  s->segment = end - 1;
  return true;
}

/* ---- the scan ---- */

static bool is_setting_name(struct log_parse *p, size_t from, size_t to) {
  struct str name = log_make_name(p, from, to);
  return name.n && log_classify(p, name).kind == LOG_KEY_SETTING && !log_is_container(name);
}

/* "train: 100%|####", "640: 100% ━━━": how full a bar is. */
static bool is_bar(const struct log_parse *p, size_t i) {
  if (!token_is_number(p, i) || !(p->tokens[i].flags & LOG_T_PERCENT) || i + 1 >= p->tokens_n)
    return false;
  const struct log_token *t = &p->tokens[i + 1];
  if (t->type == LOG_T_BREAK && t->end - t->at == 3)
    return (unsigned char)p->text.p[t->at + 1] >= 0x94 && (unsigned char)p->text.p[t->at + 1] <= 0x97;
  return token_is(p, i + 1, '|') && !(t->flags & LOG_T_SPACE);
}

/* "   LOC: precision: 0.9; recall: 0.8": one of several lines with the same names. */
static bool is_label(const struct log_scan *s, struct str name, enum log_key_kind kind) {
  const struct log_parse *p = s->p;
  return s->at == p->first + 1 && token_is_word(p, p->first) && token_is(p, s->at, ':') && token_is_word(p, s->at + 1) &&
         kind == LOG_KEY_UNKNOWN && name.n && !p->line_section.n && !log_is_container(name);
}

static bool stands_apart(const struct log_scan *s) {
  const struct log_parse *p = s->p;
  bool indented = p->first == 0 && (p->text.p[0] == ' ' || p->text.p[0] == '\t');
  return indented || (s->at + 1 < p->tokens_n && p->tokens[s->at + 1].flags & LOG_T_GAP);
}

/* What the label before names says: their section, when it stands apart; else it may tell them from the same names at the same place. */
static void take_label(struct log_scan *s, struct str name) {
  if (stands_apart(s))
    s->p->line_section = name;
  else if (log_is_label(s->p, name))
    s->p->label = name;
}

static bool ends_in_metric(struct str name) {
  size_t n = name.n - (name.n && (name.p[name.n - 1] | 0x20) == 's');
  return n >= 6 && strncasecmp(name.p + n - 6, "metric", 6) == 0;
}

static bool says_result(struct str word) {
  return str_eq_nocase(word, STR("result")) || str_eq_nocase(word, STR("value"));
}

/* "Result: 0.93", "Final result = 91%", the whole line: the word otherwise only leads to names. The number is at `next`. */
static bool only_result(struct log_scan *s, size_t next) {
  struct log_parse *p = s->p;
  size_t word = s->at - 1;
  if (s->segment != p->first || s->at == p->first || !token_is_word(p, word) || !says_result(token_text(p, word)) ||
      (next + 1 != p->tokens_n && !token_is(p, next + 1, '(')) || !token_is_number(p, next) ||
      p->tokens[next].flags & (LOG_T_INT | LOG_T_UNIT))
    return false;
  struct str name = str_n(p->text.p + p->tokens[p->first].at, p->tokens[word].end - p->tokens[p->first].at);
  struct raw *raw = log_add_pair(s, name, p->tokens[next].value, p->tokens[next].flags & LOG_T_PERCENT);
  if (!raw)
    return false;
  raw->kind = LOG_KEY_METRIC;
  s->at = next;
  s->segment = next + 1;
  return true;
}

/* Where the name before the comma at `end` begins: a few words that are a metric's. SIZE_MAX: it is no such name. */
static size_t listed_name(struct log_parse *p, size_t end, size_t least) {
  size_t from = end;
  while (from > least && !token_is(p, from - 1, ',') && (token_is_word(p, from - 1) || token_is(p, from - 1, '-')))
    from--;
  struct str name = from < end && end - from <= 6 ? log_make_name(p, from, end) : STR("");
  return name.n && log_classify(p, name).kind == LOG_KEY_METRIC ? from : SIZE_MAX;
}

/* "precision, recall, F1: (0.88, 0.85, 0.86)", "(loss, acc) = (0.51, 0.82)": as many numbers as names. The numbers begin at `next`. */
static bool listed_values(struct log_scan *s, size_t next) {
  struct log_parse *p = s->p;
  bool bracket = token_is(p, next, '(') || token_is(p, next, '[');
  size_t value = next + bracket;
  if (!token_is_number(p, value) || !token_is(p, value + 1, ',') || s->at == p->first)
    return false;
  size_t starts[LIST_MAX], n = 0, last = token_is(p, s->at - 1, ')') ? s->at - 1 : s->at, end = last;
  if (last == s->at && (s->segment == p->first || !token_is(p, s->segment - 1, ',')))
    return false;
  for (;;) {
    size_t from = listed_name(p, end, p->first);
    if (from == SIZE_MAX || n == LIST_MAX)
      return false;
    starts[n++] = from;
    if (from == p->first || !token_is(p, from - 1, ','))
      break;
    end = from - 1;
  }
  for (size_t i = 0; i < MAX_OF(n, (size_t)2); i++)
    if (!token_is_number(p, value + 2 * i) || (i + 1 < n && !token_is(p, value + 2 * i + 1, ',')))
      return false;
  size_t after = value + 2 * n - 1;
  if (bracket ? !token_is(p, after, ')') && !token_is(p, after, ']') : token_is(p, after, ',') && token_is_number(p, after + 1))
    return false;
  for (size_t i = 0; i < n; i++) {
    size_t from = starts[n - 1 - i], to = i + 1 < n ? starts[n - 2 - i] - 1 : last, at = value + 2 * i;
    log_add_pair(s, log_make_name(p, from, to), p->tokens[at].value, p->tokens[at].flags & LOG_T_PERCENT);
  }
  s->at = after - !bracket;
  s->segment = s->at + 1;
  return true;
}

/* "ckpt/epoch=3-val_loss=0.41.ckpt", from the sign at i on: where a file's name ends; 0 when it is none. */
static size_t file_name_end(const struct log_parse *p, size_t i) {
  size_t end = i + 1;
  while (end < p->tokens_n && !(p->tokens[end].flags & LOG_T_SPACE) &&
         (p->tokens[end].type != LOG_T_MARK || strchr("-=._/", p->tokens[end].mark)))
    end++;
  if (end < i + 3 || !token_is_word(p, end - 1))
    return 0;
  bool ending = p->words[end - 1].dotted || token_is(p, end - 2, '.');
  return ending ? end : 0;
}

/* "hyperparameters: lr0=0.01, box=0.05, cls=0.5": the whole line tells what was set. */
static bool leads_settings(const struct log_scan *s, size_t next) {
  static const char *const titles[] = {"hyperparameters", "hparams", "config", "configuration", "settings", "args", "arguments", "options"};
  const struct log_parse *p = s->p;
  if (s->at != p->first + 1 || !token_is_word(p, p->first) || !token_is_word(p, next) || !token_is(p, next + 1, '='))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(titles); i++)
    if (str_eq_nocase(token_text(p, p->first), str_of(titles[i])))
      return true;
  return false;
}

/* Behind the signs that begin at s->at: "=", "==", "=>", "->", "..". */
static size_t skip_signs(const struct log_scan *s) {
  const struct log_parse *p = s->p;
  bool equals = token_is(p, s->at, '='), dots = token_is(p, s->at, '.');
  size_t next = s->at + 1 + is_arrow(p, s->at);
  while (next < p->tokens_n && (token_is(p, next, '=') || (token_is(p, next, '>') && !equals) || (token_is(p, next, '.') && dots)))
    next++;
  return next;
}

static bool skip_file_name(struct log_scan *s) {
  size_t end = token_is(s->p, s->at, '=') && token_is_number(s->p, s->at + 1) ? file_name_end(s->p, s->at) : 0;
  if (!end)
    return false;
  s->at = end - 1;
  s->segment = end;
  return true;
}

/* "results: {'loss': 0.5}" */
static bool dict_behind(struct log_scan *s, size_t next) {
  struct log_parse *p = s->p;
  if (!token_is(p, next, '{'))
    return false;
  bool skip = is_setting_name(p, s->segment, s->at);
  size_t end = log_find_dict(p, p->text, p->tokens[next].at, skip);
  log_leave_words(p, s->segment, s->at);
  if (!end)
    return false;
  while (next < p->tokens_n && p->tokens[next].at < end)
    next++;
  s->at = next - 1;
  s->segment = next;
  return true;
}

static bool settings_behind(struct log_scan *s, size_t next) {
  if (!leads_settings(s, next))
    return false;
  s->at = s->segment = s->p->tokens_n;
  return true;
}

/* "Epoch time cost=3.2": only the last word before a sign without blanks is the name. */
static bool is_tight(const struct log_scan *s, size_t next) {
  const struct log_parse *p = s->p;
  return token_is(p, s->at, '=') && s->segment + 1 < s->at && next < p->tokens_n &&
         !((p->tokens[s->at].flags | p->tokens[next].flags) & LOG_T_SPACE) && token_is_word(p, s->at - 1);
}

static bool value_behind(struct log_scan *s, size_t next, struct str name, enum log_key_kind kind) {
  struct log_reading r;
  if (!name.n || is_bar(s->p, next) || !log_read_value(s->p, next, kind, name, &r))
    return false;
  if (is_tight(s, next)) {
    if (segment_has(s, LOG_WORD_CLOCK)) /* "Time cost=3.2" */
      r.measure = true;
    log_leave_words(s->p, s->segment, s->at - 1);
  }
  log_take_reading(s, name, &r);
  s->at = r.end - 1;
  s->segment = r.end;
  return true;
}

/* A name, a sign, and no value: what the name may be instead. */
static void name_alone(struct log_scan *s, size_t next, struct str name, enum log_key_kind kind) {
  struct log_parse *p = s->p;
  bool metric = kind == LOG_KEY_METRIC;
  if (metric && next >= p->tokens_n) { /* the number comes on the next line */
    memcpy(p->kept.pending, name.p, name.n);
    p->kept.pending_n = (uint8_t)name.n;
    p->pending_new = true;
  }
  if (metric && token_is_word(p, next) && token_is_word(p, next + 1) && str_is(token_text(p, next + 1), "is") &&
      token_is_number(p, next + 2)) { /* "Accuracy for class: plane is 60.5 %" */
    s->at = next + 1;
    return;
  }
  p->measured |= metric && token_is_word(p, next) && ends_in_metric(name); /* SpanMetric: f=0.5, pre=0.6 */
  if (is_label(s, name, kind) && next < p->tokens_n)
    take_label(s, name);
  bool word_set = token_is(p, s->at, '=') && token_is_word(p, next) && !token_is(p, next + 1, '('); /* optimizer=adam */
  log_next_segment(s, word_set ? next + 1 : s->at + 1);
  s->at = word_set ? next : s->at;
}

/* At ':' or '='. */
static void separator(struct log_scan *s) {
  struct log_parse *p = s->p;
  if (skip_file_name(s))
    return;
  size_t next = skip_signs(s);
  if (dict_behind(s, next) || listed_values(s, next) || (token_is(p, next + 1, '/') && divided_values(s, next)) || settings_behind(s, next))
    return;
  struct str name = log_make_name(p, is_tight(s, next) ? s->at - 1 : s->segment, s->at);
  enum log_key_kind kind = log_classify(p, name).kind;
  if (kind == LOG_KEY_UNKNOWN && only_result(s, next))
    return;
  if (!value_behind(s, next, name, kind))
    name_alone(s, next, name, kind);
}

/* The mark with blanks on both sides. */
static bool is_spaced(const struct log_parse *p, size_t i, char mark) {
  return token_is(p, i, mark) && p->tokens[i].flags & LOG_T_SPACE && i + 1 < p->tokens_n && p->tokens[i + 1].flags & LOG_T_SPACE;
}

static bool ends_value(const struct log_parse *p, size_t i) {
  if (i >= p->tokens_n || p->tokens[i].type == LOG_T_BREAK || p->tokens[i].flags & (LOG_T_GAP | LOG_T_USED))
    return true;
  if (p->tokens[i].type == LOG_T_NUMBER && p->tokens[i].flags & LOG_T_UNIT) /* "Grad Norm 1.2 2.1s/it" */
    return true;
  if (is_spaced(p, i, '@') || is_spaced(p, i, '/')) /* "step 100 @ 3.1 it/s", "loss 0.5 / accuracy 0.9" */
    return true;
  if (token_is(p, i, '.'))
    return i + 1 == p->tokens_n || p->tokens[i + 1].flags & LOG_T_SPACE;
  return p->tokens[i].type == LOG_T_MARK && mark_is(p->tokens[i].mark, MARK_ENDS);
}

/* Score at iteration 0 is 2.3; 'val_loss' reached 1.06 */
static bool says_number(struct str word) {
  return str_is(word, "is") || str_is(word, "was") || str_is(word, "reached");
}

/* "improved from 0.31", "will decay 0.9": its number is none that was just measured. */
static bool tells_another_time(const struct log_scan *s) {
  for (size_t k = s->segment; k < s->at; k++)
    if (token_is_word(s->p, k) && (str_eq_nocase(token_text(s->p, k), STR("from")) || str_eq_nocase(token_text(s->p, k), STR("will"))))
      return true;
  return false;
}

/* Does nothing stand before the words that could belong to them? */
static bool starts_apart(const struct log_scan *s) {
  const struct log_parse *p = s->p;
  size_t from = s->segment;
  if (from == p->first || p->tokens[from].flags & LOG_T_GAP || is_spaced(p, from - 1, '/') || p->tokens[from - 1].flags & LOG_T_USED)
    return true;
  return p->tokens[from - 1].type == LOG_T_MARK && mark_is(p->tokens[from - 1].mark, MARK_STARTS);
}

/* "iter 1 act 1.2 pre 1.1 f 1.9": one word, one number, and so on. The number ends at `end`. */
static bool is_in_row(const struct log_scan *s, size_t words, bool starts, size_t end) {
  const struct log_parse *p = s->p;
  if (words != 1 || place_is_none(&p->own) || !(starts || token_is_number(p, s->segment - 1)))
    return false;
  if (token_is_word(p, end) && !(token_word(p, end) & (LOG_WORD_FILLER | LOG_WORD_LIMIT)))
    return true;
  return token_is(p, end, '|') || (end == p->tokens_n && s->segment > p->first);
}

/* May a name of this kind have the number right behind it? `last`: its last word, empty where a mark stands between. */
static bool takes_bare_value(struct log_scan *s, enum log_key_kind kind, struct str last, const struct log_reading *r) {
  struct log_parse *p = s->p;
  size_t words = 0;
  for (size_t k = s->segment; k < s->at; k++)
    words += p->tokens[k].type == LOG_T_WORD;
  bool starts = starts_apart(s), ends = ends_value(p, r->end);
  if (is_in_row(s, words, starts, r->end))
    starts = ends = true;
  if (kind == LOG_KEY_METRIC) {
    bool last_is_metric = log_classify(p, last).kind == LOG_KEY_METRIC || says_number(last) || !last.n;
    return (!r->integer || ends || r->percent) && (last_is_metric || ((starts || token_is_number(p, s->segment - 1)) && ends));
  }
  if (kind == LOG_KEY_SECTION)
    return (!r->integer || r->percent) && !place_is_none(&p->own);
  if (!starts || !ends)
    return false;
  if (kind != LOG_KEY_UNKNOWN && kind != LOG_KEY_SCHEDULE)
    return true;
  bool divided = s->segment > p->first && token_is(p, s->segment - 1, '|') && (r->end >= p->tokens_n || token_is(p, r->end, '|'));
  return words <= 2 && (!r->integer || divided) && s->segment != p->first;
}

/* A number with no separator before it: "Loss 2.3", "ppl  2051.00", "valid loss 5.4". */
static bool bare_value(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at;
  if (!token_is_word(p, i - 1) && !token_is(p, i - 1, ')') && !token_is(p, i - 1, '|'))
    return false;
  struct str last = token_is_word(p, i - 1) ? token_text(p, i - 1) : STR("");
  if (token_word(p, i - 1) & (LOG_WORD_LIMIT | LOG_WORD_FILLER) && !says_number(last) && !str_is(last, "of"))
    return false;
  struct str name = tells_another_time(s) ? STR("") : log_make_name(p, s->segment, i);
  if (!name.n)
    return false;
  enum log_key_kind kind = log_classify(p, name).kind;
  struct log_reading r;
  log_read_number(p, i, kind, name, &r);
  if (!takes_bare_value(s, kind, last, &r))
    return false;
  log_take_reading(s, name, &r);
  s->at = r.end - 1;
  s->segment = r.end;
  return true;
}

/* "0.53 cost," "736.29 avg loss," : the name behind its number. */
static bool reversed_value(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at, end = i + 1;
  if (p->tokens[i].flags & (LOG_T_INT | LOG_T_UNIT))
    return false;
  while (end < p->tokens_n && end <= i + 3 && p->tokens[end].type == LOG_T_WORD && !(p->tokens[end].flags & (LOG_T_USED | LOG_T_GAP)))
    end++;
  if (end == i + 1)
    return false;
  if (!ends_value(p, end)) {
    if (token_key(p, i + 1).kind != LOG_KEY_METRIC || token_is_number(p, end) || token_is(p, end, ':') || token_is(p, end, '='))
      return false;
    end = i + 2;
  }
  struct str name = log_make_name(p, i + 1, end);
  bool after_current = i >= p->first + 3 && token_is(p, i - 1, ',') && token_is_number(p, i - 2) && p->tokens[i - 3].flags & LOG_T_USED;
  if (after_current && str_is(name, "avg")) /* "20: 208.1, 591.0 avg, 0.001 rate" */
    name = STR("avg loss");
  if (!name.n || log_classify(p, name).kind != LOG_KEY_METRIC)
    return false;
  struct raw *raw = log_add_pair(s, name, p->tokens[i].value, p->tokens[i].flags & LOG_T_PERCENT);
  if (raw && after_current && name.n > 4 && strncasecmp(name.p, "avg ", 4) == 0)
    /* "1: 736.2, 730.1 avg loss": the current one has no name of its own */
    log_add_pair(s, str_slice(name, 4, name.n), p->tokens[i - 2].value, false);
  s->at = end - 1;
  s->segment = end;
  return true;
}

/* "0.8512 = Validation score (accuracy)", the whole line. */
static bool equals_name(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at;
  if (i != p->first || !token_is(p, i + 1, '=') || !token_is_word(p, i + 2) || p->tokens[i].flags & LOG_T_UNIT)
    return false;
  for (size_t k = i + 3; k < p->tokens_n; k++)
    if (p->tokens[k].type != LOG_T_WORD && !token_is(p, k, '(') && !token_is(p, k, ')'))
      return false;
  struct str name = log_make_name(p, i + 2, p->tokens_n);
  struct raw *raw = name.n ? log_add_pair(s, name, p->tokens[i].value, p->tokens[i].flags & LOG_T_PERCENT) : NULL;
  if (!raw)
    return false;
  s->at = p->tokens_n - 1;
  s->segment = p->tokens_n;
  return true;
}

/* "Train loss 120 0.532": the step stands between the name and its value. */
static bool step_then_value(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at;
  if (!token_is_int(p, i) || !token_is_number(p, i + 1) || p->tokens[i + 1].flags & (LOG_T_INT | LOG_T_UNIT) || !token_is_word(p, i - 1) ||
      !(p->tokens[i].value >= 0) || !isnan(p->own.step) || !isnan(p->own.batch))
    return false;
  struct str name = log_make_name(p, s->segment, i);
  if (!name.n || s->segment != p->first || log_classify(p, name).kind != LOG_KEY_METRIC)
    return false;
  struct log_reading r;
  log_read_number(p, i + 1, LOG_KEY_METRIC, name, &r);
  p->own.step = p->tokens[i].value;
  log_take_reading(s, name, &r);
  s->at = r.end - 1;
  s->segment = r.end;
  return true;
}

/* "EPOCH[1/1000] loss0.580": the name and its number in one word. "mAP0.5: 0.3" is a name. */
static bool glued_value(struct log_scan *s) {
  struct log_parse *p = s->p;
  struct str word = token_text(p, s->at);
  struct log_number number;
  size_t digit = 0;
  while (digit < word.n && !isdigit((unsigned char)word.p[digit]))
    digit++;
  struct str name = str_slice(word, 0, digit);
  size_t next = s->at + 1;
  bool names = token_is(p, next, ':') || token_is(p, next, '=') || token_is_number(p, next);
  if (digit < 2 || digit == word.n || !isalpha((unsigned char)name.p[digit - 1]) || names || place_is_none(&p->own) ||
      log_scan_number(str_slice(word, digit, word.n), &number) != word.n - digit || number.integer ||
      log_classify(p, name).kind != LOG_KEY_METRIC)
    return false;
  log_add_pair(s, name, number.value, false);
  log_next_segment(s, s->at + 1);
  return true;
}

static void number(struct log_scan *s) {
  struct log_parse *p = s->p;
  if (s->segment == s->at) {
    if (!equals_name(s) && !reversed_value(s))
      s->segment = s->at + 1;
    return;
  }
  if ((token_is(p, s->at + 1, '/') && divided_values(s, s->at)) || step_then_value(s) || bare_value(s))
    return;
  const struct log_token *t = &p->tokens[s->at];
  if (t->flags & LOG_T_UNIT || ends_value(p, s->at + 1))
    log_next_segment(s, s->at + 1);
}

static bool says_value(const struct log_parse *p, size_t i) {
  return token_is_word(p, i) && (str_is(token_text(p, i), "is") || str_is(token_text(p, i), "was"));
}

/* A run of tokens that tell the place. The name may go on behind it: "Training loss at step 0: 2.3". */
static void used_run(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t end = s->at;
  while (end < p->tokens_n && p->tokens[end].flags & LOG_T_USED)
    end++;
  size_t next = end; /* "after 250 iterations with early exaggeration: 61.2" */
  while (next < end + 4 && token_is_word(p, next) && !(p->tokens[next].flags & (LOG_T_USED | LOG_T_GAP)) &&
         !(token_word(p, next) & (LOG_WORD_METRIC | LOG_WORD_SECTION | LOG_WORD_CLOCK)) && !says_value(p, next))
    next++;
  bool goes_on = s->segment < s->at && (token_is(p, next, ':') || token_is(p, next, '=') || says_value(p, end)) && segment_measures(s);
  if (!goes_on)
    log_next_segment(s, end);
  s->at = end - 1;
}

/* "Losses {'ner': 12.3}": what is in the dict is of the kind that its name says. */
static void measures_dict(struct log_scan *s) {
  struct str name = s->segment < s->at ? log_make_name(s->p, s->segment, s->at) : STR("");
  s->p->measured |= name.n && log_classify(s->p, name).kind == LOG_KEY_METRIC;
}

/* At a bracket of a dict: its numbers are taken, of the section that stands before it. False when it is none. */
static bool dict(struct log_scan *s) {
  struct log_parse *p = s->p;
  log_leave_words(p, s->segment, s->at);
  measures_dict(s);
  size_t i = s->at, end = log_find_dict(p, p->text, p->tokens[i].at, false);
  if (!end)
    return false;
  log_next_segment(s, i + 1);
  while (s->at + 1 < p->tokens_n && p->tokens[s->at + 1].at < end)
    s->at++;
  s->segment = s->at + 1;
  return true;
}

/* "|proj g|= 4.3e-02": the bars belong to the name. */
static bool bars_in_name(struct log_scan *s) {
  const struct log_parse *p = s->p;
  size_t i = s->at, close = i + 1;
  while (close < p->tokens_n && close < i + 4 && token_is_word(p, close))
    close++;
  if (close == i + 1 || !token_is(p, close, '|') || p->tokens[close].flags & LOG_T_SPACE || p->tokens[i + 1].flags & LOG_T_SPACE ||
      !(token_is(p, close + 1, '=') || token_is_number(p, close + 1)))
    return false;
  log_next_segment(s, i);
  s->at = close;
  return true;
}

/* The end of a sentence, and not of "Avg."; "1024.1 SPS. Loss 12.3" are two. */
static bool ends_sentence(const struct log_scan *s) {
  const struct log_parse *p = s->p;
  size_t i = s->at;
  unsigned flags = i > s->segment ? token_word(p, i - 1) : 0;
  bool unit = flags & (LOG_WORD_CLOCK | LOG_WORD_UNIT) && !(flags & LOG_WORD_LIMIT);
  bool short_word = i > s->segment && token_is_word(p, i - 1) && token_text(p, i - 1).n <= 4 && !unit;
  return (i + 1 >= p->tokens_n || p->tokens[i + 1].flags & LOG_T_SPACE) && !short_word;
}

/* "dice_loss - 0.41, iou - 0.62", "valid_ppl -> 4.2": a dash or an arrow where others write a colon. */
static bool dash_separates(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at, number = i + 1 + is_arrow(p, i);
  if (i == s->segment || !(p->tokens[i].flags & LOG_T_SPACE) || !token_is_word(p, i - 1) || !token_is_number(p, number) ||
      !(p->tokens[number].flags & LOG_T_SPACE) || p->tokens[number].flags & (LOG_T_INT | LOG_T_UNIT) || !ends_value(p, number + 1))
    return false;
  struct str name = log_make_name(p, s->segment, i);
  return name.n && log_classify(p, name).kind == LOG_KEY_METRIC;
}

/* "train CrossEntropyLoss |  2.31": a drawn line where others write a colon, and nothing behind. */
static bool bar_separates(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at;
  if (i == s->segment || i + 2 != p->tokens_n || !token_is_word(p, i - 1) || !token_is_number(p, i + 1) ||
      !(p->tokens[i].flags & p->tokens[i + 1].flags & LOG_T_SPACE) || p->tokens[i + 1].flags & (LOG_T_INT | LOG_T_UNIT))
    return false;
  struct str name = log_make_name(p, s->segment, i);
  return name.n && log_classify(p, name).kind == LOG_KEY_METRIC;
}

/* "<loss>=0.31": the word is the name. */
static bool angled_name(struct log_scan *s) {
  const struct log_parse *p = s->p;
  if (!token_is_word(p, s->at + 1) || !token_is(p, s->at + 2, '>') || !token_is(p, s->at + 3, '='))
    return false;
  log_next_segment(s, s->at + 1);
  s->at += 2;
  return true;
}

/* "accuracy ......... 0.91" */
static bool leads_to_number(const struct log_parse *p, size_t i) {
  size_t end = i;
  while (token_is(p, end, '.'))
    end++;
  return end >= i + 3 && p->tokens[i].flags & LOG_T_SPACE && token_is_number(p, end) && p->tokens[end].flags & LOG_T_SPACE;
}

static void mark(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at, close;
  char c = p->tokens[i].mark;
  if (mark_is(c, MARK_INSIDE)) {
    if (i > p->first && token_is_number(p, i - 1) && is_spaced(p, i, '/')) /* "score 1.5 / loss 0.3" */
      log_next_segment(s, i + 1);
    return;
  }
  if (c == ':' || c == '=' || (c == '.' && leads_to_number(p, i)) || (c == '-' && dash_separates(s)) || (c == '|' && bar_separates(s)))
    separator(s);
  else if (c == '[' && (close = log_bracket_in_name(p, i)) != SIZE_MAX)
    s->at = close;
  else if (c == '[' || c == '(')
    log_enter_group(s);
  else if ((c == '{' && dict(s)) || (c == '|' && bars_in_name(s)) || (c == '<' && angled_name(s)) || (c == '.' && !ends_sentence(s)))
    return;
  else if (c != '-' || p->tokens[i].flags & LOG_T_SPACE || i == p->first)
    log_next_segment(s, i + 1);
}

/* "ValueError: loss is 12"; but "MeanSquaredError: 0.12" is a value. */
static bool is_complaint(const struct log_parse *p, size_t i) {
  struct str word = token_text(p, i);
  return token_is(p, i + 1, ':') && !token_is_number(p, i + 2) &&
         (str_ends(word, STR("Error")) || str_ends(word, STR("Exception")) || str_ends(word, STR("Warning")));
}

/* "0m 9s (- 0m 21s) (30 30%) 1.8708", "12:  2.15" under "Epoch: 0": where it stands, maybe the time, and one number. That number is what is
 * measured if the time stands beside it, or the log has had no names so far. */
static void unnamed_value(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = p->first;
  bool timed = false;
  for (; i < p->tokens_n; i++) {
    const struct log_token *t = &p->tokens[i];
    bool time = log_is_time(p, i);
    timed |= time;
    if (!time && !(t->flags & LOG_T_USED) && !(t->type == LOG_T_MARK && strchr("()[]-", t->mark)))
      break;
  }
  if (!token_is_number(p, i) || p->tokens[i].flags & (LOG_T_INT | LOG_T_UNIT | LOG_T_PERCENT) || token_is(p, i - 1, '-'))
    return;
  bool told = timed && !isnan(p->own.step), bare = i + 1 == p->tokens_n && !place_is_none(&p->own) && !isnan(p->kept.carried.epoch);
  if (!told && !(bare && log_names_nothing(p)))
    return;
  struct raw *raw = log_add_pair(s, STR("value"), p->tokens[i].value, false);
  if (raw)
    raw->kind = LOG_KEY_METRIC;
}

void log_find_pairs(struct log_parse *p) {
  struct log_scan s = {.p = p, .at = p->first, .segment = p->first};
  s.summary = token_is(p, p->first, '*') && token_is_word(p, p->first + 1);
  bool bracket = token_is(p, p->first, '[');
  size_t waited = p->first + bracket;
  if (p->kept.pending_n && token_is_number(p, waited) &&
      (!bracket || token_is(p, waited + 1, ']'))) { /* the number for the name that ended the line before */
    struct log_reading r;
    log_read_number(p, waited, LOG_KEY_METRIC, STR(""), &r);
    char *name = log_scratch(p, p->kept.pending_n);
    if (name) {
      memcpy(name, p->kept.pending, p->kept.pending_n);
      log_take_reading(&s, str_n(name, p->kept.pending_n), &r);
      s.at = s.segment = r.end;
    }
  }
  for (; s.at < p->tokens_n; s.at++) {
    const struct log_token *t = &p->tokens[s.at];
    if (t->flags & LOG_T_USED) {
      used_run(&s);
      continue;
    }
    switch (t->type) {
    case LOG_T_WORD:
      if (t->flags & LOG_T_GAP && s.segment < s.at)
        log_next_segment(&s, s.at);
      if (p->words[s.at].dotted && glued_value(&s))
        break;
      p->refused |= (token_word(p, s.at) & LOG_WORD_TALK) != 0 || is_complaint(p, s.at);
      break;
    case LOG_T_NUMBER:
      number(&s);
      break;
    case LOG_T_MARK:
      mark(&s);
      break;
    default: /* drawings, times */
      log_next_segment(&s, s.at + 1);
    }
  }
  s.at = p->tokens_n;
  log_next_segment(&s, p->tokens_n);
  if (!p->raw_n && !place_is_none(&p->own))
    unnamed_value(&s);
}
