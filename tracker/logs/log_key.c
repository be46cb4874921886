#include "tracker/logs/log_key.h"

#include "tracker/logs/log_words.h"

/* Names that the rule for their words would take for something else. */
static const struct {
  const char *name;
  enum log_key_kind kind;
} names[] = {
    {"#", LOG_KEY_STEP},
    {"batch_cost", LOG_KEY_CLOCK},
    {"best_value", LOG_KEY_METRIC},
    {"clip_frac", LOG_KEY_METRIC},
    {"clip_fraction", LOG_KEY_METRIC},
    {"cumulative_steps", LOG_KEY_STEP},
    {"current_function_value", LOG_KEY_METRIC},
    {"current_minimum", LOG_KEY_METRIC},
    {"data", LOG_KEY_CLOCK},
    {"data_cost", LOG_KEY_CLOCK},
    {"e", LOG_KEY_EPOCH},
    {"env_step", LOG_KEY_STEP},
    {"episodes", LOG_KEY_SETTING},
    {"epochs_done", LOG_KEY_EPOCH},
    {"epochs_seen", LOG_KEY_EPOCH},
    {"eval_steps", LOG_KEY_SETTING},
    {"example_counter", LOG_KEY_STEP},
    {"function_value", LOG_KEY_METRIC},
    {"function_value_obtained", LOG_KEY_METRIC},
    {"global_steps", LOG_KEY_STEP},
    {"grad_norm", LOG_KEY_METRIC},
    {"gradient_norm", LOG_KEY_METRIC},
    {"it", LOG_KEY_STEP},
    {"iterations", LOG_KEY_STEP},
    {"iterations_done", LOG_KEY_STEP},
    {"learning_curve", LOG_KEY_UNKNOWN},
    {"level", LOG_KEY_SETTING}, /* of a logger */
    {"loss_scale", LOG_KEY_SETTING},
    {"lower_bound", LOG_KEY_METRIC},
    {"lr", LOG_KEY_SCHEDULE},
    {"machine_precision", LOG_KEY_SETTING},
    {"max_grad_norm", LOG_KEY_SETTING},
    {"max_mem", LOG_KEY_CLOCK},
    {"n_updates", LOG_KEY_STEP},
    {"norm_delta", LOG_KEY_METRIC},
    {"num_timesteps", LOG_KEY_STEP},
    {"num_updates", LOG_KEY_STEP},
    {"number_of_trees", LOG_KEY_STEP},
    {"per_word_bound", LOG_KEY_METRIC},
    {"reader_cost", LOG_KEY_CLOCK},
    {"test_size", LOG_KEY_SETTING},
    {"time_step", LOG_KEY_STEP},
    {"total_env_steps", LOG_KEY_STEP},
    {"total_timesteps", LOG_KEY_STEP},
};

static bool is_digit(unsigned char c) {
  return c >= '0' && c <= '9';
}

static bool is_small(unsigned char c) {
  return (c >= 'a' && c <= 'z') || c >= 0x80;
}

static bool is_capital(unsigned char c) {
  return c >= 'A' && c <= 'Z';
}

static bool is_letter(unsigned char c) {
  return is_small(c) || is_capital(c);
}

bool log_subword(struct str *rest, struct str *ret) {
  const unsigned char *p = (const unsigned char *)rest->p;
  size_t i = 0, n = rest->n;
  while (i < n && !is_letter(p[i]) && !is_digit(p[i]))
    i++;
  size_t start = i;
  if (i == n)
    return false;
  if (is_digit(p[i])) {
    while (i < n && is_digit(p[i]))
      i++;
  } else {
    size_t whole = i; /* "IoU" is one word */
    while (whole < n && is_letter(p[whole]))
      whole++;
    bool known = log_word(str_n(rest->p + start, whole - start)) != 0;
    while (i < whole && (known || !(i > start && is_small(p[i - 1]) && is_capital(p[i]))))
      i++;
    /* "acc1", "F1", "top5" may be words with their digits; "F1macro" and "mAP50" are split otherwise */
    size_t digits = i;
    while (digits < n && is_digit(p[digits]))
      digits++;
    if (digits > i && log_word(str_n(rest->p + start, digits - start)))
      i = digits;
  }
  *ret = str_n(rest->p + start, i - start);
  rest->p += i;
  rest->n -= i;
  return true;
}

