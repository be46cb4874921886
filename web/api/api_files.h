/* /api/v1: files of the artifact store, of runs and of model versions. */
#ifndef WINNOW_WEB_API_FILES_H
#define WINNOW_WEB_API_FILES_H

#include "web/http/http_req.h"

/* The path in the store of what lies `below` a URI; in the request's arena. ERR_INVALID when the URI is not served here. */
MUST_CHECK bool api_place(struct http_req *req, struct str uri, struct str below, struct str *ret, struct err *err);
/* Answers with the items of a directory: path (with `prefix` before it), is_dir, size, sha256, created. */
MUST_CHECK bool api_list_files(struct http_req *req, struct str directory, struct str prefix, struct err *err);

/* Answers with all files below a directory as a zip archive called `name`.zip; `directory` lives as long as the request. */
void api_reply_zip(struct http_req *req, struct str directory, struct str name);
/* Does `path` (`full` in the store) ask for a directory's archive: does it end in ".zip", and is no file? */
MUST_CHECK bool api_zip_asked(struct http_req *req, struct str full, struct str path, struct str *ret_directory, struct str *ret_name);

/* Answers with everything as a tar archive: see web/api/api_backup.c. */
void api_reply_backup(struct http_req *req);

#endif
