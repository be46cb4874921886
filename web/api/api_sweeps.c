/* /api/v1: sweeps. */
#include "web/api/api_sweeps.h"
#include "base/json.h"
#include "storage/pg/pg.h"
#include "sweeper/jobs/companion_calls.h"
#include "sweeper/machine/code_store.h"
#include "tracker/run_state.h"
#include "web/api/params_order.h"
#include "web/api/sweep_op.h"
#include "web/http/http_reply.h"
#include "web/problem.h"
#include "web/tables.h"
#include "web/tracking.h"

#define SUBMISSION_TYPE "application/vnd.winnow.submission+json"
enum { FILE_MAX = SWEEP_FILE_BYTES_MAX, SUBMISSION_MAX = 4 * SWEEP_FILE_BYTES_MAX };

static void reply_sweep(struct sweep_op *op, int status, const struct live_sweep *sweep) {
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  live_put_sweep(sweep, &w);
  sweep_op_reply(op, status, &body);
}

static void reply_damaged(struct sweep_op *op, const struct damaged_sweep *sweep) {
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  damaged_put(sweep, &w);
  sweep_op_reply(op, 200, &body);
}

static void on_changed(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    sweep_op_fail(op, err);
  else
    reply_sweep(op, 200, op->sweep);
}
/* ---- submit ---- */

static void on_made(void *ctx, struct live_sweep *sweep, const struct err *err) {
  struct sweep_op *op = ctx;
  if (err)
    sweep_op_fail(op, err);
  else
    reply_sweep(op, 201, sweep);
}

static void on_preview(void *ctx, struct str json, const struct err *err) {
  struct sweep_op *op = ctx;
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  if (err) {
    sweep_op_fail(op, err);
    return;
  }
  buf_add_str(&body, json);
  sweep_op_reply(op, 200, &body);
}

/* What is submitted: the file, and what its sender knows about where it comes from. */
struct submission {
  struct str text, name, directory, code;
  const json_t *environment;
  bool elsewhere; /* the directory is the sender's, who looks after it and sends a snapshot */
};

/* The sender's own format: the file as it is, and beside it what is no part of it. */
static bool read_submission(struct sweep_op *op, struct submission *ret, struct err *err) {
  static const struct json_field fields[] = {
      {"file", JSON_F_STR, offsetof(struct submission, text), .required = true},
      {"name", JSON_F_STR, offsetof(struct submission, name), .nullable = true},
      {"directory", JSON_F_STR, offsetof(struct submission, directory), .nullable = true},
      {"code", JSON_F_STR, offsetof(struct submission, code), .nullable = true},
      {"environment", JSON_F_OBJECT, offsetof(struct submission, environment), .nullable = true},
  };
  struct str type = http_req_header(op->req, "Content-Type");
  ret->elsewhere = str_starts(type, STR(SUBMISSION_TYPE));
  if (ret->elsewhere)
    return sweep_op_read_body(op, err) && json_decode(op->json, fields, ARRAY_LEN(fields), "", ret, err);
  *ret = (struct submission){
      .text = http_req_body(op->req), .name = http_req_param(op->req, "file"), .directory = http_req_param(op->req, "directory")};
  return true;
}

bool api_add_submission(struct sweep_file *file, struct str code, const json_t *environment, struct err *err) {
  char sha256[DIGEST_HEX + 1];
  if (code.n && !code_digest_read(code, sha256))
    return err_set(err, ERR_INVALID, "\"code\" must be sha256: and 64 small hexadecimal digits");
  return (!code.n || sweep_file_set_code(file, sha256, err)) && (!environment || sweep_file_record_env(file, environment, err));
}

/* A mistake that shows only here stands in the list as those of the reader do. */
static bool fail_placed(struct http_req *req, const char *file_name, struct err *err) {
  if (err->line)
    problem_add(req, err->path, err->line, err->column, err->text, err->hint);
  return sweep_file_fail_placed(file_name, err);
}

