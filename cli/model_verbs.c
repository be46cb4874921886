/* The model registry. */
#include "cli/verbs.h"
#include "tracker/model_row.h"
#include "tracker/names.h"

static const struct column model_columns[] = {
    {"NAME", "name", COLUMN_TEXT, false, NULL},       {"LATEST", "latest_version", COLUMN_COUNT, false, NULL},
    {"ALIASES", "aliases", COLUMN_LIST, false, NULL}, {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"UPDATED", "updated", COLUMN_AGE, false, NULL},  {"DESCRIPTION", "description", COLUMN_TEXT, false, NULL},
    {"TAGS", "tags", COLUMN_LIST, true, NULL},
};
static const struct view model_view = VIEW(model_columns, "name", "no models");

static const struct column version_columns[] = {
    {"NAME", "name", COLUMN_TEXT, false, NULL},
    {"VERSION", "version", COLUMN_COUNT, false, NULL},
    {"STAGE", "stage", COLUMN_STATE, false, NULL},
    {"ALIASES", "aliases", COLUMN_LIST, false, NULL},
    {"STATE", "state", COLUMN_STATE, true, NULL},
    {"RUN", "run_id", COLUMN_ID, false, NULL},
    {"SWEEP", "sweep_id", COLUMN_ID, true, NULL},
    {"PATH", "path", COLUMN_TEXT, true, NULL},
    {"SIZE", "size", COLUMN_SIZE, false, NULL},
    {"METRICS", "metrics", COLUMN_LIST, false, NULL},
    {"CREATED", "created", COLUMN_AGE, false, NULL},
    {"UPDATED", "updated", COLUMN_AGE, true, NULL},
    {"DIGEST", "digest", COLUMN_TEXT, true, NULL},
    {"TAGS", "tags", COLUMN_LIST, true, NULL},
    {"DESCRIPTION", "description", COLUMN_TEXT, true, NULL},
    {"SOURCE", "source", COLUMN_TEXT, true, NULL},
};
static const struct view version_view = VIEW_OF("name", version_columns, "version", "no versions");

static const struct column detail_columns[] = {
    {"Model", "name", COLUMN_TEXT, false, NULL},     {"Version", "version", COLUMN_COUNT, false, NULL},
    {"Stage", "stage", COLUMN_STATE, false, NULL},   {"Aliases", "aliases", COLUMN_LIST, false, NULL},
    {"State", "state", COLUMN_STATE, false, NULL},   {"Run", "run_id", COLUMN_ID, false, NULL},
    {"Sweep", "sweep_id", COLUMN_TEXT, false, NULL}, {"Path", "path", COLUMN_TEXT, false, NULL},
    {"Source", "source", COLUMN_TEXT, false, NULL},  {"Digest", "digest", COLUMN_TEXT, false, NULL},
    {"Size", "size", COLUMN_SIZE, false, NULL},      {"Metrics", "metrics", COLUMN_LIST, false, NULL},
    {"Tags", "tags", COLUMN_LIST, false, NULL},      {"Description", "description", COLUMN_TEXT, false, NULL},
    {"Created", "created", COLUMN_AGE, false, NULL}, {"Updated", "updated", COLUMN_AGE, false, NULL},
};
static const struct view detail_view = VIEW_OF("name", detail_columns, "version", "");

/* ---- register ---- */

/* A registered model that is there already is what we want. */
static bool ensure_model(struct cli *cli, const char *name, struct err *err) {
  AUTO_JSON json_t *body = json_pack("{ss}", "name", name);
  if (!body)
    return err_set(err, ERR_INVALID, "the name is no UTF-8");
  return cli_send(cli, "POST", body, NULL, err, "/models") || err->code == ERR_EXISTS || err->code == ERR_CONFLICT;
}

static int register_run(struct cli *cli) {
  struct err err;
  char id[RESOLVED_MAX];
  const char *name = args_word(&cli->args, 0), *pair, *path = args_text(&cli->args, "path");
  AUTO_JSON json_t *version = NULL;
  bool is_directory;
  if (!resolve_run(cli, args_word(&cli->args, 1), id, &err) || !artifact_find(cli, id, path, &is_directory, NULL, &err))
    return cli_fail(cli, &err);
  AUTO_JSON json_t *body =
      json_pack("{ssssss*s{}}", "run_id", id, "path", path, "description", args_text(&cli->args, "description"), "tags");
  if (!body)
    return cli_usage(cli, NULL, "an argument is no UTF-8");
  for (size_t at = 0; (pair = args_each(&cli->args, "tag", &at));)
    if (!cli_add_pair(json_object_get(body, "tags"), pair, false, &err))
      return cli_usage(cli, err.hint, "%s", err.text);
  if (!ensure_model(cli, name, &err) || !cli_send(cli, "POST", body, &version, &err, "/models/{}/versions", name))
    return cli_fail(cli, &err);
  return cli_done(cli, output_object(&cli->output, &detail_view, version, &err), &err);
}

