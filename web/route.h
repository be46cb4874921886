/* A route is a row: method, path, who may call it, what body it takes, handler, documentation. The rows are constants; help, OpenAPI,
 * metrics and documentation derive from them. */
#ifndef WINNOW_WEB_ROUTE_H
#define WINNOW_WEB_ROUTE_H

#include "base/err.h"
#include "web/http/http_method.h"

struct http_req;
struct buf;

/* Who may call it. 0 is no policy: the router refuses to start with such a row. */
enum route_policy {
  POLICY_UNSET,
  POLICY_PUBLIC, /* anybody: health */
  POLICY_READ,
  POLICY_TRACK,  /* writes of tracking, open on loopback */
  POLICY_CURATE, /* changes what is registered, or removes for good: `write`, a job's token, or on loopback the service's own user */
  POLICY_WRITE,
  POLICY_SUBMIT, /* starts or stops processes */
  POLICY_ADMIN,
};

const char *route_policy_name(enum route_policy policy);

/* What a job's token reaches by a row that is not open to everybody where it is used (web/reach.h): its own run and the runs below it, to
 * write; their experiment, to read. */
enum route_reach {
  REACH_NOTHING,
  REACH_ANY,         /* all: it is nobody's in particular, or the handler judges */
  REACH_NAMED,       /* the runs, logged models, sweeps or experiments that the path, the query or the body names */
  REACH_LOGGED,      /* the run that the body names, and the logged models that it says something of */
  REACH_CHILD,       /* a run is made, below the one that its tag mlflow.parentRunId names */
  REACH_MODEL,       /* a logged model is made, of the run that the body names */
  REACH_NEW_VERSION, /* a version of the registry is made, from what the body names */
  REACH_VERSION,     /* a version of the registry, by its number or an alias */
  REACH_FILES,       /* a path in the store of artifacts is read */
  REACH_ATTEMPT,     /* its own attempt, by the address: the handler judges, also of one that ended long ago */
};

const char *route_reach_name(enum route_reach reach);

enum route_body {
  BODY_NONE,   /* a body that is not empty is refused */
  BODY_BUFFER, /* gathered whole, then the handler is called */
  BODY_STREAM, /* handed to `stream` as it comes */
};

/* Where a streamed body goes. `begin` is called before any of the body is read, once the gate has agreed. When it returns true,
 * exactly one of these ends the upload:
 *   - `data` returns false: the server answers *err, the request is gone;
 *   - `end`: the body is complete, and the handler answers, now or later;
 *   - `abort`: the body will not be completed (client left, too slow, too large, bad framing, shutdown). The handler cleans up and then
 *     still answers, now or later (http_reply_drop() is the plain way), since the answer is what frees the request. *err says why;
 *   - the handler answers early, by its own will: nothing more is called, the rest of the body is thrown away.
 * Between begin and end the sink may pause the body, see http_req_pause_body(): what is asynchronous in `begin` (is there such a run?)
 * pauses, looks, then resumes or answers. */
struct route_stream {
  bool (*begin)(struct http_req *req, struct err *err);
  /* Takes all of the bytes, at most 64 KiB; they are borrowed for the call. */
  bool (*data)(struct http_req *req, struct str bytes, struct err *err);
  void (*end)(struct http_req *req);
  void (*abort)(struct http_req *req, const struct err *err);
};

/* Whether a POST makes something new: then an Idempotency-Key is heeded (web/idempotency.h). */
enum route_creates {
  CREATES_NOTHING,
  CREATES,        /* under an id or number that is made then */
  CREATES_BY_KEY, /* under an id made from the key: doing it again after a crash makes the same thing */
  CREATES_NAMED,  /* what the body alone names: it is its own key, and doing it again after a crash makes the same thing */
  CREATES_SECRET, /* its answer is shown once, and not kept */
  CREATES_PARAMS, /* what its body gives "params" of; done again the rest does nothing more */
};

struct route {
  enum http_method method; /* GET, POST, PUT, PATCH, DELETE; HEAD and OPTIONS derive */
  /* Begins with "/" and is relative to the mount. "{name}" stands for one segment that is not empty, a final "{name...}" for one or more
   * segments, and "{name*}" for one or more that are text and no path: there an escape may hide slashes and dots. A literal segment wins
   * over "{name}", which wins over these. */
  const char *path;
  enum route_policy policy;
  enum route_reach reach;
  enum route_body body;
  uint64_t max_body; /* bytes; 0 with BODY_NONE only */
  /* Answers the request, now or later. For BODY_STREAM rows NULL: begin, data and end do it. */
  void (*handler)(struct http_req *req);
  const struct route_stream *stream; /* for BODY_STREAM rows */
  const void *arg;                   /* for handlers that serve several rows; may be NULL */
  const char *summary;               /* a line, without full stop */
  const char *doc;                   /* more about it, Markdown; may be NULL */
  const char *request_schema;        /* names of OpenAPI components; may be NULL */
  const char *response_schema;
  /* Media types as "text/csv,application/json". The schema is that of the first; NULL is JSON with the schema, without one nothing (for a
   * streamed body: any bytes). */
  const char *request_type, *response_type;
  enum route_creates creates;
  /* Query parameters as "name:type,name:type", may be NULL. A type is integer, boolean, string or "one|of|these"; "[]" after it: several.
   */
  const char *query;
};

/* Takes one parameter off the front of `query` of a row; *ret_type as it stands there. False at the end. */
bool route_query_next(struct str *query, struct str *ret_name, struct str *ret_type);

/* How a family of routes says that something went wrong. */
struct route_family {
  const char *name; /* "api", "mlflow" */
  /* Writes the body of the answer and its Content-Type, returns the status. `req` is NULL when the request could not be read as far as
   * its path; its id is `request_id`. Called for all errors, those of the HTTP server included. */
  int (*write_error)(const struct http_req *req, const char *request_id, const struct err *err, struct buf *body,
                     const char **ret_content_type);
  bool collapse_slashes; /* "a//b" is "a/b"; else an empty segment is 404 */
  const char *bad_path;  /* what is said of a path with ".", ".." or a malformed escape in it; NULL: what is wrong with it */
  /* Its rows name every query parameter, media type and shape: another parameter is refused, and no shape is no content. */
  bool is_described;
};

/* Rows under a prefix. The same rows may be mounted several times. The family of a path that matches nothing is that of the longest
 * prefix that it has; one mount has the prefix "". */
struct route_mount {
  const char *prefix; /* "" or "/api/v1": no slash at the end, no names */
  const struct route *routes;
  size_t count;
  const struct route_family *family;
};

#endif
