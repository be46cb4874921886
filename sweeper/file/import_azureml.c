/* Azure ML sweep jobs (version 2 YAML). */
#include "sweeper/file/import.h"

/* ---- the command: one line with ${{…}} in it, split into arguments ---- */

struct splitter {
  struct import *im;
  const struct ynode *root;
  const struct ynode *at;
  struct str rest;
  struct buf word;
  bool in_word;
  struct ynode *out;
};

static struct str code_of(const struct ynode *root) {
  struct str code = import_text(ynode_peek(ynode_peek(root, STR("trial")), STR("code")));
  return code.n && !str_starts(code, STR("azureml:")) ? code : STR(".");
}

/* "./a//b/../c" as "a/c", and "" for the directory itself; what leads upwards stays in front. */
static struct str plain_path(struct import *im, struct str path) {
  char *text = arena_alloc(im->arena, path.n + 2);
  size_t n = 0, kept = 0; /* kept: no ".." takes this back */
  struct str rest = path, part;
  if (!text) {
    im->no_memory = true;
    return STR("");
  }
  if (str_starts(path, STR("/")))
    kept = n = (size_t)(stpcpy(text, "/") - text);
  while (rest.n && str_split(&rest, '/', &part)) {
    if (!part.n || str_is(part, "."))
      continue;
    bool up = str_is(part, "..");
    if (up && n > kept) {
      while (n > kept && text[n - 1] != '/')
        n--;
      n -= n > kept;
      continue;
    }
    if (n && text[n - 1] != '/')
      text[n++] = '/';
    memcpy(text + n, part.p, part.n);
    n += part.n;
    if (up)
      kept = n;
  }
  return str_n(text, n);
}

/* Theirs begin at the file, ours in the job's copy of `code`: what lies in there has another name, and nothing else comes along. */
static struct str path_in_code(struct splitter *s, const struct ynode *path) {
  struct str code = plain_path(s->im, code_of(s->root)), plain = plain_path(s->im, import_text(path));
  bool is_below = code.n ? str_starts(plain, code) && (plain.n == code.n || plain.p[code.n] == '/') : !str_starts(plain, STR(".."));
  if (str_starts(plain, STR("/")) || str_find_str(path->text, STR("://")) != SIZE_MAX)
    return path->text;
  if (!is_below) {
    spec_problem_add(s->im->errors, path, "inputs", "write an absolute path, or put it there",
                     "%.*s is not within %.*s, of which each job gets a copy", STR_ARG(str_slice(path->text, 0, 200)),
                     STR_ARG(str_slice(code_of(s->root), 0, 200)));
    return path->text;
  }
  struct str below = str_slice(plain, code.n ? MIN_OF(code.n + 1, plain.n) : 0, plain.n);
  return below.n ? below : STR(".");
}

static struct str input_value(struct splitter *s, struct str name) {
  const struct ynode *inputs = ynode_get(s->root, "inputs");
  struct ynode *input = ynode_peek(inputs, name);
  if (!input)
    return STR_NONE;
  import_mark(input);
  for (size_t i = 0; i < inputs->count; i++)
    if (inputs->pairs[i].value == input)
      inputs->pairs[i].key->seen = true;
  if (ynode_is_scalar(input))
    return input->text;
  const struct ynode *path = ynode_peek(input, STR("path"));
  struct str text = import_text(path);
  return text.n && !str_starts(text, STR("azureml:")) ? path_in_code(s, path) : text;
}

/* `${{search_space.lr}}` becomes `{{lr}}`, `${{inputs.d}}` its path. */
static void expression(struct splitter *s, struct str body) {
  static const struct str space = {"search_space.", 13}, inputs = {"inputs.", 7};
  body = str_trim(body);
  if (str_starts(body, space)) {
    buf_printf(&s->word, "{{%.*s}}", STR_ARG(str_slice(body, space.n, body.n)));
    return;
  }
  if (str_starts(body, inputs)) {
    struct str value = input_value(s, str_slice(body, inputs.n, body.n));
    if (value.n && !str_starts(value, STR("azureml:"))) {
      buf_add_str(&s->word, value);
      return;
    }
  }
  spec_problem_add(s->im->errors, s->at, "trial.command", "use a local path, or a parameter of the search space",
                   "${{%.*s}} cannot be resolved here", STR_ARG(str_slice(body, 0, 100)));
}

