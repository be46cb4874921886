#include "web/registry.h"

#include "base/file.h"
#include "base/log.h"
#include "storage/metrics/metric_store.h"
#include "tracker/artifacts/artifact_store.h"
#include "tracker/names.h"
#include "tracker/run_row.h"
#include "tracker/version_keep.h"
#include "web/http/http_req.h"
#include "web/tracking.h"

/* One registration. In order: resolve (a logged model, another version, or the run whose files a local path or runs:/ names), insert, note
 * it on the logged model, keep the files, read the version, tell. */
struct registration {
  struct http_req *req;
  struct version_request in;
  version_made_fn *done;
  struct str location; /* what download URIs answer */
  struct id model;     /* the logged model it is made from */
  bool has_model;
  struct version_keep keep;
};

static void end(struct registration *op, const struct pg_reply *reply, const struct err *err) {
  op->done(op->req, reply, err);
}

static struct str keep(struct registration *op, struct str text) {
  const char *copy = arena_strdup(http_req_arena(op->req), text);
  return copy ? str_n(copy, text.n) : STR_NONE;
}

static struct pg_pool *pool(struct registration *op) {
  return web_app(op->req)->pg;
}

/* ---- the end: read it ---- */

static void on_read(void *ctx, const struct pg_reply *reply) {
  struct registration *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err))
    end(op, NULL, &err);
  else if (pg_rows(reply) == 0)
    end(op, NULL, (err_set(&err, ERR_NOT_FOUND, "the version was deleted meanwhile"), &err));
  else
    end(op, reply, NULL);
}

static void read_version(struct registration *op) {
  AUTO_PG_ARGS struct pg_args args;
  struct err err;
  pg_args_init(&args, STMT_VERSION_OF_MODEL); /* its name may be another model's by now */
  pg_put_int(&args, op->keep.model);
  pg_put_int(&args, op->keep.version);
  if (!pg_run(pool(op), &args, 0, on_read, op, &err))
    end(op, NULL, &err);
}

/* ---- the files ---- */

static void on_kept(void *ctx, const struct err *err) {
  struct registration *op = ctx;
  if (err) {
    log_warn("web", NULL, "%.*s/%lld: its files are not kept yet: %s; it is tried again later", STR_ARG(str_slice(op->in.name, 0, 200)),
             (long long)op->keep.version, err->text);
    version_settle_owe(web_app(op->req)->versions, &op->keep);
  }
  read_version(op);
}

static void keep_files(struct registration *op) {
  struct err err;
  if (!op->keep.from.p)
    read_version(op);
  else if (!version_keep_begin(&op->keep, &err))
    on_kept(op, &err);
}

/* Do its files lie in our store? Then where, for the row to say that they are yet to be kept. */
static bool find_in_store(struct registration *op, struct err *err) {
  struct web_app *app = web_app(op->req);
  AUTO_BUF struct buf base = BUF_INIT(64 * KIB);
  struct str path;
  struct err ignored;
  op->keep = (struct version_keep){.pg = app->pg, .store = app->artifacts, .done = on_kept, .ctx = op};
  if (!app->artifacts || !artifact_path_of_uri(app->artifacts, op->location, &base) ||
      !artifact_path_check(buf_str(&base), &path, &ignored) || !path.n)
    return true;
  op->keep.from = keep(op, path);
  return op->keep.from.p || err_no_memory(err);
}

/* ---- the row ---- */

static void on_model_told(void *ctx, const struct pg_reply *reply UNUSED) {
  keep_files(ctx); /* the client writes the same tag again */
}

static void on_inserted(void *ctx, const struct pg_reply *reply) {
  struct registration *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end(op, NULL, &err);
    return;
  }
  if (pg_rows(reply) == 0) {
    err_set(&err, ERR_NOT_FOUND, "Registered Model with name=%.*s not found", STR_ARG(str_slice(op->in.name, 0, 200)));
    end(op, NULL, &err);
    return;
  }
  op->keep.version = pg_int(reply, 0, 0);
  op->keep.model = pg_int(reply, 0, 1);
  if (!op->in.model_id.n || !id_parse(str_slice(op->in.model_id, 2, op->in.model_id.n), &op->model)) {
    keep_files(op);
    return;
  }
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_REGISTERED);
  pg_put_uuid(&args, op->model);
  pg_put_text(&args, op->in.name);
  pg_put_int(&args, op->keep.version);
  pg_put_int(&args, tracking_now(op->req));
  if (!pg_run(pool(op), &args, 0, on_model_told, op, &err))
    keep_files(op);
}

