/* How the service is, and what may be wrong. */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "cli/verbs.h"

static const struct column status_columns[] = {
    {"State", "state", COLUMN_STATE, false, NULL},
    {"Trouble", "said", COLUMN_TEXT, false, NULL},
    {"Version", "version", COLUMN_TEXT, false, NULL},
    {"Address", "url", COLUMN_TEXT, false, NULL},
    {"Started", "started", COLUMN_AGE, false, NULL},
    {"Database", "database.kind", COLUMN_TEXT, false, NULL},
    {"Up", "database.up", COLUMN_TEXT, false, NULL},
    {"Reason", "database.reason", COLUMN_TEXT, false, NULL},
    {"Waiting", "database.waiting", COLUMN_COUNT, false, NULL},
    {"Executor", "executor", COLUMN_TEXT, false, NULL},
    {"Slots", "slots", COLUMN_LIST, false, NULL},
    {"Data", "data_dir", COLUMN_TEXT, false, NULL},
    {"Connections", "connections", COLUMN_COUNT, false, NULL},
    {"You", "you.name", COLUMN_TEXT, false, NULL},
    {"Scope", "you.scope", COLUMN_TEXT, false, NULL},
};
static const struct view status_view = VIEW(status_columns, "state", "");

/* "the disk of artifacts is almost full, ... (/var/lib/winnow); make room there" */
static void put_trouble(const json_t *item, struct buf *out) {
  struct str place = json_str(json_object_get(item, "place"));
  buf_add_str(out, json_str(json_object_get(item, "detail")));
  if (place.n)
    buf_printf(out, " (%.*s)", STR_ARG(place));
  buf_printf(out, "; %.*s", STR_ARG(json_str(json_object_get(item, "hint"))));
}

static void add_trouble(json_t *status) {
  const json_t *all = json_object_get(status, "trouble");
  AUTO_BUF struct buf said = BUF_INIT(64 * KIB);
  for (size_t i = 0; i < json_array_size(all); i++) {
    buf_puts(&said, i ? "; " : "");
    put_trouble(json_array_get(all, i), &said);
  }
  if (said.n)
    json_object_set_new(status, "said", json_string(buf_text(&said)));
}

static bool show_status(struct cli *cli, json_t *status, struct err *err) {
  if (output_for_people(&cli->output))
    add_trouble(status);
  return output_object(&cli->output, &status_view, status, err);
}

static int status_draw(struct cli *cli, void *ctx) {
  (void)ctx;
  struct err err;
  AUTO_JSON json_t *status = NULL;
  return cli_done(cli, cli_get(cli, &status, &err, "/status") && show_status(cli, status, &err), &err);
}

static int status_run(struct cli *cli) {
  return args_bool(&cli->args, "watch") ? cli_watch(cli, 2000, status_draw, NULL) : status_draw(cli, NULL);
}

/* ---- doctor ---- */

enum finding { FINE, WORTH_KNOWING, WRONG };

struct doctor {
  struct cli *cli;
  json_t *items;
  bool wrong, answered;
  char data_dir[ENDPOINT_PATH_MAX]; /* as the service says; "" when it does not */
};

static void note(struct doctor *doctor, enum finding finding, const char *what, const char *format, ...) PRINTF_LIKE(4, 5);
static void note(struct doctor *doctor, enum finding finding, const char *what, const char *format, ...) {
  static const char *const words[] = {"ok", "note", "wrong"};
  AUTO_BUF struct buf text = BUF_INIT(8 * KIB);
  va_list args;
  va_start(args, format);
  buf_vprintf(&text, format, args);
  va_end(args);
  json_t *item = json_pack("{ssssss}", "check", what, "state", words[finding], "detail", buf_text(&text));
  if (!item || json_array_append_new(doctor->items, item) != 0)
    doctor->wrong = true;
  doctor->wrong |= finding == WRONG;
}

static void check_clock(struct doctor *doctor, const struct client_reply *reply, int64_t took_ms) {
  if (reply->date_ms < 0) {
    note(doctor, WORTH_KNOWING, "clock", "the service does not say its time");
    return;
  }
  int64_t skew = reply->date_ms - clock_wall_ms(doctor->cli->clock) + took_ms / 2;
  bool close = skew > -2500 && skew < 2500; /* Date has whole seconds */
  AUTO_BUF struct buf text = BUF_INIT(64);
  encode_duration(&text, skew < 0 ? -skew : skew);
  if (close)
    note(doctor, FINE, "clock", "agrees with the service's");
  else
    note(doctor, WRONG, "clock", "the service's clock is %s %s; set both by NTP", buf_text(&text), skew > 0 ? "ahead" : "behind");
}