/* ---- look ---- */

static int ls_run(struct cli *cli) {
  return cli_show_list(cli, "/models", NULL, &model_view);
}

static int show_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  AUTO_JSON json_t *version = NULL;
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  if (!resolve_model(cli, args_word(&cli->args, 0), &ref, &err))
    return cli_fail(cli, &err);
  if (!ref.version[0] && !ref.alias[0]) {
    path_format(&path, "/models/{}/versions", ref.name);
    return cli_show_list(cli, buf_text(&path), NULL, &version_view);
  }
  bool ok = resolve_model_version(cli, args_word(&cli->args, 0), &ref, &err) &&
            cli_get(cli, &version, &err, "/models/{}/versions/{}", ref.name, ref.version) &&
            output_object(&cli->output, output_for_people(&cli->output) ? &detail_view : &version_view, version, &err);
  return cli_done(cli, ok, &err);
}

static const struct column event_columns[] = {
    {"TIME", "time", COLUMN_AGE, false, NULL},     {"VERSION", "subject", COLUMN_TEXT, false, NULL},
    {"KIND", "kind", COLUMN_TEXT, false, NULL},    {"FROM", "from", COLUMN_TEXT, false, NULL},
    {"TO", "to", COLUMN_TEXT, false, NULL},        {"ACTOR", "actor", COLUMN_TEXT, false, NULL},
    {"ALIAS", "reason", COLUMN_TEXT, false, NULL}, {"ID", "id", COLUMN_TEXT, true, NULL},
};
static const struct view moved_view = VIEW(event_columns, "id", "nothing was moved");

static int events_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  AUTO_BUF struct buf path = BUF_INIT(8 * KIB);
  const char *word = args_word(&cli->args, 0);
  bool is_there = resolve_model(cli, word, &ref, &err); /* what was removed has events, too */
  if (is_there ? ref.alias[0] && !resolve_model_version(cli, word, &ref, &err) : err.code != ERR_NOT_FOUND || ref.alias[0])
    return cli_fail(cli, &err);
  path_format(&path, "/models/{}/events", ref.name);
  if (ref.version[0])
    buf_printf(&path, "?version=%s", ref.version);
  return cli_show_list(cli, buf_text(&path), NULL, &moved_view);
}

/* ---- move ---- */

static int alias_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  const char *word = args_word(&cli->args, 0), *alias = args_word(&cli->args, 1);
  if (args_bool(&cli->args, "remove")) {
    if (!resolve_model(cli, word, &ref, &err) || !cli_send(cli, "DELETE", NULL, NULL, &err, "/models/{}/aliases/{}", ref.name, alias))
      return cli_fail(cli, &err);
    output_say(&cli->output, "%s has no alias %s any more", ref.name, alias);
    return EXIT_OK;
  }
  if (!alias_check(str_of(alias), &err))
    return cli_usage(cli, NULL, "%s", err.text);
  if (!resolve_model_version(cli, word, &ref, &err))
    return cli_fail(cli, &err);
  int64_t number = 0;
  if (!str_to_i64(str_of(ref.version), &number))
    return cli_usage(cli, NULL, "'%s' is no version", ref.version);
  AUTO_JSON json_t *body = json_pack("{sI}", "version", (json_int_t)number);
  if (!cli_send(cli, "PUT", body, NULL, &err, "/models/{}/aliases/{}", ref.name, alias))
    return cli_fail(cli, &err);
  output_say(&cli->output, "%s@%s is version %s", ref.name, alias, ref.version);
  return EXIT_OK;
}

static int stage_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  const char *stage = args_word(&cli->args, 1);
  int64_t known;
  if (!model_stage_parse(str_of(stage), &known))
    return cli_usage(cli, NULL, "a stage is None, Staging, Production or Archived, not '%.100s'", stage);
  AUTO_JSON json_t *body = json_pack("{ss}", "stage", stage), *version = NULL;
  if (!body)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!resolve_model_version(cli, args_word(&cli->args, 0), &ref, &err) ||
      !cli_send(cli, "PATCH", body, &version, &err, "/models/{}/versions/{}", ref.name, ref.version))
    return cli_fail(cli, &err);
  return cli_report(cli, &version_view, version, "%s/%s is in stage %s", ref.name, ref.version, model_stage_name(known));
}