static bool insert_now(struct registration *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_VERSION_CREATE);
  pg_put_text(&args, op->in.name);
  pg_put_int(&args, tracking_now(op->req));
  pg_put_text(&args, op->in.source);
  pg_put_text(&args, op->location);
  pg_put_text(&args, op->in.run_id.p ? op->in.run_id : STR(""));
  pg_put_text(&args, op->in.model_id.p ? op->in.model_id : STR(""));
  pg_put_text(&args, op->in.description.p ? op->in.description : STR(""));
  pg_put_text(&args, op->in.run_link.p ? op->in.run_link : STR(""));
  pg_put_jsonb(&args, op->in.tags.p ? op->in.tags : STR("{}"));
  const struct access_principal *who = web_principal(op->req);
  pg_put_text(&args, who && who->kind != ACCESS_NOBODY ? str_of(who->name) : STR(""));
  pg_put_text(&args, op->keep.from);
  return pg_run(pool(op), &args, 0, on_inserted, op, err);
}

static void on_settled(void *ctx, const struct err *err) {
  struct registration *op = ctx;
  struct err why;
  if (err ? (why = *err, true) : !insert_now(op, &why))
    end(op, NULL, &why);
}

static bool is_there(const struct registration *op) {
  return op->keep.from.p && artifact_is_there(op->keep.store, op->keep.from);
}

/* Of what lies elsewhere nobody knows; a run as a whole may have none. */
static bool holds_enough(const struct registration *op, struct err *err) {
  return !op->in.must_hold || !op->keep.from.p || str_is(str_last(op->keep.from, '/'), "artifacts") || is_there(op) ||
         err_set(err, ERR_NOT_FOUND, "there is no file at \"%.*s\"", STR_ARG(str_slice(op->in.source, 0, 200)));
}

/* The row takes the metrics that the run has: every point acknowledged before counts. */
static bool insert(struct registration *op, struct err *err) {
  struct id run;
  if (!find_in_store(op, err) || !holds_enough(op, err) || (op->keep.from.p && !artifact_may_keep(op->keep.store, err)))
    return false;
  struct metric_store *metrics = web_app(op->req)->metrics;
  if (!metrics || !op->in.run_id.n || !id_parse(op->in.run_id, &run))
    return insert_now(op, err);
  return metric_settle(metrics, &run, on_settled, op, err);
}

/* ---- where it comes from ---- */

static void insert_or_end(struct registration *op) {
  struct err err;
  if (!insert(op, &err))
    end(op, NULL, &err);
}

static bool local_error(struct registration *op, const char *what, struct err *err) {
  return err_set(err, ERR_INVALID,
                 "Invalid model version source: '%.*s'. To use a local path as a model version source, the %s request parameter has to be "
                 "specified and the local path has to be contained within the artifact directory of the %s specified by the %s.",
                 STR_ARG(str_slice(op->in.source, 0, 150)), what, strcmp(what, "run_id") == 0 ? "run" : "model", what);
}

static struct str local_path(struct str uri) {
  uri = file_uri_path(uri);
  while (uri.n > 1 && uri.p[uri.n - 1] == '/')
    uri.n--;
  return uri;
}

/* Lies the local path `source` at or below the directory that `uri` names? */
static bool is_below(struct str source, struct str uri) {
  struct str path = local_path(source), directory = local_path(uri);
  return directory.n && directory.p[0] == '/' && str_is_at_or_below(path, directory);
}

static void on_logged_model(void *ctx, const struct pg_reply *reply) {
  struct registration *op = ctx;
  struct logged_model_row row;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end(op, NULL, &err);
    return;
  }
  if (pg_rows(reply) == 0) {
    char hex[ID_HEX_LEN + 1];
    id_format(op->model, hex);
    err_set(&err, ERR_NOT_FOUND, "Logged model with ID 'm-%s' not found.", hex);
    end(op, NULL, &err);
    return;
  }
  logged_model_row_read(reply, 0, &row);
  if (op->location.n && !is_below(op->location, row.artifact_uri)) { /* a local path of that model */
    local_error(op, "model_id", &err);
    end(op, NULL, &err);
    return;
  }
  if (!op->location.n)
    op->location = keep(op, row.artifact_uri);
  if (!op->in.run_id.n && row.source_run.n)
    op->in.run_id = keep(op, row.source_run);
  insert_or_end(op);
}

