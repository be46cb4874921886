#include "web/problem.h"

#include "base/json.h"

static void put_number(struct json_writer *w, const char *key, unsigned number) {
  jw_key(w, key);
  if (number)
    jw_i64(w, number);
  else
    jw_null(w);
}

static void put_place(struct json_writer *w, const struct err *err) {
  jw_object(w);
  jw_put_text(w, "path", err->path[0] ? err->path : NULL);
  put_number(w, "line", err->line);
  put_number(w, "column", err->column);
  jw_put_text(w, "message", err->text);
  jw_object_end(w);
}

static int write_problem(const struct http_req *req UNUSED, const char *request_id, const struct err *err, struct buf *body,
                         const char **ret_content_type) {
  const struct err_info *info = err_info(err->code);
  /* What went wrong inside is for the log: an answer carries no path, no SQL, no errno. */
  bool inside = err->code == ERR_INTERNAL || err->code == ERR_IO;
  struct json_writer w;
  jw_init(&w, body);
  jw_object(&w);
  jw_put_i64(&w, "status", info->http_status);
  jw_put_text(&w, "code", info->name);
  jw_put_text(&w, "title", info->title);
  jw_put_text(&w, "detail", inside ? "the log of the service says more, under this request id" : err->text);
  jw_put_text(&w, "hint", err->hint[0] && !inside ? err->hint : NULL);
  jw_key(&w, "errors");
  jw_array(&w);
  if (!inside && (err->path[0] || err->line))
    put_place(&w, err);
  jw_array_end(&w);
  jw_put_text(&w, "request_id", request_id);
  jw_object_end(&w);
  *ret_content_type = "application/problem+json";
  return info->http_status;
}

const struct route_family api_family = {.name = "api", .write_error = write_problem};