static int rm_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  int code;
  const char *word = args_word(&cli->args, 0);
  if (!resolve_model(cli, word, &ref, &err))
    return cli_fail(cli, &err);
  bool one = ref.version[0] || ref.alias[0];
  if (one && !resolve_model_version(cli, word, &ref, &err))
    return cli_fail(cli, &err);
  bool agreed = one ? cli_confirm(cli, &code, "Delete version %s of the model %s", ref.version, ref.name)
                    : cli_confirm(cli, &code, "Delete the model %s with all its versions", ref.name);
  if (!agreed)
    return code;
  bool ok = one ? cli_send(cli, "DELETE", NULL, NULL, &err, "/models/{}/versions/{}", ref.name, ref.version)
                : cli_send(cli, "DELETE", NULL, NULL, &err, "/models/{}", ref.name);
  if (ok)
    output_say(&cli->output, "%s is deleted", word);
  return cli_done(cli, ok, &err);
}

/* ---- files ---- */

/* A file that was lost on the service's disk is in no list. */
static bool is_complete(struct cli *cli, const struct model_ref *ref, int64_t bytes, struct err *err) {
  AUTO_JSON json_t *version = NULL;
  AUTO_BUF struct buf had = BUF_INIT(64), has = BUF_INIT(64);
  if (!cli_get(cli, &version, err, "/models/{}/versions/{}", ref->name, ref->version))
    return false;
  const json_t *size = json_object_get(version, "size");
  if (!json_is_integer(size) || json_integer_value(size) == bytes)
    return true;
  encode_size(&had, (double)json_integer_value(size));
  encode_size(&has, (double)bytes);
  err_set(err, ERR_IO, "%s/%s had %s when it was registered, and what was fetched has %s", ref->name, ref->version, buf_text(&had),
          buf_text(&has));
  return err_hint(err, "winnow model verify %.150s/%s compares it with its digest", ref->name, ref->version);
}

static int download_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  AUTO_BUF struct buf list = BUF_INIT(16 * KIB), file = BUF_INIT(16 * KIB), size = BUF_INIT(64);
  struct tree_got got;
  if (!resolve_model_version(cli, args_word(&cli->args, 0), &ref, &err))
    return cli_fail(cli, &err);
  path_format(&list, "/models/{}/versions/{}/files", ref.name, ref.version);
  path_format(&file, "/api/v1/models/{}/versions/{}/files/", ref.name, ref.version);
  struct tree_download tree = {buf_text(&list), buf_text(&file), NULL, args_text(&cli->args, "to")};
  if (!buf_ok(&list, &err) || !buf_ok(&file, &err) || !download_tree(cli, &tree, &got, &err))
    return cli_fail(cli, &err);
  encode_size(&size, (double)got.bytes);
  output_say(&cli->output, "%s/%s: %zu %s, %s, in %s", ref.name, ref.version, got.files, got.files == 1 ? "file" : "files", buf_text(&size),
             tree.target);
  return cli_done(cli, is_complete(cli, &ref, got.bytes, &err), &err);
}

static const struct column verify_columns[] = {
    {"Matches", "ok", COLUMN_TEXT, false, NULL},
    {"Digest", "digest", COLUMN_TEXT, false, NULL},
    {"Found", "found", COLUMN_TEXT, false, NULL},
    {"Reason", "reason", COLUMN_TEXT, false, NULL},
};
static const struct view verify_view = VIEW(verify_columns, "ok", "");

static int verify_run(struct cli *cli) {
  struct err err;
  struct model_ref ref;
  AUTO_JSON json_t *result = NULL;
  if (!resolve_model_version(cli, args_word(&cli->args, 0), &ref, &err) ||
      !cli_send(cli, "POST", NULL, &result, &err, "/models/{}/versions/{}/verify", ref.name, ref.version) ||
      !output_object(&cli->output, &verify_view, result, &err))
    return cli_fail(cli, &err);
  bool ok = json_is_true(json_object_get(result, "ok"));
  output_say(&cli->output, ok ? "%s/%s is what was registered" : "%s/%s is not what was registered", ref.name, ref.version);
  return ok ? EXIT_OK : EXIT_OBJECT_FAILED;
}

static const struct flag_row register_flags[] = {
    {.name = "path",
     .letter = 'p',
     .type = FLAG_TEXT,
     .value_name = "PATH",
     .default_text = "model",
     .help = "the model among the run's artifacts"},
    {.name = "description", .type = FLAG_TEXT, .value_name = "TEXT", .help = "of the version"},
    {.name = "tag", .type = FLAG_TEXT, .value_name = "KEY=VALUE", .repeatable = true, .help = "a tag of the version"},
};
static const struct flag_row ls_flags[] = {ROW_FLAG_LIMIT("100"), ROW_FLAG_WATCH};
static const struct flag_row event_flags[] = {ROW_FLAG_LIMIT("100")};
static const struct flag_row show_flags[] = {ROW_FLAG_LIMIT("100")};
static const struct flag_row alias_flags[] = {
    {.name = "remove", .type = FLAG_BOOL, .help = "take the alias away"},
};
static const struct flag_row download_flags[] = {
    {.name = "to",
     .letter = 'd',
     .type = FLAG_TEXT,
     .value_name = "DIR",
     .default_text = ".",
     .completes = WORD_FILE,
     .help = "where the files go"},
};