static bool read_logged_model(struct registration *op, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_LOGGED_MODEL_GET);
  pg_put_uuid(&args, op->model);
  return pg_run(pool(op), &args, 0, on_logged_model, op, err);
}

static void on_other_version(void *ctx, const struct pg_reply *reply) {
  struct registration *op = ctx;
  struct version_row row;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end(op, NULL, &err);
    return;
  }
  if (pg_rows(reply) == 0) {
    err_set(&err, ERR_NOT_FOUND, "Invalid model version source: '%.*s': there is no such version",
            STR_ARG(str_slice(op->in.source, 0, 200)));
    end(op, NULL, &err);
    return;
  }
  version_row_read(reply, 0, &row);
  op->location = keep(op, row.storage_location);
  if (!op->in.run_id.n)
    op->in.run_id = keep(op, row.run_id);
  insert_or_end(op);
}

/* models:/name/3, models:/name@alias */
static bool read_other_version(struct registration *op, struct str rest, struct err *err) {
  size_t slash = str_find(rest, '/'), at = str_find(rest, '@');
  int64_t version = 0;
  AUTO_PG_ARGS struct pg_args args;
  if (slash != SIZE_MAX && str_to_i64(str_slice(rest, slash + 1, rest.n), &version) && version > 0 && version <= INT32_MAX) {
    pg_args_init(&args, STMT_VERSION_GET);
    pg_put_text(&args, str_slice(rest, 0, slash));
    pg_put_int(&args, version);
  } else if (at != SIZE_MAX) {
    pg_args_init(&args, STMT_VERSION_BY_ALIAS);
    pg_put_text(&args, str_slice(rest, 0, at));
    pg_put_text(&args, str_slice(rest, at + 1, rest.n));
  } else {
    args = (struct pg_args){.stmt = STMT_VERSION_GET};
    return err_set(err, ERR_INVALID,
                   "Invalid model version source: '%.*s'. It must be models:/<id>, models:/<name>/<version> or "
                   "models:/<name>@<alias>",
                   STR_ARG(str_slice(op->in.source, 0, 200)));
  }
  return pg_run(pool(op), &args, 0, on_other_version, op, err);
}

static bool read_run(struct registration *op, struct id run, pg_done_fn *done, struct err *err) {
  AUTO_PG_ARGS struct pg_args args;
  pg_args_init(&args, STMT_RUN_GET);
  pg_put_uuid(&args, run);
  return pg_run(pool(op), &args, 0, done, op, err);
}

static void on_run_of_path(void *ctx, const struct pg_reply *reply) {
  struct registration *op = ctx;
  struct err err;
  if (!pg_ok(reply, &err)) {
    end(op, NULL, &err);
    return;
  }
  if (pg_rows(reply) == 0 || !is_below(op->location, pg_text(reply, 0, 18))) { /* artifact_uri of run_view */
    local_error(op, "run_id", &err);
    end(op, NULL, &err);
    return;
  }
  insert_or_end(op);
}

static bool is_local(struct str source) {
  if (str_starts_nocase(source, STR("file:")))
    return true;
  for (size_t i = 0; i < source.n; i++) {
    char c = source.p[i];
    if (c == ':')
      return i < 2; /* a drive letter */
    if (!isalnum((unsigned char)c) && c != '+' && c != '-' && c != '.')
      return true;
  }
  return true;
}

/* Where a local path leads, "." and ".." done; what is left of them is hidden in another coding. */
static bool normalise_local(struct registration *op, struct err *err) {
  AUTO_BUF struct buf place = BUF_INIT(64 * KIB);
  bool is_uri = str_starts_nocase(op->in.source, STR("file:"));
  if (is_uri)
    buf_puts(&place, "file://");
  size_t scheme = place.n;
  AUTO_BUF struct buf path = BUF_INIT(64 * KIB);
  path_normal(local_path(op->in.source), &path);
  buf_add_str(&place, buf_str(&path));
  if (!buf_ok(&path, err) || !buf_ok(&place, err))
    return false;
  op->location = keep(op, buf_str(&place));
  return place.n > scheme ? source_uri_check(op->location, err) : true;
}

