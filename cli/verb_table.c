#include "cli/verbs.h"

static const char *const color_choices[] = {"auto", "always", "never", NULL};

static const struct flag_row globals[] = {
    {.name = "url", .type = FLAG_TEXT, .value_name = "URL", .help = "the service: http://HOST:PORT, https://HOST or unix:/PATH"},
    {.name = "token-file",
     .type = FLAG_TEXT,
     .value_name = "FILE",
     .completes = WORD_FILE,
     .help = "send the token in this file (mode 0600)"},
    {.name = "output", .letter = 'o', .type = FLAG_CHOICE, .choices = output_formats, .default_text = "table", .help = "how data is shown"},
    {.name = "color",
     .type = FLAG_CHOICE,
     .choices = color_choices,
     .default_text = "auto",
     .help = "colours: on a terminal, always, never"},
    {.name = "quiet", .letter = 'q', .type = FLAG_BOOL, .help = "nothing but data and errors"},
    {.name = "yes", .letter = 'y', .type = FLAG_BOOL, .help = "answer questions with yes"},
    {.name = "help", .letter = 'h', .type = FLAG_BOOL, .help = "say what the command does"},
    {.name = "version", .type = FLAG_BOOL, .help = "say which version this is"},
};

static const struct noun nouns[] = {
#ifdef WINNOW_WITH_SERVE
    {"up", NULL, "start a service if none answers, submit a sweep and follow it"},
    {"serve", NULL, "run the service"},
    {"exec", NULL, "run one attempt of a job (internal)"},
    {"down", NULL, "stop the background service"},
    {"open", NULL, "open the page in a browser, logged in"},
#endif
    {"sweep", "sweeps sw", "submit, follow and steer sweeps"},
    {"trial", "trials", "the trials of a sweep"},
    {"run", "runs", "tracked runs: params, metrics, events; launch one by itself"},
    {"logs", "log", "what a run printed, live or afterwards"},
    {"artifact", "artifacts", "files that runs keep"},
    {"model", "models", "the model registry"},
    {"experiment", "experiments exp", "the folders of runs"},
    {"queue", NULL, "what waits for a slot, and why"},
    {"nodes", "node", "machines and their slots"},
    {"export", NULL, "runs, points and models as CSV or JSON lines"},
    {"parse", NULL, "the metrics Winnow reads in a log, without a service"},
    {"status", NULL, "how the service is"},
    {"doctor", NULL, "look for what is wrong, as a report to paste"},
    {"admin", NULL, "figures, checks, backups, cleaning, deletion for good"},
    {"login", NULL, "keep a token for a service"},
    {"logout", NULL, "forget the token kept for a service"},
    {"whoami", NULL, "who the service takes you for"},
    {"token", "tokens", "tokens for other people and programs"},
    {"api", NULL, "any request of the REST interface"},
    {"completion", NULL, "completion for bash, zsh and fish"},
    {"version", NULL, "say which version this is"},
    {"help", NULL, "say what a command does"},
    {"__complete", NULL, "answer a shell's completion"},
};

static const struct verb_set *const sets[] = {
#ifdef WINNOW_WITH_SERVE
    &serve_verbs, &exec_verbs,
#endif
    &sweep_verbs, &trial_verbs,      &run_verbs,     &run_data_verbs, &logs_verbs,   &artifact_verbs,
    &model_verbs, &experiment_verbs, &cluster_verbs, &export_verbs,   &status_verbs, &access_verbs,
    &meta_verbs,  &parse_verbs,      &admin_verbs,   &reparse_verbs,  &backup_verbs,
};

const struct verb_table verb_table = {
    nouns, ARRAY_LEN(nouns), sets, ARRAY_LEN(sets), globals, ARRAY_LEN(globals),
};
