#ifdef WINNOW_WITH_SERVE
#include "cli/serve.h"
#include "cli/verbs.h"

static const struct flag_row up_flags[] = {
    {.name = "detach", .letter = 'd', .type = FLAG_BOOL, .help = "submit and return; do not follow"},
};

static const struct flag_row down_flags[] = {
    {.name = "now", .type = FLAG_BOOL, .help = "stop the jobs too, instead of leaving them to the next start"},
};

static const struct verb rows[] = {
    {
        .noun = "serve",
        .summary = "run the service",
        .help =
            "Answers on the address of --listen (127.0.0.1:7070) and on a Unix socket in --data. Without --db it runs a Postgres of its "
            "own in --data. Every setting may stand in a file (--config), in the environment (WINNOW_NAME) or here; winnow help settings "
            "lists them. SIGTERM stops the service and leaves the jobs; they are found again at the next start.",
        .examples = {{"winnow serve", "in the default directory, on 127.0.0.1:7070"},
                     {"winnow serve --data /srv/winnow --slots 4", "another directory, four slots"},
                     {"winnow serve --db postgresql://db.lab/winnow", "with a Postgres that is there"}},
        .words = {{"SETTINGS", WORD_FILE, .optional = true, .many = true}},
        .kind = VERB_RAW,
        .run = serve_run,
    },
    {
        .noun = "up",
        .summary = "start a service if none answers, submit a sweep and follow it",
        .help = "The service runs on in the background afterwards; winnow down stops it. Ctrl-C stops following, not the sweep.",
        .examples = {{"winnow up examples/digits-convnet/sweep.yaml", "the first sweep"}, {"winnow up sweep.yaml -d", "do not follow"}},
        FLAGS(up_flags),
        .words = {{"FILE", WORD_FILE}},
        .run = up_run,
    },
    {
        .noun = "down",
        .summary = "stop the background service",
        .help = "Jobs go on without it, and the next start finds them again; --now stops them first.",
        .examples = {{"winnow down", "stop the service, leave the jobs"}, {"winnow down --now", "stop both"}},
        FLAGS(down_flags),
        .run = down_run,
    },
    {
        .noun = "open",
        .summary = "open the page in a browser, logged in",
        .help = "Asks the service for a link that works once, and hands it to the browser. Where there is no browser the link is printed.",
        .examples = {{"winnow open", "the page of the service in use"}},
        .run = open_run,
    },
};

const struct verb_set serve_verbs = {rows, ARRAY_LEN(rows)};
#else
typedef int winnow_serve_is_not_part_of_this_build;
#endif
