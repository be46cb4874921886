/* GET /login: turns a one-time link into the page's session cookie. */
#ifndef WINNOW_WEB_SESSION_H
#define WINNOW_WEB_SESSION_H

struct http_req;

void web_get_login(struct http_req *req);

#endif