/* A dry run starts nothing, so everybody may ask for one; what lies on this machine's disk is for those who may have a job look at it. */
static bool check(struct sweep_op *op, const struct submission *in, struct sweep_file *file, const char *file_name, bool dry_run,
                  struct err *err) {
  bool may_steer = sweep_op_may_steer(op->req, file->spec.has_command, err);
  if (!may_steer && !dry_run)
    return false;
  bool looks = may_steer && !in->elsewhere;
  return (sweeps_check(web_app(op->req)->sweeps, file, in->directory, err) && (!looks || sweeps_check_place(file, in->directory, err))) ||
         fail_placed(op->req, file_name, err);
}

static bool submit(struct sweep_op *op, const struct submission *in, struct err *err) {
  struct sweeps *sweeps = web_app(op->req)->sweeps;
  struct str directory = in->directory;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  struct sweeps_new what = {.source = in->text, .directory = directory, .actor = tracking_actor(op->req)};
  bool dry_run = false;
  if (!http_req_flag(op->req, "dry_run", &dry_run, err))
    return false;
  if (directory.n && (directory.p[0] != '/' || directory.n > 4000))
    return err_set(err, ERR_INVALID, "\"directory\" must be an absolute path");
  const char *file_name = arena_strdup(&arena, str_slice(in->name, 0, SWEEP_NAME_MAX));
  if (!file_name)
    return err_no_memory(err);
  if (!sweep_file_read(in->text, file_name, &arena, &file, &errors, err)) {
    for (size_t i = 0; i < MIN_OF(errors.count, (size_t)SPEC_PROBLEMS_MAX); i++)
      problem_add(op->req, errors.items[i].path, errors.items[i].line, errors.items[i].column, errors.items[i].message,
                  errors.items[i].hint);
    return false;
  }
  bool ok = api_add_submission(file, in->code, in->environment, err) && check(op, in, file, file_name, dry_run, err) &&
            (dry_run ? sweeps_preview(sweeps, file, on_preview, op, err) : sweeps_create(sweeps, file, &what, on_made, op, err));
  if (!ok || dry_run)
    sweep_file_free(file);
  return ok;
}

static void post_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  struct submission in = {.text = STR("")};
  if (!op)
    return;
  if (!sweeps_ready(web_app(req)->sweeps, &err) || !read_submission(op, &in, &err) || !submit(op, &in, &err))
    sweep_op_fail(op, &err);
}

/* ---- clone ---- */

/* What means no limit in an edit is left out of a file. */
static bool is_no_limit(const char *key, const json_t *value) {
  int64_t ms;
  bool is_none = json_is_null(value) || (json_is_integer(value) && json_integer_value(value) == 0);
  return is_none || (strcmp(key, "max_time") == 0 && json_is_string(value) && str_to_duration_ms(json_str(value), &ms) && ms == 0);
}

/* As it is now, and not as it was submitted. */
static bool add_edits(json_t *spec, struct str edits, struct err *err) {
  AUTO_JSON json_t *changed = NULL;
  const char *key;
  json_t *value;
  if (!json_read(edits, &changed, err))
    return false;
  json_object_foreach(changed, key, value) {
    if (is_no_limit(key, value))
      json_object_del(spec, key);
    else if (json_object_set(spec, key, value) != 0)
      return err_no_memory(err);
  }
  return true;
}

struct clone_body {
  struct str name;
  bool has_seed;
  int64_t seed;
};

static bool read_clone(struct sweep_op *op, struct clone_body *ret, struct err *err) {
  static const struct json_field fields[] = {
      {"name", JSON_F_STR, offsetof(struct clone_body, name), .nullable = true},
      {"seed", JSON_F_I64, offsetof(struct clone_body, seed), .nullable = true, .present_at = offsetof(struct clone_body, has_seed)},
  };
  *ret = (struct clone_body){.name = STR_NONE};
  return !op->json || json_decode(op->json, fields, ARRAY_LEN(fields), "", ret, err);
}

