#include "web/router.h"

#include "base/buf.h"
#include "base/mem.h"
#include "web/http/http_url.h"

enum { ROUTES_ARENA = 4 << 20, PATTERN_MAX = 512 };

struct node {
  struct str literal;
  struct node *next;     /* among its siblings */
  struct node *literals; /* children by literal */
  struct node *any;      /* the child for {name} */
  struct node *rest;     /* the child for {name...} and {name*} */
  bool is_text;          /* it is one for {name*} */
  struct route_place *place;
};

struct router {
  const struct route_mount *mounts;
  size_t count;
  struct arena arena; /* of the tree */
  struct node *root;
};

const char *route_policy_name(enum route_policy policy) {
  static const char *const names[] = {"unset", "public", "read", "track", "curate", "write", "submit", "admin"};
  return names[policy];
}

const char *route_reach_name(enum route_reach reach) {
  static const char *const names[] = {"nothing", "any", "named", "logged", "child", "model", "new version", "version", "files", "attempt"};
  return names[reach];
}

bool route_query_next(struct str *query, struct str *ret_name, struct str *ret_type) {
  struct str item;
  if (!str_split(query, ',', &item))
    return false;
  size_t colon = str_find(item, ':');
  *ret_name = str_slice(item, 0, colon);
  *ret_type = str_slice(item, colon + 1, item.n);
  return true;
}

/* ---- building ---- */

static bool check_row(const struct route *row, struct err *err) {
  const char *wrong = NULL;
  if (row->method == HTTP_HEAD || row->method == HTTP_OPTIONS)
    wrong = "HEAD and OPTIONS derive from the other rows";
  else if (row->policy == POLICY_UNSET)
    wrong = "it has no policy";
  else if (row->body == BODY_STREAM ? !row->stream || row->handler : !row->handler || row->stream)
    wrong = "a streamed body needs a stream, every other row a handler";
  else if (row->stream && (!row->stream->begin || !row->stream->data || !row->stream->end || !row->stream->abort))
    wrong = "its stream is incomplete";
  else if (row->stream && row->reach > REACH_ANY)
    wrong = "what a streamed body reaches is judged by its stream";
  else if ((row->body == BODY_NONE) != (row->max_body == 0))
    wrong = "a row has a body limit exactly when it takes a body";
  if (!wrong)
    return true;
  return err_set(err, ERR_INTERNAL, "route %s %s: %s", http_method_name(row->method), row->path, wrong);
}

static struct node *child_for(struct router *router, struct node *parent, struct str segment, bool is_value, bool is_rest) {
  struct node **slot = is_rest ? &parent->rest : is_value ? &parent->any : &parent->literals;
  if (!is_value)
    while (*slot && !str_eq((*slot)->literal, segment))
      slot = &(*slot)->next;
  if (!*slot) {
    *slot = ARENA_NEW(&router->arena, struct node);
    if (*slot)
      (*slot)->literal = segment;
  }
  return *slot;
}

/* Walks down along one segment of a pattern and notes its name, if it has one. */
static bool add_segment(struct router *router, struct node **node, struct str segment, bool is_last, struct route_place *place,
                        struct err *err) {
  bool is_value = segment.n > 2 && segment.p[0] == '{' && segment.p[segment.n - 1] == '}';
  struct str name = str_slice(segment, 1, segment.n - 1);
  bool is_text = is_value && name.n > 1 && str_ends(name, STR("*"));
  bool is_rest = is_text || (is_value && name.n > 3 && str_ends(name, STR("...")));
  if (is_rest)
    name.n -= is_text ? 1 : 3;
  if (!segment.n || (is_rest && !is_last) || (!is_value && (str_find(segment, '{') != SIZE_MAX || str_find(segment, '}') != SIZE_MAX)))
    return err_set(err, ERR_INTERNAL, "the segment \"%.*s\" cannot be read", STR_ARG(segment));
  if (is_value) {
    if (place->name_count == ROUTER_VALUES_MAX)
      return err_set(err, ERR_INTERNAL, "there are more than %d values", (int)ROUTER_VALUES_MAX);
    const char *copy = arena_strdup(&router->arena, name);
    if (!copy)
      return err_no_memory(err);
    place->names[place->name_count++] = copy;
  }
  *node = child_for(router, *node, segment, is_value, is_rest);
  if (!*node)
    return err_no_memory(err);
  (*node)->is_text = is_text;
  return !is_rest || str_eq((*node)->literal, segment) ||
         err_set(err, ERR_INTERNAL, "\"%.*s\" and \"%.*s\" stand at the same place", STR_ARG((*node)->literal), STR_ARG(segment));
}

static bool add_segments(struct router *router, struct node **node, const char *text, struct route_place *place, struct err *err) {
  struct str rest = str_of(text), segment;
  if (rest.n <= 1) /* "" or "/" */
    return rest.n == 0 || rest.p[0] == '/' || err_set(err, ERR_INTERNAL, "it does not begin with a slash");
  if (rest.p[0] != '/')
    return err_set(err, ERR_INTERNAL, "it does not begin with a slash");
  rest = str_slice(rest, 1, rest.n);
  while (str_split(&rest, '/', &segment))
    if (!add_segment(router, node, segment, !rest.p, place, err))
      return false;
  return true;
}