static void end_word(struct splitter *s) {
  if (s->in_word)
    import_add(s->im, s->out, ynode_new_text(s->im->arena, s->at, s->word.n ? buf_str(&s->word) : STR("")));
  buf_reset(&s->word);
  s->in_word = false;
}

static bool take_expression(struct splitter *s) {
  if (!str_starts(s->rest, STR("${{")))
    return false;
  size_t close = str_find_str(s->rest, STR("}}"));
  struct str body = str_slice(s->rest, 3, close);
  s->rest = str_slice(s->rest, close == SIZE_MAX ? s->rest.n : close + 2, s->rest.n);
  s->in_word = true;
  expression(s, body);
  return true;
}

/* The words of a POSIX shell line, as far as they need no shell. */
static void split(struct splitter *s) {
  char quote = 0;
  while (s->rest.n) {
    if (quote != '\'' && take_expression(s))
      continue;
    char c = s->rest.p[0];
    s->rest = str_slice(s->rest, 1, s->rest.n);
    if (quote ? c == quote : c == '"' || c == '\'') {
      quote = quote ? 0 : c;
      s->in_word = true;
    } else if (!quote && isspace((unsigned char)c)) {
      end_word(s);
    } else if (c == '\\' && quote != '\'' && s->rest.n) {
      char next = s->rest.p[0];
      s->rest = str_slice(s->rest, 1, s->rest.n);
      if (next == '\n')
        continue; /* a continued line */
      if (quote && next != '"' && next != '\\' && next != '$' && next != '`')
        buf_putc(&s->word, c);
      buf_putc(&s->word, next);
      s->in_word = true;
    } else if ((!quote && strchr("|&;<>()*?[]", c)) || (quote != '\'' && (c == '`' || c == '$'))) {
      spec_problem_add(s->im->errors, s->at, "trial.command", "put it into a script and run that",
                       "the command needs a shell for \"%c\", and commands are run without one", c);
      return;
    } else {
      buf_putc(&s->word, c);
      s->in_word = true;
    }
  }
  if (quote)
    spec_problem_add(s->im->errors, s->at, "trial.command", NULL, "the command ends inside a quoted word");
  end_word(s);
}

static void azure_trial(struct import *im, const struct ynode *root) {
  const struct ynode *trial = ynode_get(root, "trial");
  const struct ynode *command = ynode_get(trial, "command");
  if (!command || !ynode_is_scalar(command)) {
    spec_problem_add(im->errors, trial ? trial : root, "trial", NULL,
                     "trial.command is missing; a component in another file is not read here");
    return;
  }
  struct splitter s = {
      .im = im, .root = root, .at = command, .rest = command->text, .word = BUF_INIT(64 * KIB), .out = import_list(im, command)};
  split(&s);
  if (!buf_ok(&s.word, NULL))
    im->no_memory = true;
  buf_release(&s.word);
  import_put(im, im->out, "command", s.out);
  const struct ynode *code = ynode_get(trial, "code");
  if (code)
    import_put(im, im->out, "workdir", ynode_new_text(im->arena, code, code_of(root)));
  struct ynode *env = ynode_get(trial, "environment_variables");
  import_keep(im, im->out, "env", env);
}

/* ---- the space ---- */

