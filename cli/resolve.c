#include "cli/resolve.h"

enum { SEARCHED_MAX = 5000, SHORTEST_PREFIX = 4, CANDIDATES = 50 };

static struct str text_of(const json_t *item, const char *key) {
  return json_str(json_object_get(item, key));
}

/* Ids come from the service and go into its paths and onto the terminal. */
static bool keep_id(struct str id, const char *what, char ret[RESOLVED_MAX], struct err *err) {
  if (!id.n || id.n >= RESOLVED_MAX)
    return err_set(err, ERR_INTERNAL, "the service's %s has no id", what);
  snprintf(ret, RESOLVED_MAX, "%.*s", STR_ARG(id));
  return true;
}

static bool is_hex(struct str word) {
  for (size_t i = 0; i < word.n; i++)
    if (!strchr("0123456789abcdefABCDEF", word.p[i]) || !word.p[i])
      return false;
  return word.n > 0;
}

static bool keep_whole_id(struct str word, char ret[RESOLVED_MAX]) {
  struct id id;
  if (!id_parse(word, &id))
    return false;
  id_format(id, ret);
  return true;
}

static bool not_found(const char *what, const char *word, struct err *err) {
  err_set(err, ERR_NOT_FOUND, "there is no %s '%.100s'", what, word);
  if (strcmp(what, "run") == 0 && strlen(word) < SHORTEST_PREFIX && str_to_u64(str_of(word), &(uint64_t){0}))
    return err_hint(err, "a trial is named with its sweep: SWEEP/%s", word);
  return err_hint(err, "winnow %s ls lists them", what);
}

static bool ambiguous(const json_t *const *found, size_t count, const char *what, const char *word, const char *name_key, struct err *err) {
  AUTO_BUF struct buf list = BUF_INIT(4 * KIB);
  for (size_t i = 0; i < count && i < 5; i++)
    buf_printf(&list, "%s%.*s (%.*s)", i ? ", " : "", STR_ARG(text_of(found[i], "id")),
               STR_ARG(str_slice(text_of(found[i], name_key), 0, 40)));
  err_set(err, ERR_NOT_FOUND, "'%.60s' means more than one %s: %s%s", word, what, buf_text(&list), count > 5 ? ", …" : "");
  return err_hint(err, "type more of the id");
}

bool match_item(const json_t *items, const char *what, const char *word, const char *name_key, const json_t **ret, struct err *err) {
  enum { KEPT = 6 };
  struct str wanted = str_of(word);
  const json_t *named[KEPT], *begun[KEPT];
  size_t named_count = 0, begun_count = 0;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i);
    if (str_eq(text_of(item, "id"), wanted)) {
      *ret = item;
      return true;
    }
    if (str_eq(text_of(item, name_key), wanted) && named_count < KEPT)
      named[named_count++] = item;
    if (wanted.n >= SHORTEST_PREFIX && str_starts(text_of(item, "id"), wanted) && begun_count < KEPT)
      begun[begun_count++] = item;
  }
  const json_t *const *found = named_count ? named : begun;
  size_t count = named_count ? named_count : begun_count;
  if (count == 1) {
    *ret = found[0];
    return true;
  }
  return count ? ambiguous(found, count, what, word, name_key, err) : not_found(what, word, err);
}

static bool match_in_list(struct cli *cli, const char *path, const char *what, const char *word, const char *name_key,
                          char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  const json_t *item;
  return cli_list(cli, path, NULL, SEARCHED_MAX, &items, NULL, err) && match_item(items, what, word, name_key, &item, err) &&
         keep_id(text_of(item, "id"), what, ret, err);
}

/* ---- sweeps ---- */

static bool newest_sweep(struct cli *cli, json_t **ret, struct err *err) {
  AUTO_JSON json_t *items = NULL;
  if (!cli_list(cli, "/sweeps", NULL, 1, &items, NULL, err))
    return false;
  if (!json_array_size(items))
    return err_set(err, ERR_NOT_FOUND, "there are no sweeps yet") || err_hint(err, "winnow sweep create FILE makes one");
  *ret = json_incref(json_array_get(items, 0));
  return true;
}

/* A name is used again and again: it means the newest sweep of that name. */
static bool sweep_by_name(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  const json_t *item = NULL;
  if (!cli_list(cli, "/sweeps", NULL, SEARCHED_MAX, &items, NULL, err))
    return false;
  for (size_t i = 0; i < json_array_size(items) && !item; i++) /* the newest come first */
    if (str_is(text_of(json_array_get(items, i), "name"), word))
      item = json_array_get(items, i);
  return (item || match_item(items, "sweep", word, "name", &item, err)) && keep_id(text_of(item, "id"), "sweep", ret, err);
}