static bool clone_text(struct sweep_op *op, struct str source, struct str edits, struct str name, struct err *err) {
  struct clone_body in;
  AUTO_ARENA struct arena arena = ARENA_INIT(16 * MIB);
  struct spec_problems errors;
  struct sweep_file *file;
  AUTO_BUF struct buf normal = BUF_INIT(FILE_MAX), text = BUF_INIT(FILE_MAX);
  AUTO_JSON json_t *spec = NULL;
  if (!read_clone(op, &in, err) || !sweep_file_read(source, "", &arena, &file, &errors, err))
    return false;
  bool ok = sweep_file_normal_form(file, &normal, err) && json_read(buf_str(&normal), &spec, err) && add_edits(spec, edits, err);
  sweep_file_free(file);
  if (!ok)
    return false;
  name = in.name.p ? in.name : name;
  json_object_set_new(spec, "name", json_stringn(name.p, name.n));
  if (in.has_seed) {
    json_t *sampler = json_object_get(spec, "sampler");
    if (!sampler)
      json_object_set_new(spec, "sampler", sampler = json_object());
    json_object_set_new(sampler, "seed", json_integer(in.seed));
  }
  struct json_writer w;
  jw_init(&w, &text);
  jw_json(&w, spec);
  const char *kept = buf_ok(&text, err) ? arena_strdup(http_req_arena(op->req), buf_str(&text)) : NULL;
  http_req_set_state(op->req, (void *)(uintptr_t)kept);
  return kept || err_no_memory(err);
}

static void on_source(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  struct submission in = {.name = STR("")};
  bool ok = pg_ok(row, &err) && (pg_rows(row) || sweep_op_none(op->id, &err)) &&
            clone_text(op, pg_text(row, 0, 2), pg_jsonb(row, 0, 3), pg_text(row, 0, 0), &err) &&
            sweeps_ready(web_app(op->req)->sweeps, &err);
  in.text = str_of(http_req_state(op->req));
  in.directory = ok ? pg_text(row, 0, 1) : STR_NONE;
  ok = ok && submit(op, &in, &err);
  if (!ok)
    sweep_op_fail(op, &err);
}

static void post_clone(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  bool ok = sweep_op_read_id(op, "sweep", &err) && (!http_req_body(req).n || sweep_op_read_body(op, &err)) &&
            sweep_op_query(op, STMT_SWEEP_SOURCE, on_source, &err);
  if (!ok)
    sweep_op_fail(op, &err);
}

/* ---- look ---- */

static void on_sweep(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  if (!pg_ok(row, &err) || (!pg_rows(row) && !sweep_op_none(op->id, &err))) {
    sweep_op_fail(op, &err);
    return;
  }
  struct str summary = pg_jsonb(row, 0, 1);
  const struct damaged_sweep *damaged = sweeps_damaged(web_app(op->req)->sweeps, op->id);
  if (!summary.p && !damaged) { /* it was being stored when memory was looked at, or its row has lost what it showed */
    err_set(&err, ERR_UNAVAILABLE, "the sweep is %s, and cannot be shown now", sweep_state_text((int)pg_int(row, 0, 0)));
    sweep_op_fail(op, &err);
    return;
  }
  if (damaged) {
    reply_damaged(op, damaged);
    return;
  }
  struct buf body = BUF_INIT(SWEEP_REPLY_MAX);
  struct json_writer w;
  jw_init(&w, &body);
  params_order_put_summary(&w, summary, pg_text(row, 0, 3), pg_text(row, 0, 2));
  sweep_op_reply(op, 200, &body);
}

static void get_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (!op)
    return;
  bool ok = sweep_op_read_id(op, "sweep", &err);
  op->sweep = ok ? sweeps_find(web_app(req)->sweeps, op->id) : NULL;
  if (op->sweep)
    reply_sweep(op, 200, op->sweep);
  else if (!ok || !sweep_op_query(op, STMT_SWEEP_GET, on_sweep, &err))
    sweep_op_fail(op, &err);
}

/* ---- the list ---- */

/* So many are read at a time: putting the best point of each in order takes a while, and meanwhile nobody else is served. */
enum { LIST_STEP = 50 };

struct sweep_listing {
  struct sweep_op *op;
  int state;       /* -1: any */
  int64_t left;    /* to be shown */
  bool goes_on;    /* after this one: */
  int64_t created; /* of the last that was shown */
  struct id last;
  struct buf body;
  struct json_writer w;
};