static const struct {
  const char *theirs, *ours;
  const char *keys[4][2]; /* theirs, ours */
} expressions[] = {
    {"uniform", "uniform", {{"min_value", "min"}, {"max_value", "max"}}},
    {"quniform", "q_uniform", {{"min_value", "min"}, {"max_value", "max"}, {"q", "q"}}},
    {"loguniform", "log_uniform", {{"min_value", "min"}, {"max_value", "max"}}}, /* both bounds are exponents */
    {"qloguniform", "q_log_uniform", {{"min_value", "min"}, {"max_value", "max"}, {"q", "q"}}},
    {"normal", "normal", {{"mu", "mu"}, {"sigma", "sigma"}}},
    {"qnormal", "q_normal", {{"mu", "mu"}, {"sigma", "sigma"}, {"q", "q"}}},
    {"lognormal", "log_normal", {{"mu", "mu"}, {"sigma", "sigma"}}},
    {"qlognormal", "q_log_normal", {{"mu", "mu"}, {"sigma", "sigma"}, {"q", "q"}}},
};

static const char *expression_name(const void *ctx UNUSED, size_t i) {
  return expressions[i].theirs;
}

/* A choice of dicts that hold expressions again would be a conditional space. */
static bool plain_choice(const struct ynode *values) {
  for (size_t i = 0; i < values->count; i++)
    if (values->items[i]->kind == YN_MAP)
      for (size_t j = 0; j < values->items[i]->count; j++)
        if (!ynode_is_scalar(values->items[i]->pairs[j].value))
          return false;
  return true;
}

static void azure_parameter(struct import *im, const struct ynode *item, const char *path, struct ynode *out) {
  struct str type = import_text(ynode_get(item, "type"));
  if (str_is(type, "choice")) {
    struct ynode *values = ynode_get(item, "values");
    if (!values || values->kind != YN_LIST || !plain_choice(values))
      spec_problem_add(im->errors, item, path, "write the inner parameters at the top level, with conditions",
                       "%s needs a list of plain values", path);
    else
      import_keep(im, out, "values", values);
    return;
  }
  if (str_is(type, "randint")) {
    int64_t upper;
    const struct ynode *node = ynode_get(item, "upper");
    if (!import_int(im, node, path, &upper))
      return;
    if (upper < 1) {
      spec_problem_add(im->errors, node, path, NULL, "%s: upper must be above 0", path);
      return;
    }
    import_put_int(im, out, "min", node, 0);
    import_put_int(im, out, "max", node, upper - 1);
    return;
  }
  for (size_t i = 0; i < ARRAY_LEN(expressions); i++) {
    if (!str_is(type, expressions[i].theirs))
      continue;
    import_put_text(im, out, "distribution", item, expressions[i].ours);
    for (size_t k = 0; k < 4 && expressions[i].keys[k][0]; k++) {
      struct ynode *node = ynode_get(item, expressions[i].keys[k][0]);
      double value;
      if (import_number(im, node, path, &value))
        import_put(im, out, expressions[i].keys[k][1], ynode_new_plain(im->arena, node, node->text));
    }
    return;
  }
  const struct ynode *node = ynode_peek(item, STR("type"));
  const char *near = str_nearest(type, ARRAY_LEN(expressions), expression_name, NULL);
  spec_problem_add(im->errors, node ? node : item, path,
                   near ? arena_printf(im->arena, "did you mean \"%s\"?", near)
                        : "choice, randint, uniform, loguniform, normal, and those with q",
                   "%s: the type \"%.*s\" is not known", path, STR_ARG(str_slice(type, 0, 60)));
}

static void azure_space(struct import *im, const struct ynode *space) {
  struct ynode *parameters = import_map(im, space);
  for (size_t i = 0; i < space->count; i++) {
    char path[200];
    space->pairs[i].key->seen = true;
    snprintf(path, sizeof path, "search_space.%.150s", space->pairs[i].key->text.p);
    struct ynode *out = import_map(im, space->pairs[i].value);
    azure_parameter(im, space->pairs[i].value, path, out);
    import_put(im, parameters, space->pairs[i].key->text.p, out);
  }
  import_put(im, im->out, "parameters", parameters);
}