bool resolve_sweep(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  if (keep_whole_id(str_of(word), ret))
    return true;
  if (strcmp(word, "@latest") != 0)
    return sweep_by_name(cli, word, ret, err);
  AUTO_JSON json_t *sweep = NULL;
  return newest_sweep(cli, &sweep, err) && keep_id(text_of(sweep, "id"), "sweep", ret, err);
}

static bool best_of(const json_t *sweep, char ret[RESOLVED_MAX], struct err *err) {
  struct str id = text_of(json_object_get(sweep, "best"), "run_id");
  if (!id.n)
    return err_set(err, ERR_NOT_FOUND, "the sweep '%.*s' has no best trial yet", STR_ARG(text_of(sweep, "name")));
  return keep_id(id, "best trial", ret, err);
}

/* ---- runs ---- */

static bool search_runs(struct cli *cli, const char *filter, int64_t limit, json_t **ret, struct err *err) {
  AUTO_JSON json_t *body = json_pack("{s[ss]s[s]}", "columns", "id", "name", "order_by", RUNS_NEWEST_FIRST);
  if (!body || (filter && json_object_set_new(body, "filter", json_string(filter)) != 0))
    return err_no_memory(err);
  return cli_list(cli, "/runs/search", body, limit, ret, NULL, err);
}

static bool latest_run(struct cli *cli, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  if (!search_runs(cli, NULL, 1, &items, err))
    return false;
  if (!json_array_size(items))
    return err_set(err, ERR_NOT_FOUND, "there are no runs yet");
  return keep_id(text_of(json_array_get(items, 0), "id"), "run", ret, err);
}

static bool trial_by_number(struct cli *cli, const char *sweep, struct str number, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf path = BUF_INIT(4 * KIB);
  int64_t wanted;
  if (!str_to_i64(number, &wanted) || wanted < 0)
    return err_set(err, ERR_NOT_FOUND, "'%.*s' is no number of a trial", STR_ARG(str_slice(number, 0, 40)));
  path_format(&path, "/sweeps/{}/trials", sweep);
  buf_printf(&path, "?number=%lld", (long long)wanted);
  if (!cli_list(cli, buf_text(&path), NULL, 0, &items, NULL, err))
    return false;
  const json_t *trial = json_array_get(items, 0);
  if (trial && json_integer_value(json_object_get(trial, "number")) == wanted)
    return keep_id(text_of(trial, "run_id"), "trial", ret, err);
  return err_set(err, ERR_NOT_FOUND, "the sweep has no trial %lld", (long long)wanted);
}

/* SWEEP/12, SWEEP/best, SWEEP@best */
static bool run_of_sweep(struct cli *cli, struct str sweep_word, struct str which, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_BUF struct buf word = BUF_INIT(KIB);
  char sweep_id[RESOLVED_MAX];
  buf_add_str(&word, sweep_word);
  if (!buf_ok(&word, err) || !resolve_sweep(cli, buf_text(&word), sweep_id, err))
    return false;
  if (!str_is(which, "best"))
    return trial_by_number(cli, sweep_id, which, ret, err);
  AUTO_JSON json_t *sweep = NULL;
  return cli_get(cli, &sweep, err, "/sweeps/{}", sweep_id) && best_of(sweep, ret, err);
}

static bool run_by_beginning(struct cli *cli, const char *word, bool *ret_found, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf filter = BUF_INIT(KIB);
  buf_printf(&filter, "attributes.run_id LIKE '%s%%'", word);
  const json_t *item;
  *ret_found = false;
  if (!buf_ok(&filter, err) || !search_runs(cli, buf_text(&filter), 6, &items, err))
    return false;
  if (!json_array_size(items))
    return true;
  *ret_found = true;
  return match_item(items, "run", word, "name", &item, err) && keep_id(text_of(item, "id"), "run", ret, err);
}

static bool run_by_name(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf filter = BUF_INIT(64 * KIB);
  const json_t *item;
  const char *quote = strchr(word, '\'') ? "\"" : "'";
  if (strchr(word, quote[0])) /* the filter's language has no way to write a text with both */
    return not_found("run", word, err);
  buf_printf(&filter, "attributes.run_name = %s%s%s", quote, word, quote);
  return buf_ok(&filter, err) && search_runs(cli, buf_text(&filter), 6, &items, err) &&
         match_item(items, "run", word, "name", &item, err) && keep_id(text_of(item, "id"), "run", ret, err);
}

/* Who names a sweep where a run is meant is told what its runs are called. */
static bool hint_at_trials(struct cli *cli, const char *word, struct err *err) {
  struct err ignored; /* that there is no such run is what is told */
  char id[RESOLVED_MAX];
  if (err->code == ERR_NOT_FOUND && sweep_by_name(cli, word, id, &ignored))
    err_hint(err, "there is a sweep '%.60s': its trials are '%.60s/0' and so on, '%.60s/best' is the best", word, word, word);
  return false;
}