static const struct verb rows[] = {
    {
        .noun = "model",
        .name = "register",
        .summary = "make a version of a model from a run's files",
        .help =
            "The model is made when it is not there. The version keeps its files even when the run is deleted, and remembers run, sweep and metrics.",
        .examples = {{"winnow model register mnist @best", "the best trial's model/"},
                     {"winnow model register mnist 0193b2 --path weights.npz --tag data=v3", "one file, with a tag"}},
        FLAGS(register_flags),
        .words = {{"NAME", WORD_MODEL}, {"RUN", WORD_RUN}},
        .run = register_run,
    },
    {
        .noun = "model",
        .name = "ls",
        .aliases = "list",
        .summary = "list the models",
        .help = "With their newest versions and aliases.",
        .examples = {{"winnow model ls", "all of them"}},
        FLAGS(ls_flags),
        .run = ls_run,
    },
    {
        .noun = "model",
        .name = "show",
        .aliases = "get versions",
        .summary = "the versions of a model, or one of them",
        .help =
            "NAME lists the versions; NAME/3 and NAME@alias show one with its lineage. A name may end like that itself, where no shorter one is there.",
        .examples = {{"winnow model show mnist", "its versions"}, {"winnow model show mnist@champion", "the one behind an alias"}},
        FLAGS(show_flags),
        .words = {{"MODEL[/VERSION]", WORD_MODEL}},
        .run = show_run,
    },
    {
        .noun = "model",
        .name = "events",
        .aliases = "log",
        .summary = "who moved what of a model",
        .help = "Stages, aliases, names, and what was removed, of a model and all its versions; with NAME/3 or NAME@alias of one.",
        .examples = {{"winnow model events mnist", "all of it"}, {"winnow model events mnist/3", "one version"}},
        FLAGS(event_flags),
        .words = {{"MODEL[/VERSION]", WORD_MODEL}},
        .run = events_run,
    },
    {
        .noun = "model",
        .name = "alias",
        .summary = "point an alias at a version",
        .help = "An alias points at one version at a time; programs load NAME@alias.",
        .examples = {{"winnow model alias mnist/3 champion", "set it"}, {"winnow model alias mnist champion --remove", "take it away"}},
        FLAGS(alias_flags),
        .words = {{"MODEL[/VERSION]", WORD_MODEL}, {"ALIAS", WORD_TEXT}},
        .run = alias_run,
    },
    {
        .noun = "model",
        .name = "stage",
        .aliases = "promote",
        .summary = "move a version to a stage",
        .help = "Stages are None, Staging, Production and Archived. Who moved what is kept: winnow model events.",
        .examples = {{"winnow model stage mnist/3 Production", "promote it"}},
        .words = {{"MODEL[/VERSION]", WORD_MODEL}, {"STAGE", WORD_TEXT}},
        .run = stage_run,
    },
    {
        .noun = "model",
        .name = "download",
        .summary = "fetch the files of a version",
        .help = "NAME is the newest version, NAME/3 and NAME@alias another. Files are checked as winnow artifact get does.",
        .examples = {{"winnow model download mnist@champion --to model", "into a directory"}},
        FLAGS(download_flags),
        .words = {{"MODEL[/VERSION]", WORD_MODEL}},
        .run = download_run,
    },
    {
        .noun = "model",
        .name = "verify",
        .summary = "compare a version's files with its digests, on the service",
        .help = "The exit status is 7 when something does not match.",
        .examples = {{"winnow model verify mnist/3", "one version"}},
        .words = {{"MODEL[/VERSION]", WORD_MODEL}},
        .run = verify_run,
    },
    {
        .noun = "model",
        .name = "rm",
        .aliases = "delete",
        .summary = "delete a version, or a model with all of them",
        .help = "Asks first, unless --yes is said.",
        .examples = {{"winnow model rm mnist/2", "one version"}, {"winnow model rm mnist -y", "all of it, without a question"}},
        .words = {{"MODEL[/VERSION]", WORD_MODEL}},
        .run = rm_run,
    },
};

const struct verb_set model_verbs = {rows, ARRAY_LEN(rows)};