/* The names in all rows of one place must be the same. */
static bool same_names(const struct route_place *a, const struct route_place *b) {
  for (size_t i = 0; i < a->name_count; i++)
    if (strcmp(a->names[i], b->names[i]) != 0)
      return false;
  return a->name_count == b->name_count;
}

static bool add_row(struct router *router, const struct route_mount *mount, const struct route *row, struct err *err) {
  if (!check_row(row, err))
    return false;
  struct node *node = router->root;
  struct route_place here = {0};
  if (!add_segments(router, &node, mount->prefix, &here, err) || !add_segments(router, &node, row->path, &here, err))
    return err_prefix(err, "route %s%s", mount->prefix, row->path);
  if (!node->place) {
    here.pattern = arena_printf(&router->arena, "%s%s", mount->prefix, row->path);
    node->place = ARENA_NEW(&router->arena, struct route_place);
    if (!here.pattern || !node->place)
      return err_no_memory(err);
    *node->place = here;
    node->place->family = mount->family;
  }
  if (!same_names(node->place, &here))
    return err_set(err, ERR_INTERNAL, "routes %s and %s%s give different names to the same place", node->place->pattern, mount->prefix,
                   row->path);
  if (node->place->rows[row->method])
    return err_set(err, ERR_INTERNAL, "there are two rows for %s %s", http_method_name(row->method), node->place->pattern);
  node->place->rows[row->method] = row;
  return true;
}

/* HEAD from GET, and the value of Allow, once all rows are in. */
static bool complete_places(struct router *router, struct node *node, struct err *err) {
  if (!node)
    return true;
  if (node->place) {
    struct route_place *place = node->place;
    place->rows[HTTP_HEAD] = place->rows[HTTP_GET];
    AUTO_BUF struct buf allow = BUF_INIT(128);
    for (int method = 0; method < HTTP_METHOD_COUNT; method++)
      if (place->rows[method])
        buf_printf(&allow, "%s, ", http_method_name((enum http_method)method));
    buf_puts(&allow, "OPTIONS");
    place->allow = buf_ok(&allow, err) ? arena_strdup(&router->arena, buf_str(&allow)) : NULL;
    if (!place->allow)
      return err_no_memory(err);
  }
  for (struct node *child = node->literals; child; child = child->next)
    if (!complete_places(router, child, err))
      return false;
  return complete_places(router, node->any, err) && complete_places(router, node->rest, err);
}

static bool build(struct router *router, struct err *err) {
  router->root = ARENA_NEW(&router->arena, struct node);
  if (!router->root)
    return err_no_memory(err);
  bool has_default = false;
  for (size_t i = 0; i < router->count; i++) {
    const struct route_mount *mount = &router->mounts[i];
    has_default |= mount->prefix[0] == 0;
    if (!mount->family || !mount->family->write_error)
      return err_set(err, ERR_INTERNAL, "the routes below \"%s\" have no family", mount->prefix);
    for (size_t k = 0; k < mount->count; k++)
      if (!add_row(router, mount, &mount->routes[k], err))
        return false;
  }
  if (!has_default)
    return err_set(err, ERR_INTERNAL, "no mount has the prefix \"\"");
  return complete_places(router, router->root, err);
}

struct router *router_new(const struct route_mount *mounts, size_t count, struct err *err) {
  struct router *router = mem_zalloc(sizeof *router);
  if (!router) {
    err_no_memory(err);
    return NULL;
  }
  router->mounts = mounts;
  router->count = count;
  arena_init(&router->arena, ROUTES_ARENA);
  if (!build(router, err)) {
    router_free(router);
    return NULL;
  }
  return router;
}

void router_free(struct router *router) {
  if (!router)
    return;
  arena_release(&router->arena);
  mem_free(router);
}

/* ---- finding ---- */

static struct str without_leading_slashes(struct str path) {
  size_t n = 0;
  while (n < path.n && path.p[n] == '/')
    n++;
  return str_slice(path, n, path.n);
}