bool log_is_section(struct str word) {
  if (log_word(word) & LOG_WORD_SECTION)
    return true;
  if (word.n < 4 || str_find(word, '.') != SIZE_MAX || str_find(word, '/') != SIZE_MAX || str_find(word, '_') == SIZE_MAX)
    return false;
  struct str rest = word, part; /* train_inner, valid_0 */
  if (!log_subword(&rest, &part) || !(log_word(part) & LOG_WORD_SECTION))
    return false;
  while (log_subword(&rest, &part))
    if (log_word(part) & (LOG_WORD_METRIC | LOG_WORD_SETTING | LOG_WORD_CLOCK | LOG_WORD_EPOCH | LOG_WORD_STEP | LOG_WORD_BATCH))
      return false;
  return true;
}

static bool named_whole(struct str name, enum log_key_kind *ret) {
  char text[32];
  if (name.n >= sizeof text)
    return false;
  for (size_t i = 0; i < name.n; i++)
    text[i] = name.p[i] == ' ' || name.p[i] == '-' ? '_' : name.p[i];
  for (size_t i = 0; i < ARRAY_LEN(names); i++)
    if (str_eq_nocase(str_n(text, name.n), str_of(names[i].name)))
      return *ret = names[i].kind, true;
  return false;
}

/* As it stands, or behind a section: "valid_num_updates". */
static bool named(struct str name, enum log_key_kind *ret) {
  struct str rest = name, word;
  if (named_whole(name, ret))
    return true;
  if (!log_subword(&rest, &word) || !(log_word(word) & LOG_WORD_SECTION) || rest.n < 2 ||
      str_find(str_slice(rest, 1, rest.n), '_') == SIZE_MAX)
    return false;
  return named_whole(str_slice(rest, 1, rest.n), ret) && *ret == LOG_KEY_STEP;
}

/* Words that may stand beside a place word without changing what it is: "global step", "Train Epoch", "batch idx". */
static bool qualifies_place(struct str word) {
  static const char *const qualifiers[] = {"global", "current",  "nb",  "no",  "idx",    "id",   "number", "index",
                                           "env",    "boosting", "cur", "sub", "loaded", "mini", "g",      "d"};
  for (size_t i = 0; i < ARRAY_LEN(qualifiers); i++)
    if (str_eq_nocase(word, str_of(qualifiers[i])))
      return true;
  return false;
}

/* "samples/s", "img/sec", "eval_samples_per_second" */
static bool is_rate(struct str name) {
  static const char *const endings[] = {"/s",    "/sec",   "/second", "per_second", "per second", "per_sec",
                                        "/step", "/batch", "/it",     "/iter",      "/h",         "/gpu"};
  for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
    size_t n = strlen(endings[i]);
    if (name.n > n && str_eq_nocase(str_n(name.p + name.n - n, n), str_of(endings[i])))
      return name.p[name.n - n] != '/' ||
             log_word(str_n(name.p, name.n - n)) & (LOG_WORD_CLOCK | LOG_WORD_SETTING | LOG_WORD_UNIT | LOG_WORD_STEP | LOG_WORD_BATCH) ||
             str_eq_nocase(str_n(name.p + name.n - n, n), STR("/s")) || str_eq_nocase(str_n(name.p + name.n - n, n), STR("/sec"));
  }
  return false;
}

/* Words that say which of the values under a section it is: "Highest Train", "Final Test". */
static bool qualifies_section(struct str word) {
  static const char *const qualifiers[] = {"best", "highest", "lowest", "final", "last", "average", "avg", "mean", "overall"};
  for (size_t i = 0; i < ARRAY_LEN(qualifiers); i++)
    if (str_eq_nocase(word, str_of(qualifiers[i])))
      return true;
  return false;
}

