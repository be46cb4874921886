#include "web/problem.h"

#include "base/json.h"
#include "base/list.h"
#include "web/http/http_req.h"

struct problem {
  struct list_node node;
  const char *path, *message, *hint;
  unsigned line, column;
};

void problem_add(struct http_req *req, const char *path, unsigned line, unsigned column, const char *message, const char *hint) {
  struct arena *arena = http_req_arena(req);
  struct list *list = http_req_problems(req);
  if (!list && (list = ARENA_NEW(arena, struct list)))
    http_req_set_problems(req, list);
  struct problem *problem = list && list->count < PROBLEMS_MAX ? ARENA_NEW(arena, struct problem) : NULL;
  if (!problem)
    return;
  *problem = (struct problem){.path = arena_strdup(arena, str_of(path)),
                              .message = arena_strdup(arena, str_of(message)),
                              .hint = arena_strdup(arena, str_of(hint)),
                              .line = line,
                              .column = column};
  if (problem->path && problem->message && problem->hint)
    list_push_back(list, &problem->node);
}

static void put_number(struct json_writer *w, const char *key, unsigned number) {
  if (number)
    jw_put_i64(w, key, number);
  else
    jw_put_null(w, key);
}

static void put_problem(struct json_writer *w, const struct problem *problem) {
  jw_object(w);
  jw_put_text(w, "path", problem->path[0] ? problem->path : NULL);
  put_number(w, "line", problem->line);
  put_number(w, "column", problem->column);
  jw_put_text(w, "message", problem->message);
  jw_put_text(w, "hint", problem->hint[0] ? problem->hint : NULL);
  jw_object_end(w);
}

/* What was found wrong in the body, or the place that the error itself has. */
static void put_problems(const struct list *list, const struct err *err, struct json_writer *w) {
  jw_key(w, "errors");
  jw_array(w);
  for (struct list_node *node = list ? list->first : NULL; node; node = node->next)
    put_problem(w, LIST_ENTRY(node, struct problem, node));
  if (!(list && list->first) && (err->path[0] || err->line))
    put_problem(w, &(struct problem){.path = err->path, .message = err->text, .hint = err->hint, .line = err->line, .column = err->column});
  jw_array_end(w);
}

static int write_problem(const struct http_req *req, const char *request_id, const struct err *err, struct buf *body,
                         const char **ret_content_type) {
  const struct err_info *info = err_info(err->code);
  bool inside = err_is_inside(err);
  struct json_writer w;
  jw_init(&w, body);
  jw_object(&w);
  jw_put_i64(&w, "status", info->http_status);
  jw_put_text(&w, "code", info->name);
  jw_put_text(&w, "title", info->title);
  jw_put_text(&w, "detail", inside ? "the log of the service says more, under this request id" : err->text);
  jw_put_text(&w, "hint", err->hint[0] && !inside ? err->hint : NULL);
  put_problems(req && !inside ? http_req_problems(req) : NULL, inside ? &(struct err){0} : err, &w);
  jw_put_text(&w, "request_id", request_id);
  jw_object_end(&w);
  *ret_content_type = "application/problem+json";
  return info->http_status;
}

const struct route_family api_family = {.name = "api", .write_error = write_problem, .is_described = true};