static void check_version(struct doctor *doctor, const json_t *status) {
  struct str version = json_str(json_object_get(status, "version"));
  if (!version.n)
    note(doctor, WORTH_KNOWING, "version", "this program is %s, the service does not say", WINNOW_VERSION);
  else
    note(doctor, str_is(version, WINNOW_VERSION) ? FINE : WORTH_KNOWING, "version", "this program is %s, the service %.*s", WINNOW_VERSION,
         STR_ARG(version));
}

static void check_service(struct doctor *doctor) {
  struct err err;
  AUTO_REPLY struct client_reply reply;
  client_reply_init(&reply);
  AUTO_JSON json_t *status = NULL;
  struct client *client = cli_client(doctor->cli, &err);
  struct client_request request = {.method = "GET", .path = "/api/v1/status", .body_fd = -1};
  int64_t begun = clock_mono_us(doctor->cli->clock);
  if (!client || !client_call(client, &request, &reply, &err)) {
    note(doctor, WRONG, "service", "%s", err.text);
    return;
  }
  int64_t took = clock_mono_us(doctor->cli->clock) - begun;
  note(doctor, FINE, "service", "answers in %.1f ms", (double)took / 1000);
  check_clock(doctor, &reply, took / 1000);
  if (!json_read(buf_str(&reply.body), &status, &err)) {
    note(doctor, WRONG, "service", "what answers there is no Winnow: %s", err.text);
    return;
  }
  check_version(doctor, status);
  const json_t *trouble = json_object_get(status, "trouble");
  for (size_t i = 0; i < json_array_size(trouble); i++) {
    AUTO_BUF struct buf said = BUF_INIT(8 * KIB);
    put_trouble(json_array_get(trouble, i), &said);
    note(doctor, WRONG, "trouble", "%s", buf_text(&said));
  }
  doctor->answered = true;
  struct str directory = json_str(json_object_get(status, "data_dir"));
  if (directory.n < sizeof doctor->data_dir)
    snprintf(doctor->data_dir, sizeof doctor->data_dir, "%.*s", STR_ARG(directory));
}

static void check_address(struct doctor *doctor) {
  struct err err;
  const struct endpoint *endpoint = cli_endpoint(doctor->cli, &err);
  AUTO_BUF struct buf name = BUF_INIT(8 * KIB);
  if (!endpoint) {
    note(doctor, WRONG, "address", "%s%s%s", err.text, err.hint[0] ? "; " : "", err.hint);
    return;
  }
  endpoint_name(endpoint, &name);
  note(doctor, FINE, "address", "%s, from %s%s%s", buf_text(&name), endpoint_source_name(endpoint->source), endpoint->project[0] ? " " : "",
       endpoint->project);
  if (endpoint->token[0])
    note(doctor, FINE, "token", "from %s", endpoint->token_source);
  else if (endpoint->env_token_withheld)
    note(doctor, WORTH_KNOWING, "token", "WINNOW_TOKEN is not sent to an address that %s names; set WINNOW_URL, or winnow login",
         endpoint->project);
  else
    note(doctor, FINE, "token", endpoint->socket[0] ? "none; the socket knows who you are" : "none");
  bool clear = str_starts(str_of(endpoint->url), STR("http://")) && !endpoint_is_local(endpoint);
  if (clear)
    note(doctor, WORTH_KNOWING, "encryption", "the address is not https: tokens and data can be read on the way");
}

static void check_place(struct doctor *doctor, const char *what, const char *path, mode_t forbidden) {
  struct stat st;
  struct statvfs fs;
  if (stat(path, &st) != 0) {
    note(doctor, FINE, what, "%s is not there", path);
    return;
  }
  if (st.st_mode & forbidden)
    note(doctor, WRONG, what, "%s has mode %04o; chmod %04o it", path, (unsigned)(st.st_mode & 07777),
         (unsigned)(st.st_mode & 07777 & ~forbidden));
  else
    note(doctor, FINE, what, "%s, mode %04o", path, (unsigned)(st.st_mode & 07777));
  if (!S_ISDIR(st.st_mode) || statvfs(path, &fs) != 0)
    return;
  double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
  AUTO_BUF struct buf size = BUF_INIT(64);
  encode_size(&size, free_bytes);
  note(doctor, free_bytes < 1e9 ? WRONG : FINE, "disk", "%s free where %s lies", buf_text(&size), path);
}