static void put_listed(struct sweep_listing *listing, const struct pg_reply *rows, size_t i) {
  const struct sweeps *sweeps = web_app(listing->op->req)->sweeps;
  const struct live_sweep *live = sweeps_find(sweeps, pg_uuid(rows, i, 0));
  const struct damaged_sweep *damaged = sweeps_damaged(sweeps, pg_uuid(rows, i, 0));
  if (live)
    live_put_sweep(live, &listing->w);
  else if (damaged)
    damaged_put(damaged, &listing->w);
  else if (!pg_is_null(rows, i, 3))
    params_order_put_summary(&listing->w, pg_jsonb(rows, i, 3), pg_text(rows, i, 5), pg_text(rows, i, 4));
}

static void end_list(struct sweep_listing *listing, bool has_more) {
  char hex[ID_HEX_LEN + 1], next[80];
  jw_array_end(&listing->w);
  id_format(listing->last, hex);
  snprintf(next, sizeof next, "%lld_%s", (long long)listing->created, hex);
  jw_put_text(&listing->w, "next", has_more ? next : NULL);
  jw_object_end(&listing->w);
  sweep_op_reply(listing->op, 200, &listing->body);
}

static bool list_some(struct sweep_listing *listing, struct err *err);

static void on_some_listed(void *ctx, const struct pg_reply *rows) {
  struct sweep_listing *listing = ctx;
  struct err err;
  bool ok = pg_ok(rows, &err);
  size_t wanted = (size_t)MIN_OF(listing->left, (int64_t)LIST_STEP), count = ok ? MIN_OF(pg_rows(rows), wanted) : 0;
  bool has_more = ok && pg_rows(rows) > count;
  for (size_t i = 0; i < count; i++)
    put_listed(listing, rows, i);
  listing->left -= (int64_t)count;
  if (count) {
    listing->goes_on = true;
    listing->created = pg_int(rows, count - 1, 1);
    listing->last = pg_uuid(rows, count - 1, 0);
  }
  if (ok && has_more && listing->left)
    ok = list_some(listing, &err);
  else if (ok)
    end_list(listing, has_more);
  if (!ok) {
    buf_release(&listing->body);
    sweep_op_fail(listing->op, &err);
  }
}

static bool list_some(struct sweep_listing *listing, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_LIST);
  if (listing->state >= 0)
    pg_put_int(&args, listing->state);
  else
    pg_put_null(&args);
  if (listing->goes_on) {
    pg_put_int(&args, listing->created);
    pg_put_uuid(&args, listing->last);
  } else {
    pg_put_null(&args);
    pg_put_null(&args);
  }
  pg_put_int(&args, MIN_OF(listing->left, (int64_t)LIST_STEP) + 1);
  return pg_run(web_app(listing->op->req)->pg, &args, 0, on_some_listed, listing, err);
}

static bool list_sweeps(struct sweep_op *op, struct err *err) {
  struct str state = http_req_param(op->req, "state"), cursor = http_req_param(op->req, "cursor"), time = STR_NONE;
  struct sweep_listing *listing = ARENA_NEW(http_req_arena(op->req), struct sweep_listing);
  if (!listing)
    return err_no_memory(err);
  if (!sweeps_ready(web_app(op->req)->sweeps, err) || !sweep_op_read_limit(op, err))
    return false;
  *listing = (struct sweep_listing){
      .op = op, .state = state.p ? sweep_state_of(state) : -1, .left = op->limit, .goes_on = cursor.p, .body = BUF_INIT(SWEEP_REPLY_MAX)};
  if (state.p && listing->state < 0)
    return err_set(err, ERR_INVALID, "\"state\" is RUNNING, PAUSED, DRAINING, FINISHED, STOPPED or FAILED");
  if (cursor.p && !(str_split(&cursor, '_', &time) && str_to_i64(time, &listing->created) && id_parse(cursor, &listing->last)))
    return err_set(err, ERR_INVALID, "\"cursor\" is none that was given out here");
  jw_init(&listing->w, &listing->body);
  jw_object(&listing->w);
  jw_key(&listing->w, "items");
  jw_array(&listing->w);
  if (list_some(listing, err))
    return true;
  buf_release(&listing->body);
  return false;
}