/* "ep_len_mean", "Episode length": how long an agent lived. */
static bool is_episode_length(struct str name) {
  struct str word;
  bool episode = false, length = false;
  while (log_subword(&name, &word)) {
    episode |= str_eq_nocase(word, STR("ep")) || str_eq_nocase(word, STR("episode")) || str_eq_nocase(word, STR("eplen"));
    length |= str_eq_nocase(word, STR("len")) || str_eq_nocase(word, STR("length")) || str_eq_nocase(word, STR("eplen"));
  }
  return episode && length;
}

/* "Top3": how often the right one is among the first three. */
static bool is_top(struct str name) {
  size_t n = name.n;
  while (n && is_digit((unsigned char)name.p[n - 1]))
    n--;
  n -= n < name.n && n && name.p[n - 1] == '-';
  return n < name.n && n >= 3 && str_eq_nocase(str_n(name.p + n - 3, 3), STR("top")) &&
         (n == 3 || !is_letter((unsigned char)name.p[n - 4]));
}

/* What is minimised, or explained, in the words of mathematics: their parts mean nothing. "R-squared on hold-out" */
static bool is_formula(struct str name) {
  static const char *const endings[] = {"f(x)", "f-value", "fval", "r-squared", "r squared", "r_squared", "r^2", "c-index"};
  size_t on = str_find_str(name, STR(" on "));
  name.n = on == SIZE_MAX ? name.n : on;
  for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
    size_t n = strlen(endings[i]);
    if (name.n >= n && str_eq_nocase(str_n(name.p + name.n - n, n), str_of(endings[i])))
      return true;
  }
  return false;
}

/* P@1, Acc@5, mAP@0.5, hits@10 */
static bool is_at_rank(struct str name) {
  size_t at = str_find(name, '@');
  return at != SIZE_MAX && at > 0 && at + 1 < name.n && (is_digit((unsigned char)name.p[at + 1]) || name.p[at + 1] == '.');
}

/* What is counted: "instance accuracy", "token_loss", "fold 1 auc". */
static bool is_thing(struct str word) {
  static const char *const things[] = {"class",    "classes", "delta", "device", "document", "edge",   "edges",
                                       "example",  "feature", "fold",  "frame",  "freq",     "image",  "instance",
                                       "layer",    "line",    "node",  "nodes",  "row",      "sample", "samples",
                                       "sentence", "split",   "token", "tokens", "unit",     "words",  "worker"};
  for (size_t i = 0; i < ARRAY_LEN(things); i++)
    if (str_eq_nocase(word, str_of(things[i])))
      return true;
  return false;
}

/* Layers of a network, and what limits a norm. */
static bool is_layer_norm(struct str name) {
  static const char *const others[] = {"layer", "group", "instance", "clip", "use", "rms", "pre", "post"};
  struct str word;
  while (log_subword(&name, &word))
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
      if (str_eq_nocase(word, str_of(others[i])))
        return true;
  return false;
}

static bool is_duration(struct str word) {
  return str_eq_nocase(word, STR("dur")) || str_eq_nocase(word, STR("duration"));
}

/* "log-probability", "log prob" */
static bool is_probability(struct str word) {
  return str_eq_nocase(word, STR("probability")) || str_eq_nocase(word, STR("prob")) || str_eq_nocase(word, STR("probs"));
}