/* The directory that the service says it has; without an answer the one that it would have. */
static void check_data(struct doctor *doctor) {
  struct err err;
  AUTO_BUF struct buf data = BUF_INIT(ENDPOINT_PATH_MAX), token = BUF_INIT(ENDPOINT_PATH_MAX);
  const struct endpoint *endpoint = cli_endpoint(doctor->cli, &err);
  if ((endpoint && !endpoint_is_local(endpoint)) || (doctor->answered && !doctor->data_dir[0]))
    return;
  if (doctor->data_dir[0])
    buf_puts(&data, doctor->data_dir);
  else
    endpoint_data_dir(&data);
  buf_printf(&token, "%s/admin.token", buf_text(&data));
  check_place(doctor, "data", buf_text(&data), 022);
  if (access(buf_text(&token), F_OK) == 0)
    check_place(doctor, "admin token", buf_text(&token), 077);
}

static bool postgres_in(const char *directory, struct buf *out) {
  buf_reset(out);
  buf_printf(out, "%s/initdb", directory);
  return access(buf_text(out), X_OK) == 0;
}

static void check_postgres(struct doctor *doctor) {
  AUTO_BUF struct buf path = BUF_INIT(4 * KIB), directory = BUF_INIT(4 * KIB);
  static const char *const places[] = {"/usr/lib/postgresql/%d/bin", "/usr/pgsql-%d/bin"};
  bool found = false;
  for (int version = 20; version >= 13 && !found; version--) {
    for (size_t i = 0; i < ARRAY_LEN(places) && !found; i++) {
      buf_reset(&directory);
      buf_printf(&directory, places[i], version);
      found = postgres_in(buf_text(&directory), &path);
    }
  }
  struct str rest = str_of(getenv("PATH")), part;
  while (!found && str_split(&rest, ':', &part)) {
    buf_reset(&directory);
    buf_add_str(&directory, part);
    found = part.n && postgres_in(buf_text(&directory), &path);
  }
  if (found)
    note(doctor, FINE, "postgres", "%s", buf_text(&path));
  else
    note(doctor, WORTH_KNOWING, "postgres", "not found; winnow serve needs it without --db (Debian: apt install postgresql)");
}

static void check_gpu(struct doctor *doctor) {
  struct err err;
  AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
  if (!file_read("/proc/driver/nvidia/version", &text, &err)) {
    note(doctor, FINE, "gpu", "no NVIDIA driver");
    return;
  }
  struct str line = buf_str(&text);
  line = str_slice(line, 0, MIN_OF(str_find(line, '\n'), line.n));
  note(doctor, FINE, "gpu", "%.*s", STR_ARG(line));
}

static const struct column doctor_columns[] = {
    {"CHECK", "check", COLUMN_TEXT, false, NULL},
    {"STATE", "state", COLUMN_STATE, false, NULL},
    {"WHAT", "detail", COLUMN_TEXT, false, NULL},
};
static const struct view doctor_view = VIEW(doctor_columns, "check", "nothing was looked at");

static int doctor_run(struct cli *cli) {
  struct err err;
  AUTO_JSON json_t *items = json_array();
  struct doctor doctor = {.cli = cli, .items = items};
  AUTO_BUF struct buf config = BUF_INIT(ENDPOINT_PATH_MAX);
  endpoint_config_dir(&config);
  check_address(&doctor);
  check_service(&doctor);
  check_data(&doctor);
  check_place(&doctor, "config", buf_text(&config), 022);
  check_postgres(&doctor);
  check_gpu(&doctor);
  if (cli->output.format == OUTPUT_TABLE)
    cli->output.columns = 0; /* a report to paste is not cut */
  if (!output_list(&cli->output, &doctor_view, items, NULL, &err))
    return cli_fail(cli, &err);
  return doctor.wrong ? EXIT_FAILED : EXIT_OK;
}

static const struct flag_row status_flags[] = {ROW_FLAG_WATCH};

static const struct verb rows[] = {
    {
        .noun = "status",
        .summary = "how the service is",
        .help = "Version, database, executor, slots and lag, as the service reports them.",
        .examples = {{"winnow status", "for people"}, {"winnow status -o json", "for programs"}, {"winnow status -w", "again and again"}},
        FLAGS(status_flags),
        .run = status_run,
    },
    {
        .noun = "doctor",
        .summary = "look for what is wrong, as a report to paste",
        .help =
            "Looks at the address and where it comes from, whether the service answers and how fast, the versions, the clocks, the modes of "
            "files, free disk, Postgres and the GPU driver. No secret is shown. The exit status is 1 when something is wrong.",
        .examples = {{"winnow doctor", "everything"}, {"winnow doctor --url http://gpu1:7070", "another service"}},
        .run = doctor_run,
    },
};

const struct verb_set status_verbs = {rows, ARRAY_LEN(rows)};
