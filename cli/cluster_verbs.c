/* What waits, and where it could run. */
#include "cli/verbs.h"

static const struct column queue_columns[] = {
    {"#", "position", COLUMN_COUNT, false, NULL},        {"RUN", "run_id", COLUMN_ID, false, NULL},
    {"NAME", "name", COLUMN_TEXT, false, NULL},          {"TRIAL", "number", COLUMN_COUNT, false, NULL},
    {"SWEEP", "sweep_id", COLUMN_ID, true, NULL},        {"PRIORITY", "priority", COLUMN_COUNT, false, NULL},
    {"SLOTS", "wants.slots", COLUMN_COUNT, false, NULL}, {"MEMORY", "wants.memory", COLUMN_SIZE, true, NULL},
    {"SINCE", "since", COLUMN_AGE, false, NULL},         {"REASON", "reason", COLUMN_TEXT, false, NULL},
};
static const struct view queue_view = VIEW(queue_columns, "run_id", "nothing waits");

static const struct column node_columns[] = {
    {"NODE", "name", COLUMN_TEXT, false, NULL},          {"STATE", "state", COLUMN_STATE, false, NULL},
    {"SLOTS", "slots.total", COLUMN_COUNT, false, NULL}, {"USED", "slots.used", COLUMN_COUNT, false, NULL},
    {"HELD", "slots.held", COLUMN_COUNT, false, NULL},   {"CPUS", "cpus", COLUMN_COUNT, false, NULL},
    {"MEMORY", "memory", COLUMN_SIZE, false, NULL},      {"LOAD", "load", COLUMN_NUMBER, false, NULL},
    {"HEARTBEAT", "heartbeat", COLUMN_AGE, false, NULL}, {"REASON", "reason", COLUMN_TEXT, false, NULL},
    {"GPUS", "gpus", COLUMN_LIST, true, NULL},
};
static const struct view node_view = VIEW(node_columns, "name", "no nodes");

static int queue_run(struct cli *cli) {
  return cli_show_list(cli, "/queue", NULL, &queue_view);
}

static int nodes_run(struct cli *cli) {
  return cli_show_list(cli, "/nodes", NULL, &node_view);
}

static int patch_queue(struct cli *cli, json_t *body, const char *done) {
  struct err err;
  char id[RESOLVED_MAX];
  AUTO_JSON json_t *entry = NULL;
  if (!body)
    return cli_done(cli, err_no_memory(&err), &err);
  if (!resolve_run(cli, args_word(&cli->args, 0), id, &err) || !cli_send(cli, "PATCH", body, &entry, &err, "/queue/{}", id))
    return cli_fail(cli, &err);
  return cli_report(cli, &queue_view, entry, done, id);
}

static int hold_run(struct cli *cli) {
  AUTO_JSON json_t *body = json_pack("{sb}", "hold", 1);
  return patch_queue(cli, body, "run %s is held back");
}

static int release_run(struct cli *cli) {
  AUTO_JSON json_t *body = json_pack("{sb}", "hold", 0);
  return patch_queue(cli, body, "run %s waits for its turn again");
}

static int move_run(struct cli *cli) {
  int64_t position;
  const char *word = args_word(&cli->args, 1);
  if (strcmp(word, "first") == 0)
    position = 1;
  else if (!str_to_i64(str_of(word), &position) || position < 1)
    return cli_usage(cli, "a number from 1 on, or first", "'%.40s' is no position", word);
  AUTO_JSON json_t *body = json_pack("{sI}", "position", (json_int_t)position);
  return patch_queue(cli, body, "run %s is moved");
}

static int patch_node(struct cli *cli, json_t *body, const char *done) {
  struct err err;
  AUTO_JSON json_t *node = NULL;
  const char *name = args_word(&cli->args, 0);
  if (!body)
    return cli_usage(cli, NULL, "the reason is no UTF-8");
  if (!cli_send(cli, "PATCH", body, &node, &err, "/nodes/{}", name))
    return cli_fail(cli, &err);
  return cli_report(cli, &node_view, node, done, name);
}

static int drain_run(struct cli *cli) {
  AUTO_JSON json_t *body = json_pack("{sbss*}", "drain", 1, "reason", args_text(&cli->args, "reason"));
  return patch_node(cli, body, "node %s takes no more jobs; those that run go on");
}

static int undrain_run(struct cli *cli) {
  AUTO_JSON json_t *body = json_pack("{sb}", "drain", 0);
  return patch_node(cli, body, "node %s takes jobs again");
}

static const struct flag_row list_flags[] = {ROW_FLAG_LIMIT("200"), ROW_FLAG_WATCH};
static const struct flag_row drain_flags[] = {
    {.name = "reason", .type = FLAG_TEXT, .value_name = "TEXT", .help = "shown to those who wait"},
};

static const struct verb rows[] = {
    {
        .noun = "queue",
        .summary = "what waits for a slot, and why",
        .help = "In the order it will start, each with the reason it waits.",
        .examples = {{"winnow queue", "now"}, {"winnow queue -w", "again and again"}},
        FLAGS(list_flags),
        .run = queue_run,
    },
    {
        .noun = "queue",
        .name = "hold",
        .summary = "hold a waiting run back",
        .help = "It keeps its place and does not start until it is released.",
        .examples = {{"winnow queue hold mnist/12", "a trial"}},
        .words = {{"RUN", WORD_RUN}},
        .run = hold_run,
    },
    {
        .noun = "queue",
        .name = "release",
        .summary = "let a held run start",
        .help = "The opposite of hold.",
        .examples = {{"winnow queue release mnist/12", "a trial"}},
        .words = {{"RUN", WORD_RUN}},
        .run = release_run,
    },
    {
        .noun = "queue",
        .name = "move",
        .summary = "move a waiting run to another position",
        .help = "POSITION is a number from 1 on, or first.",
        .examples = {{"winnow queue move mnist/12 first", "to the front"}},
        .words = {{"RUN", WORD_RUN}, {"POSITION", WORD_TEXT}},
        .run = move_run,
    },
    {
        .noun = "nodes",
        .summary = "machines and their slots",
        .help = "With load, memory and what is held; -o wide has the GPUs.",
        .examples = {{"winnow nodes", "now"}, {"winnow nodes -o wide", "with GPUs"}},
        FLAGS(list_flags),
        .run = nodes_run,
    },
    {
        .noun = "nodes",
        .name = "drain",
        .summary = "give a node no more jobs",
        .help = "Jobs that run there go on.",
        .examples = {{"winnow nodes drain gpu1 --reason 'new disk'", "with a reason"}},
        FLAGS(drain_flags),
        .words = {{"NODE", WORD_NODE}},
        .run = drain_run,
    },
    {
        .noun = "nodes",
        .name = "resume",
        .aliases = "undrain",
        .summary = "give a drained node jobs again",
        .help = "The opposite of drain.",
        .examples = {{"winnow nodes resume gpu1", "one node"}},
        .words = {{"NODE", WORD_NODE}},
        .run = undrain_run,
    },
};

const struct verb_set cluster_verbs = {rows, ARRAY_LEN(rows)};