bool resolve_run(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  struct str text = str_of(word);
  if (!text.n) /* a variable that was never set; not the run that has no name */
    return not_found("run", word, err);
  if (keep_whole_id(text, ret))
    return true;
  if (str_is(text, "@latest"))
    return latest_run(cli, ret, err);
  if (str_is(text, "@best"))
    return run_of_sweep(cli, STR("@latest"), STR("best"), ret, err);
  if (str_ends(text, STR("@best")))
    return run_of_sweep(cli, str_slice(text, 0, text.n - 5), STR("best"), ret, err);
  const char *slash = strrchr(word, '/');
  if (slash && slash > word && slash[1])
    return run_of_sweep(cli, str_n(word, (size_t)(slash - word)), str_of(slash + 1), ret, err);
  if (text.n >= SHORTEST_PREFIX && text.n < ID_HEX_LEN && is_hex(text)) {
    bool found = false;
    if (!run_by_beginning(cli, word, &found, ret, err))
      return false;
    if (found)
      return true;
  }
  return run_by_name(cli, word, ret, err) || hint_at_trials(cli, word, err);
}

/* ---- the rest ---- */

/* *ret_found says whether there is one. */
static bool experiment_by_id(struct cli *cli, const char *word, bool deleted, bool *ret_found, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *experiment = NULL;
  *ret_found = false;
  if (!str_to_u64(str_of(word), &(uint64_t){0}))
    return true;
  if (!cli_get(cli, &experiment, err, "/experiments/{}", word))
    return err->code == ERR_NOT_FOUND;
  *ret_found = str_is(text_of(experiment, "id"), word) && json_is_integer(json_object_get(experiment, "deleted")) == deleted;
  return !*ret_found || keep_id(text_of(experiment, "id"), "experiment", ret, err);
}

static bool experiment_by_name(struct cli *cli, const char *path, const char *word, bool *ret_found, char ret[RESOLVED_MAX],
                               struct err *err) {
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf filter = BUF_INIT(8 * KIB), all = BUF_INIT(32 * KIB);
  const char *quote = strchr(word, '\'') ? "\"" : "'";
  *ret_found = false;
  if (!word[0] || strchr(word, quote[0])) /* the filter's language has no way to write a text with both */
    return true;
  buf_printf(&filter, "name = %s%s%s", quote, word, quote);
  buf_puts(&all, path);
  path_query(&all, "filter", buf_text(&filter));
  if (!buf_ok(&filter, err) || !buf_ok(&all, err) || !cli_list(cli, buf_text(&all), NULL, 1, &items, NULL, err))
    return false;
  *ret_found = str_is(text_of(json_array_get(items, 0), "name"), word);
  return !*ret_found || keep_id(text_of(json_array_get(items, 0), "id"), "experiment", ret, err);
}

/* By its id or name, however many there are; by the beginning of an id among the newest. */
static bool find_experiment(struct cli *cli, const char *word, bool deleted, char ret[RESOLVED_MAX], struct err *err) {
  const char *path = deleted ? "/experiments?deleted=true" : "/experiments";
  bool found;
  if (!experiment_by_id(cli, word, deleted, &found, ret, err) || (!found && !experiment_by_name(cli, path, word, &found, ret, err)))
    return false;
  return found || match_in_list(cli, path, "experiment", word, "name", ret, err);
}

bool resolve_experiment(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  return find_experiment(cli, word, false, ret, err);
}

bool resolve_deleted_experiment(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  if (find_experiment(cli, word, true, ret, err))
    return true;
  if (err->code == ERR_NOT_FOUND)
    err_hint(err, "winnow experiment ls --deleted lists those in the trash");
  return false;
}

/* Revoked ones stay in the list, but nothing is left to do with them. */
bool resolve_token(struct cli *cli, const char *word, char ret[RESOLVED_MAX], struct err *err) {
  AUTO_JSON json_t *items = NULL;
  const json_t *item;
  if (!cli_list(cli, "/tokens", NULL, SEARCHED_MAX, &items, NULL, err))
    return false;
  for (size_t i = json_array_size(items); i-- > 0;)
    if (json_is_integer(json_object_get(json_array_get(items, i), "revoked")))
      json_array_remove(items, i);
  return match_item(items, "token", word, "name", &item, err) && keep_id(text_of(item, "id"), "token", ret, err);
}