struct log_key log_key_classify(struct str name) {
  struct log_key key = {LOG_KEY_UNKNOWN, 0, false};
  unsigned any = 0, all = 0, words_n = 0, sections = 0, places = 0, qualifiers = 0;
  struct str rest = name, word, before = STR("");
  unsigned last = 0, first = 0, second = 0;
  bool ends_in_loss = false, ends_in_norm = false, settings = false, sums = false;
  bool head = true; /* up to "of", "after", "on": "accuracy of the network on the 10000 test images" */
  while (log_subword(&rest, &word)) {
    unsigned flags = log_word(word);
    if (!flags && words_n && is_probability(word) && str_eq_nocase(before, STR("log")))
      flags = LOG_WORD_METRIC;
    if (str_is(word, "HR")) /* hits among the first; "hr" are hours */
      flags = LOG_WORD_METRIC;
    before = word;
    words_n++;
    any |= flags;
    head = head && !(flags & LOG_WORD_FILLER && all & LOG_WORD_METRIC);
    if (!head) {
      all |= flags & LOG_WORD_SECTION;
      continue;
    }
    all |= flags;
    first = words_n == 1 ? flags : first;
    second = words_n == 2 ? flags : second;
    last = is_digit((unsigned char)word.p[0]) ? last : flags;
    ends_in_loss = str_eq_nocase(word, STR("loss")) || (ends_in_loss && is_duration(word));
    ends_in_norm = str_eq_nocase(word, STR("norm"));
    sums |= str_eq_nocase(word, STR("total"));
    settings |= flags & LOG_WORD_SETTING && !is_thing(word);
    sections += (flags & LOG_WORD_SECTION) || qualifies_section(word);
    places += (flags & (LOG_WORD_EPOCH | LOG_WORD_STEP | LOG_WORD_BATCH)) != 0;
    qualifiers += qualifies_place(word) || (flags & LOG_WORD_TRAIN);
  }
  key.sections = all & LOG_WORD_SECTION;
  key.heads =
      any & (LOG_WORD_METRIC | LOG_WORD_EPOCH | LOG_WORD_STEP | LOG_WORD_BATCH | LOG_WORD_SECTION | LOG_WORD_HEAD) || is_at_rank(name);
  if (named(name, &key.kind))
    return key;
  if (words_n == 0)
    return key;
  if (is_rate(name))
    key.kind = LOG_KEY_CLOCK;
  else if (places && places + qualifiers == words_n)
    key.kind = all & LOG_WORD_EPOCH ? LOG_KEY_EPOCH : all & LOG_WORD_STEP ? LOG_KEY_STEP : LOG_KEY_BATCH;
  else if ((is_episode_length(name) && !(first & LOG_WORD_LIMIT)) || is_top(name)) /* not "max_ep_len" */
    key.kind = LOG_KEY_METRIC;
  else if (places && all & LOG_WORD_LIMIT && !(all & LOG_WORD_METRIC)) /* best_epoch, max steps */
    key.kind = LOG_KEY_SETTING;
  else if (sections == words_n && all & LOG_WORD_SECTION) /* Train, bestTest */
    key.kind = LOG_KEY_SECTION;
  else if (all & LOG_WORD_CLOCK && !ends_in_loss) /* not "duration loss", "loss_dur", of a model of durations */
    key.kind = LOG_KEY_CLOCK;
  else if (ends_in_norm && words_n > 1 && (sums || !(all & LOG_WORD_LIMIT)) && !(all & LOG_WORD_BATCH) && !is_layer_norm(name))
    key.kind = LOG_KEY_METRIC; /* "feature norm", "total_norm" */
  else if (ends_in_loss && !(all & (LOG_WORD_LIMIT | LOG_WORD_TALK)))
    key.kind = LOG_KEY_METRIC; /* "ent_coef_loss" */
  else if (all & LOG_WORD_SETTING && (settings ? !(first & LOG_WORD_METRIC && last & LOG_WORD_METRIC)
                                               : !((last | second) & LOG_WORD_METRIC))) /* not "Loss/regularization_loss", "DeltaLossV" */
    key.kind = LOG_KEY_SETTING;
  else if (all & LOG_WORD_SCHEDULE)
    key.kind = LOG_KEY_SCHEDULE;
  else if (all & LOG_WORD_METRIC || is_at_rank(name) || is_formula(name))
    key.kind = LOG_KEY_METRIC;
  return key;
}

bool log_keys_lead(void) {
  for (size_t i = 0; i < ARRAY_LEN(names); i++) {
    enum log_key_kind kind = names[i].kind;
    bool leads = kind == LOG_KEY_METRIC || kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
    if (leads && names[i].name[0] != '#' && !log_key_classify(str_of(names[i].name)).heads)
      return false;
  }
  return true;
}