const struct route_family *router_family(const struct router *router, struct str path) {
  const struct route_mount *best = NULL;
  path = without_leading_slashes(path);
  for (size_t i = 0; i < router->count; i++) {
    const struct route_mount *mount = &router->mounts[i];
    struct str prefix = without_leading_slashes(str_of(mount->prefix));
    bool fits = !prefix.n || (str_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/'));
    if (fits && (!best || strlen(best->prefix) < strlen(mount->prefix)))
      best = mount;
  }
  return best->family;
}

/* A path taken apart. */
struct segments {
  struct str at[ROUTER_SEGMENTS_MAX]; /* decoded */
  size_t count, dots_at;              /* the first that an escape makes "." or ".."; SIZE_MAX: none */
  bool slash_at_end;
};

static bool is_dots(struct str segment) {
  return str_is(segment, ".") || str_is(segment, "..");
}

/* A segment that hides a path in itself is refused where it would join others. */
static bool hides_steps(struct str segment) {
  struct str part;
  while (str_split(&segment, '/', &part))
    if (!part.n || is_dots(part))
      return true;
  return false;
}

static bool bad_path(const struct route_family *family, const char *why, struct err *err) {
  return err_set(err, ERR_INVALID, "%s", family->bad_path ? family->bad_path : why);
}

static bool decode_segment(struct str raw, const struct route_family *family, struct arena *arena, struct str *ret, struct err *err) {
  *ret = raw;
  if (memchr(raw.p, '%', raw.n)) {
    char *out = arena_alloc(arena, raw.n);
    if (!out)
      return err_no_memory(err);
    ret->p = out;
    if (!http_url_decode(raw, false, out, &ret->n))
      return bad_path(family, "the path has a malformed escape", err);
  }
  if (memchr(ret->p, 0, ret->n))
    return bad_path(family, "the path contains a NUL", err);
  return true;
}

static bool dots_refused(const struct route_family *family, struct err *err) {
  return bad_path(family, "the path contains \".\" or \"..\"", err);
}

static bool split_path(struct str path, const struct route_family *family, struct arena *arena, struct segments *ret, struct err *err) {
  struct str rest = without_leading_slashes(path), raw;
  ret->count = 0;
  ret->dots_at = SIZE_MAX;
  ret->slash_at_end = false;
  if (!rest.n)
    return true;
  while (str_split(&rest, '/', &raw)) {
    if (!raw.n && !rest.p)
      ret->slash_at_end = !family->collapse_slashes;
    else if (!raw.n && !family->collapse_slashes)
      return err_set(err, ERR_NOT_FOUND, "the path has an empty segment");
    if (!raw.n)
      continue;
    if (ret->count == ROUTER_SEGMENTS_MAX)
      return err_set(err, ERR_NOT_FOUND, "the path has more than %d segments", (int)ROUTER_SEGMENTS_MAX);
    if (is_dots(raw))
      return dots_refused(family, err);
    if (!decode_segment(raw, family, arena, &ret->at[ret->count], err))
      return false;
    if (is_dots(ret->at[ret->count]) && ret->dots_at == SIZE_MAX)
      ret->dots_at = ret->count;
    ret->count++;
  }
  return true;
}

/* Literal first, then {name}, then {name...}; *ret_rest_at is set when the last was taken. As deep as the deepest pattern. */
static const struct node *descend(const struct node *node, const struct segments *path, size_t at, struct str *values, size_t value_count,
                                  size_t *ret_rest_at) {
  if (at == path->count)
    return node->place && !path->slash_at_end ? node : NULL;
  for (const struct node *child = node->literals; child; child = child->next)
    if (str_eq(child->literal, path->at[at])) {
      const struct node *found = descend(child, path, at + 1, values, value_count, ret_rest_at);
      if (found)
        return found;
      break;
    }
  if (node->any) {
    values[value_count] = path->at[at];
    const struct node *found = descend(node->any, path, at + 1, values, value_count + 1, ret_rest_at);
    if (found)
      return found;
  }
  if (node->rest)
    *ret_rest_at = at;
  return node->rest;
}

static bool join_rest(const struct segments *path, size_t from, bool is_text, const struct route_family *family, struct arena *arena,
                      struct str *ret, struct err *err) {
  size_t n = 0;
  for (size_t i = from; i < path->count; i++)
    n += path->at[i].n + 1;
  char *out = arena_alloc(arena, n);
  if (!out)
    return err_no_memory(err);
  *ret = str_n(out, 0);
  for (size_t i = from; i < path->count; i++) {
    if (!is_text && hides_steps(path->at[i]))
      return bad_path(family, "the path hides \".\", \"..\" or an empty segment behind an escape", err);
    memcpy(out + ret->n, path->at[i].p, path->at[i].n);
    ret->n += path->at[i].n;
    if (i + 1 < path->count || path->slash_at_end)
      out[ret->n++] = '/';
  }
  return true;
}

bool router_find(const struct router *router, struct str path, struct arena *arena, struct route_match *ret, struct err *err) {
  struct segments segments;
  const struct route_family *family = router_family(router, path);
  if (!split_path(path, family, arena, &segments, err))
    return false;
  size_t rest_at = SIZE_MAX;
  const struct node *node = descend(router->root, &segments, 0, ret->values, 0, &rest_at);
  bool dots_are_text = node && node->is_text && rest_at <= segments.dots_at;
  if (segments.dots_at != SIZE_MAX && !dots_are_text)
    return dots_refused(family, err);
  if (!node)
    return err_set(err, ERR_NOT_FOUND, "there is nothing at this address");
  ret->place = node->place;
  if (rest_at != SIZE_MAX)
    return join_rest(&segments, rest_at, node->is_text, family, arena, &ret->values[ret->place->name_count - 1], err);
  return true;
}