/* ---- the rest ---- */

static void azure_sampling(struct import *im, const struct ynode *node) {
  const struct ynode *type = node && node->kind == YN_MAP ? ynode_get(node, "type") : node;
  struct str word = type ? import_text(type) : STR("random");
  bool bayes = str_is(word, "bayesian");
  if (!bayes && !str_is(word, "random") && !str_is(word, "grid")) {
    spec_problem_add(im->errors, type, "sampling_algorithm", NULL, "the sampling_algorithm \"%.*s\" is not random, grid or bayesian",
                     STR_ARG(word));
    return;
  }
  import_put(im, im->out, "method", ynode_new_text(im->arena, type, bayes ? STR("bayes") : word));
  if (!node || node->kind != YN_MAP)
    return;
  struct ynode *sampler = import_map(im, node);
  const struct ynode *rule = ynode_get(node, "rule");
  if (str_is(import_text(rule), "sobol"))
    import_put_text(im, sampler, "type", rule, "sobol");
  import_keep(im, sampler, "seed", ynode_get(node, "seed"));
  if (sampler && sampler->count)
    import_put(im, im->out, "sampler", sampler);
}

static void azure_early_termination(struct import *im, struct ynode *policy) {
  if (!policy)
    return;
  import_mark(policy);
  struct ynode *rule = import_map(im, policy);
  for (size_t i = 0; policy->kind == YN_MAP && i < policy->count; i++)
    import_put(im, rule, policy->pairs[i].key->text.p, policy->pairs[i].value);
  import_put_text(im, rule, "step_metric", policy, "report");
  import_put(im, im->out, "early_terminate", rule);
}

static void azure_limits(struct import *im, const struct ynode *limits, const struct ynode *root) {
  struct ynode *total = ynode_get(limits, "max_total_trials");
  if (total)
    import_keep(im, im->out, "run_cap", total);
  else
    import_put_int(im, im->out, "run_cap", limits ? limits : root, 1000);
  import_keep(im, im->out, "max_parallel", ynode_get(limits, "max_concurrent_trials"));
  import_keep(im, im->out, "max_time", ynode_get(limits, "timeout"));
  struct ynode *trial_time = ynode_get(limits, "trial_timeout");
  if (trial_time) {
    struct ynode *resources = import_map(im, trial_time);
    import_keep(im, resources, "time", trial_time);
    import_put(im, im->out, "resources", resources);
  }
}

void import_azureml(struct import *im, const struct ynode *root) {
  (void)ynode_get(root, "$schema");
  (void)ynode_get(root, "type");
  struct ynode *name = ynode_get(root, "display_name");
  import_keep(im, im->out, "name", name ? name : ynode_get(root, "name"));
  import_keep(im, im->out, "experiment", ynode_get(root, "experiment_name"));
  import_keep(im, im->out, "description", ynode_get(root, "description"));
  azure_trial(im, root);
  const struct ynode *space = ynode_get(root, "search_space");
  if (space && space->kind == YN_MAP)
    azure_space(im, space);
  else
    spec_problem_add(im->errors, space ? space : root, "search_space", NULL, "search_space must be a map of names");
  azure_sampling(im, ynode_get(root, "sampling_algorithm"));
  const struct ynode *objective = ynode_get(root, "objective");
  if (!ynode_peek(objective, STR("primary_metric")))
    spec_problem_add(im->errors, objective ? objective : root, "objective", NULL, "objective.primary_metric is missing");
  struct ynode *metric = import_map(im, objective ? objective : root);
  import_keep(im, metric, "name", ynode_get(objective, "primary_metric"));
  import_keep(im, metric, "goal", ynode_get(objective, "goal"));
  import_put_text(im, metric, "use", objective, "best");
  import_put(im, im->out, "metric", metric);
  azure_early_termination(im, ynode_get(root, "early_termination"));
  azure_limits(im, ynode_get(root, "limits"), root);
}