static void get_schema(struct http_req *req) {
  struct buf body = BUF_INIT(2 * MIB);
  struct err err;
  if (sweep_file_schema(&body, &err)) {
    http_reply_json(req, 200, &body);
    return;
  }
  buf_release(&body);
  http_reply_error(req, &err);
}

static void get_sweeps(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (op && !list_sweeps(op, &err))
    sweep_op_fail(op, &err);
}
/* ---- steer ---- */

static const enum live_action act_pause = LIVE_PAUSE, act_resume = LIVE_RESUME, act_stop = LIVE_STOP, act_drain = LIVE_DRAIN;

/* Of a sweep that is damaged its jobs can be ended, and that is all. */
static void on_not_live_to_stop(void *ctx, const struct pg_reply *row) {
  struct sweep_op *op = ctx;
  struct err err;
  struct sweeps *sweeps = web_app(op->req)->sweeps;
  const struct damaged_sweep *damaged = sweeps_damaged(sweeps, op->id);
  if (!damaged || !pg_ok(row, &err) || !pg_rows(row)) {
    sweep_op_not_live(op, row);
    return;
  }
  if (!sweep_op_may_steer(op->req, true, &err)) {
    sweep_op_fail(op, &err);
    return;
  }
  sweeps_end_resting(sweeps, op->id, tracking_actor(op->req));
  reply_damaged(op, damaged);
}

static void post_action(struct http_req *req) {
  struct err err;
  const enum live_action *action = http_req_route(req)->arg;
  struct sweep_op *op = sweep_op_live_or(req, *action == LIVE_STOP ? on_not_live_to_stop : sweep_op_not_live);
  if (op && (!live_act(op->sweep, *action, tracking_actor(req), &err) || !sweeps_wait(op->sweep, NULL, on_changed, op, &err)))
    sweep_op_fail(op, &err);
}

static void patch_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_live(req);
  if (op && (!sweep_op_read_body(op, &err) || !sweeps_edits_check(op->json, &err) ||
             !live_edit(op->sweep, op->json, tracking_actor(req), on_changed, op, &err)))
    sweep_op_fail(op, &err);
}

static void on_deleted(void *ctx, const struct pg_reply *rows) {
  struct sweep_op *op = ctx;
  struct err err;
  if (pg_ok(rows, &err) && (pg_rows(rows) || sweep_op_none(op->id, &err))) {
    sweeps_hide(web_app(op->req)->sweeps, op->id, tracking_actor(op->req));
    http_reply_empty(op->req, 204);
    return;
  }
  sweep_op_fail(op, &err);
}

_Static_assert(RUN_FINISHED == 4 && RUN_KILLED == 7, "as sql/queries/sweep.sql has them");

static bool delete_row(struct sweep_op *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_SWEEP_DELETE);
  pg_put_uuid(&args, op->id);
  pg_put_int(&args, tracking_now(op->req));
  pg_put_bool(&args, sweeps_damaged(web_app(op->req)->sweeps, op->id));
  pg_put_text(&args, tracking_actor(op->req));
  return pg_run(web_app(op->req)->pg, &args, 0, on_deleted, op, err);
}

/* Its end is durable. */
static void on_over(void *ctx, const struct err *err) {
  struct sweep_op *op = ctx;
  struct err failed;
  if (err)
    sweep_op_fail(op, err);
  else if (!delete_row(op, &failed))
    sweep_op_fail(op, &failed);
}

static bool delete_one(struct sweep_op *op, struct err *err) {
  if (!sweep_op_read_id(op, "sweep", err))
    return false;
  op->sweep = sweeps_find(web_app(op->req)->sweeps, op->id);
  if (!op->sweep)
    return delete_row(op, err);
  if (live_is_over(op->sweep))
    return sweeps_wait(op->sweep, NULL, on_over, op, err);
  err_set(err, ERR_WRONG_STATE, "the sweep is not over");
  return err_hint(err, "stop it first: winnow sweep stop");
}

static void delete_sweep(struct http_req *req) {
  struct err err;
  struct sweep_op *op = sweep_op_new(req);
  if (op && !delete_one(op, &err))
    sweep_op_fail(op, &err);
}