bool model_ref_parse(const char *word, struct model_ref *ret, struct err *err) {
  struct str text = str_of(word), name = text, version = STR_NONE, alias = STR_NONE;
  const char *at = strrchr(word, '@'), *slash = strrchr(word, '/');
  uint64_t number;
  if (at && at > word && at[1] && !(slash && slash > at)) { /* no alias has a slash */
    name = str_n(word, (size_t)(at - word));
    alias = str_of(at + 1);
  } else if (slash && slash > word && str_to_u64(str_of(slash + 1), &number) && strlen(slash) < sizeof ret->version) {
    name = str_n(word, (size_t)(slash - word));
    version = str_of(slash + 1);
  }
  if (!name.n || name.n >= sizeof ret->name || alias.n >= sizeof ret->alias)
    return err_set(err, ERR_INVALID, "'%.100s' names no model", word) || err_hint(err, "write NAME, NAME/3 or NAME@alias");
  snprintf(ret->name, sizeof ret->name, "%.*s", STR_ARG(name));
  snprintf(ret->version, sizeof ret->version, "%.*s", STR_ARG(version));
  snprintf(ret->alias, sizeof ret->alias, "%.*s", STR_ARG(alias));
  return true;
}

bool resolve_model(struct cli *cli, const char *word, struct model_ref *ret, struct err *err) {
  struct err ignored; /* that there is no model of the shorter name is what is told */
  if (!model_ref_parse(word, ret, err))
    return false;
  if ((!ret->version[0] && !ret->alias[0]) || cli_get(cli, NULL, err, "/models/{}", ret->name))
    return true;
  if (err->code != ERR_NOT_FOUND || strlen(word) >= sizeof ret->name || !cli_get(cli, NULL, &ignored, "/models/{}", word))
    return false;
  *ret = (struct model_ref){0}; /* such a name may be a model's own */
  snprintf(ret->name, sizeof ret->name, "%s", word);
  return true;
}

static bool has_alias(const json_t *version, const char *alias) {
  const json_t *aliases = json_object_get(version, "aliases");
  for (size_t i = 0; i < json_array_size(aliases); i++)
    if (str_is(json_str(json_array_get(aliases, i)), alias))
      return true;
  return false;
}

/* Versions are numbers, also when the service writes them as text. */
static int64_t version_number(const json_t *version) {
  const json_t *value = json_object_get(version, "version");
  int64_t number = -1;
  if (json_is_integer(value))
    return json_integer_value(value);
  return str_to_i64(json_str(value), &number) ? number : -1;
}

bool resolve_model_version(struct cli *cli, const char *word, struct model_ref *ret, struct err *err) {
  AUTO_JSON json_t *items = NULL;
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  if (!resolve_model(cli, word, ret, err))
    return false;
  if (ret->version[0])
    return true;
  path_format(&path, "/models/{}/versions", ret->name);
  if (!buf_ok(&path, err) || !cli_list(cli, buf_text(&path), NULL, 0, &items, NULL, err))
    return false;
  int64_t newest = -1;
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *version = json_array_get(items, i);
    if (!ret->alias[0] || has_alias(version, ret->alias))
      newest = MAX_OF(newest, version_number(version));
  }
  if (newest < 0 && ret->alias[0]) {
    err_set(err, ERR_NOT_FOUND, "the model '%s' has no alias '%s'", ret->name, ret->alias);
    return err_hint(err, "winnow model show %.150s lists its versions and their aliases", ret->name);
  }
  if (newest < 0) {
    err_set(err, ERR_NOT_FOUND, "the model '%s' has no versions", ret->name);
    return err_hint(err, "winnow model register %.150s RUN makes one", ret->name);
  }
  snprintf(ret->version, sizeof ret->version, "%lld", (long long)newest);
  return true;
}

/* ---- completion ---- */

static const struct {
  enum word_kind kind;
  const char *path, *id, *name;
} candidate_rows[] = {
    {WORD_SWEEP, "/sweeps", "id", "name"},  {WORD_EXPERIMENT, "/experiments", "name", "id"}, {WORD_MODEL, "/models", "name", "description"},
    {WORD_NODE, "/nodes", "name", "state"}, {WORD_TOKEN, "/tokens", "id", "name"},
};

static void add_candidates(const json_t *items, const char *id, const char *name, struct buf *out) {
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i);
    text_escape(out, text_of(item, id));
    buf_putc(out, '\t');
    text_escape(out, str_slice(text_of(item, name), 0, 60));
    buf_putc(out, '\n');
  }
}

void resolve_candidates(struct cli *cli, enum word_kind kind, struct buf *out) {
  AUTO_JSON json_t *items = NULL;
  struct err ignored; /* completion is silent */
  if (kind == WORD_RUN) {
    if (search_runs(cli, NULL, CANDIDATES, &items, &ignored))
      add_candidates(items, "id", "name", out);
    return;
  }
  for (size_t i = 0; i < ARRAY_LEN(candidate_rows); i++) {
    if (candidate_rows[i].kind != kind)
      continue;
    if (cli_list(cli, candidate_rows[i].path, NULL, CANDIDATES, &items, NULL, &ignored))
      add_candidates(items, candidate_rows[i].id, candidate_rows[i].name, out);
  }
}