static bool resolve_local(struct registration *op, struct err *err) {
  struct id run;
  if (!normalise_local(op, err))
    return false;
  if (op->in.model_id.n) {
    if (!id_parse(str_slice(op->in.model_id, 2, op->in.model_id.n), &op->model))
      return local_error(op, "model_id", err);
    return read_logged_model(op, err);
  }
  if (!op->in.run_id.n || !id_parse(op->in.run_id, &run))
    return local_error(op, "run_id", err);
  return read_run(op, run, on_run_of_path, err);
}

/* runs:/<id>/path stays as it was told where nothing of ours lies there: MLflow's clients look for it elsewhere, too (a logged model of
 * that name). */
static bool find_in_run(struct registration *op, struct str run_uri, struct err *err) {
  struct id run;
  struct str path, told = op->location;
  if (!run_uri_parse(told, &run, &path))
    return true;
  const char *place = arena_printf(http_req_arena(op->req), "%.*s%s%.*s", STR_ARG(run_uri), path.n ? "/" : "", STR_ARG(path));
  if (!place)
    return err_no_memory(err);
  op->location = str_of(place);
  if (!find_in_store(op, err))
    return false;
  if (!is_there(op))
    op->location = told;
  return true;
}

static void on_run_of_uri(void *ctx, const struct pg_reply *reply) {
  struct registration *op = ctx;
  struct run_row row;
  struct err err;
  char hex[ID_HEX_LEN + 1];
  if (!pg_ok(reply, &err)) {
    end(op, NULL, &err);
    return;
  }
  if (pg_rows(reply)) {
    run_row_read(reply, 0, &row);
    id_format(row.id, hex);
    if (!op->in.run_id.n)
      op->in.run_id = keep(op, str_of(hex));
    if (!find_in_run(op, row.artifact_uri, &err)) {
      end(op, NULL, &err);
      return;
    }
  }
  insert_or_end(op);
}

static bool texts_fit(const struct version_request *in, struct err *err) {
  return text_fits(in->source, SOURCE_MAX, "source", err) && text_fits(in->run_id, RUN_ID_MAX, "run_id", err) &&
         text_fits(in->run_link, RUN_LINK_MAX, "run_link", err) && text_fits(in->description, DESCRIPTION_MAX, "description", err);
}

bool version_register(struct http_req *req, const struct version_request *request, version_made_fn *done, struct err *err) {
  if (!texts_fit(request, err))
    return false;
  struct registration *op = ARENA_NEW(http_req_arena(req), struct registration);
  if (!op)
    return err_no_memory(err);
  *op = (struct registration){.req = req, .in = *request, .done = done};
  struct str source = op->in.source, path;
  struct id run;
  if (op->in.is_prompt) {
    op->location = source;
    return insert(op, err);
  }
  if (is_local(source))
    return resolve_local(op, err);
  if (!source_uri_check(source, err))
    return false;
  if (str_starts(source, STR("models:/"))) {
    struct str rest = str_slice(source, strlen("models:/"), source.n);
    while (rest.n && rest.p[0] == '/')
      rest = str_slice(rest, 1, rest.n);
    if (str_starts(rest, STR("m-")) && rest.n == ID_HEX_LEN + 2 && id_parse(str_slice(rest, 2, rest.n), &op->model))
      return read_logged_model(op, err);
    return read_other_version(op, rest, err);
  }
  op->location = source;
  return run_uri_parse(source, &run, &path) ? read_run(op, run, on_run_of_uri, err) : insert(op, err);
}

bool model_files_remove(struct http_req *req, int64_t model, artifact_done_fn *done, void *ctx) {
  struct artifact_store *store = web_app(req)->artifacts;
  struct err ignored;
  char *path = arena_printf(http_req_arena(req), "registry/%lld", (long long)model); /* as version_keep.c has it */
  return store && path && artifact_delete(store, str_of(path), done, ctx, &ignored);
}
