/* The folders of runs. */
#include "cli/verbs.h"
#include "tracker/names.h"

static const struct column columns[] = {
    {"ID", "id", COLUMN_TEXT, false, NULL},           {"NAME", "name", COLUMN_TEXT, false, NULL},
    {"RUNS", "run_count", COLUMN_COUNT, false, NULL}, {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"DELETED", "deleted", COLUMN_AGE, true, NULL},   {"ARTIFACTS", "artifact_location", COLUMN_TEXT, true, NULL},
    {"TAGS", "tags", COLUMN_LIST, true, NULL},
};
static const struct view experiment_view = VIEW(columns, "id", "no experiments");

static int ls_run(struct cli *cli) {
  AUTO_BUF struct buf path = BUF_INIT(KIB);
  buf_puts(&path, "/experiments");
  path_query(&path, "deleted", args_bool(&cli->args, "deleted") ? "true" : NULL);
  return cli_show_list(cli, buf_text(&path), NULL, &experiment_view);
}

static int show_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *experiment = NULL;
  bool ok = resolve_experiment(cli, args_word(&cli->args, 0), id, &err) && cli_get(cli, &experiment, &err, "/experiments/{}", id) &&
            output_object(&cli->output, &experiment_view, experiment, &err);
  return cli_done(cli, ok, &err);
}

static int create_run(struct cli *cli) {
  struct err err;
  if (!experiment_name_check(str_of(args_word(&cli->args, 0)), &err))
    return cli_usage(cli, NULL, "%s", err.text);
  AUTO_JSON json_t *body = json_pack("{ss}", "name", args_word(&cli->args, 0)), *experiment = NULL;
  if (!body)
    return cli_usage(cli, NULL, "the name is no UTF-8");
  if (!cli_send(cli, "POST", body, &experiment, &err, "/experiments"))
    return cli_fail(cli, &err);
  return cli_done(cli, output_object(&cli->output, &experiment_view, experiment, &err), &err);
}

static int rm_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  int code;
  if (!resolve_experiment(cli, args_word(&cli->args, 0), id, &err))
    return cli_fail(cli, &err);
  if (!cli_confirm(cli, &code, "Move the experiment '%s' with its runs to the trash", args_word(&cli->args, 0)))
    return code;
  if (!cli_send(cli, "DELETE", NULL, NULL, &err, "/experiments/{}", id))
    return cli_fail(cli, &err);
  output_say(&cli->output, "experiment %s is in the trash; winnow experiment restore %s brings it back", id, id);
  return EXIT_OK;
}

static int restore_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *body = json_pack("{sb}", "deleted", 0), *experiment = NULL;
  if (!resolve_deleted_experiment(cli, args_word(&cli->args, 0), id, &err) ||
      !cli_send(cli, "PATCH", body, &experiment, &err, "/experiments/{}", id))
    return cli_fail(cli, &err);
  return cli_report(cli, &experiment_view, experiment, "experiment %s is back", id);
}

static int patch_experiment(struct cli *cli, json_t *body, const char *done) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *experiment = NULL;
  if (!resolve_experiment(cli, args_word(&cli->args, 0), id, &err) ||
      !cli_send(cli, "PATCH", body, &experiment, &err, "/experiments/{}", id))
    return cli_fail(cli, &err);
  return cli_report(cli, &experiment_view, experiment, done, id);
}

static int rename_run(struct cli *cli) {
  struct err err;
  const char *name = args_word(&cli->args, 1);
  if (!experiment_name_check(str_of(name), &err))
    return cli_usage(cli, NULL, "%s", err.text);
  AUTO_JSON json_t *body = json_pack("{ss}", "name", name);
  return body ? patch_experiment(cli, body, "experiment %s has its new name") : cli_usage(cli, NULL, "the name is no UTF-8");
}

static int tag_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *body = json_pack("{s{}}", "tags");
  if (!body)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!add_tag_words(cli, 1, json_object_get(body, "tags"), &err))
    return cli_usage(cli, err.hint[0] ? err.hint : NULL, "%s", err.text);
  return patch_experiment(cli, body, "the tags of experiment %s are changed");
}

static const struct flag_row ls_flags[] = {
    ROW_FLAG_LIMIT("100"),
    {.name = "deleted", .type = FLAG_BOOL, .help = "those in the trash"},
    ROW_FLAG_WATCH,
};

static const struct verb rows[] = {
    {
        .noun = "experiment",
        .name = "ls",
        .aliases = "list",
        .summary = "list the experiments",
        .help = "An experiment is a named folder of runs.",
        .examples = {{"winnow experiment ls", "all of them"}, {"winnow experiment ls --deleted", "the trash"}},
        FLAGS(ls_flags),
        .run = ls_run,
    },
    {
        .noun = "experiment",
        .name = "show",
        .aliases = "get",
        .summary = "show one experiment",
        .help = "By its name, its id or a unique beginning of the id.",
        .examples = {{"winnow experiment show mnist", "by name"}},
        .words = {{"EXPERIMENT", WORD_EXPERIMENT}},
        .run = show_run,
    },
    {
        .noun = "experiment",
        .name = "create",
        .aliases = "new",
        .summary = "make an experiment",
        .help = "Sweeps and runs make theirs by themselves; this is for an empty one.",
        .examples = {{"winnow experiment create mnist", "make it and show it"}, {"winnow experiment create mnist -o name", "only its id"}},
        .words = {{"NAME", WORD_TEXT}},
        .run = create_run,
    },
    {
        .noun = "experiment",
        .name = "rm",
        .aliases = "delete",
        .summary = "move an experiment to the trash",
        .help = "Its runs go with it; all can be brought back until they are purged. Asks first, unless --yes is said.",
        .examples = {{"winnow experiment rm mnist", "after a question"}, {"winnow experiment rm mnist -y", "without one"}},
        .words = {{"EXPERIMENT", WORD_EXPERIMENT}},
        .run = rm_run,
    },
    {
        .noun = "experiment",
        .name = "restore",
        .summary = "bring an experiment back from the trash",
        .help = "Its runs come back with it. winnow experiment ls --deleted shows what is there.",
        .examples = {{"winnow experiment restore mnist", "by its name"}},
        .words = {{"EXPERIMENT", WORD_TEXT}},
        .run = restore_run,
    },
    {
        .noun = "experiment",
        .name = "rename",
        .summary = "give an experiment another name",
        .help = "Its id and its runs stay.",
        .examples = {{"winnow experiment rename mnist mnist-2024", "by its name"}},
        .words = {{"EXPERIMENT", WORD_EXPERIMENT}, {"NAME", WORD_TEXT}},
        .run = rename_run,
    },
    {
        .noun = "experiment",
        .name = "tag",
        .summary = "set and remove tags of an experiment",
        .help = "key=value sets, key- removes.",
        .examples = {{"winnow experiment tag mnist team=vision", "set one"}, {"winnow experiment tag mnist team-", "remove it"}},
        .words = {{"EXPERIMENT", WORD_EXPERIMENT}, {"KEY=VALUE", WORD_TEXT, .many = true}},
        .run = tag_run,
    },
};

const struct verb_set experiment_verbs = {rows, ARRAY_LEN(rows)};