#define ROUTE_GET(path_, reach_, handler_, response_, summary_, query_)                                                                   \
  {                                                                                                                                       \
    .method = HTTP_GET, .path = path_, .policy = POLICY_READ, .reach = reach_, .handler = handler_, .summary = summary_, .query = query_, \
    .response_schema = response_                                                                                                          \
  }
#define ROUTE_ACT(path_, arg_, summary_)                                                                                       \
  {                                                                                                                            \
    .method = HTTP_POST, .path = path_, .policy = POLICY_TRACK, .body = BODY_BUFFER, .max_body = 4096, .handler = post_action, \
    .arg = arg_, .summary = summary_, .response_schema = "sweep"                                                               \
  }

const struct route sweep_routes[] = {
    {.method = HTTP_POST,
     .path = "/sweeps",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = SUBMISSION_MAX,
     .handler = post_sweep,
     .request_type = "application/json,application/yaml",
     .summary = "Submit a sweep",
     .doc =
         "The body is a sweep file, YAML or JSON; its JSON Schema is at `/api/v1/schemas/sweep`. With a command it needs the scope `submit`, unless it is a dry run; without one it is for those who "
         "ask and tell. `file` is its name for messages, `directory` what relative paths in it are beneath. A directory of this machine is copied "
         "as it is now, unless `workdir_mode` is inplace or `workdir` names a snapshot (see `/code`). With the Content-Type "
         "`" SUBMISSION_TYPE "` the body is `{\"file\": text, \"name\", \"directory\", \"code\": \"sha256:…\", "
         "\"environment\": {…}}`: what the command line sends.",
     .creates = CREATES,
     .query = "dry_run:boolean,file:string,directory:string",
     .request_schema = "sweep_file",
     .response_schema = "sweep_made"},
    ROUTE_GET("/sweeps", REACH_NOTHING, get_sweeps, "sweep_list", "List sweeps, newest first", "state:string,limit:integer,cursor:string"),
    ROUTE_GET("/schemas/sweep", REACH_ANY, get_schema, "any", "The sweep file as a JSON Schema, for editors", NULL),
    ROUTE_GET("/sweeps/{id}", REACH_NAMED, get_sweep, "sweep", "One sweep: state, progress, best", NULL),
    {.method = HTTP_PATCH,
     .path = "/sweeps/{id}",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = 256 * 1024,
     .handler = patch_sweep,
     .summary = "Change run_cap, max_parallel, priority, max_time, notes while it runs",
     .doc =
         "What is not said stays; 0 of a limit is none. Nothing is taken back: below a lower `run_cap` no more trials are made, and those "
         "that run or wait go on (`state_reason` says so); below a lower `max_parallel` those that run go on, and no other starts until "
         "there are fewer; when `max_time` is over the sweep drains: those that run go on, those that wait do not start.",
     .request_schema = "sweep_edit",
     .response_schema = "sweep"},
    {.method = HTTP_DELETE,
     .path = "/sweeps/{id}",
     .policy = POLICY_WRITE,
     .handler = delete_sweep,
     .summary = "Delete a sweep that is over, or damaged, with its runs"},
    ROUTE_ACT("/sweeps/{id}/pause", &act_pause, "Start no new trials"),
    ROUTE_ACT("/sweeps/{id}/resume", &act_resume, "Go on"),
    ROUTE_ACT("/sweeps/{id}/stop", &act_stop, "End it, and its running trials; of one that is damaged, its jobs"),
    ROUTE_ACT("/sweeps/{id}/drain", &act_drain, "End it when the running trials have ended"),
    {.method = HTTP_POST,
     .path = "/sweeps/{id}/clone",
     .policy = POLICY_TRACK,
     .body = BODY_BUFFER,
     .max_body = 64 * 1024,
     .handler = post_clone,
     .creates = CREATES,
     .summary = "Submit it again, as it is now: with what was changed while it ran",
     .request_schema = "sweep_clone",
     .response_schema = "sweep"},
};
const size_t sweep_route_count = ARRAY_LEN(sweep_routes);
