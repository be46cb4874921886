/* Where the service is, and the token for it. */
#ifndef WINNOW_CLI_ENDPOINT_H
#define WINNOW_CLI_ENDPOINT_H

#include "base/buf.h"
#include "base/err.h"

enum { ENDPOINT_PATH_MAX = 4096, ENDPOINT_URL_MAX = 2048, ENDPOINT_TOKEN_MAX = 4096 };

enum endpoint_source {
  ENDPOINT_FLAG,    /* --url */
  ENDPOINT_ENV,     /* WINNOW_URL */
  ENDPOINT_PROJECT, /* .winnow here or above */
  ENDPOINT_SOCKET,  /* the socket of the default directory */
  ENDPOINT_DEFAULT, /* 127.0.0.1:7070 */
  ENDPOINT_TOLD,    /* the socket that the service at 127.0.0.1:7070 told its own user of */
};

/* What the search looks at; NULL where there is nothing. */
struct endpoint_inputs {
  const char *flag_url, *env_url;
  const char *flag_token_file, *env_token;
  const char *directory;  /* the working directory, absolute */
  const char *data_dir;   /* the default directory of the service */
  const char *config_dir; /* of the user; tokens lie in its `tokens` */
};

struct endpoint {
  enum endpoint_source source;
  char url[ENDPOINT_URL_MAX];                /* scheme, host and port, without a slash at the end; for a socket http://localhost */
  char socket[ENDPOINT_PATH_MAX];            /* empty: TCP */
  char project[ENDPOINT_PATH_MAX];           /* the .winnow that named it; empty: none */
  char token_source[ENDPOINT_PATH_MAX + 32]; /* for people; empty: no token */
  char token[ENDPOINT_TOKEN_MAX];            /* empty: none */
  bool env_token_withheld;                   /* WINNOW_TOKEN is set, but is not given to an address that a project names */
};

/* Reads the environment and the file system. Fails on an address that is none, and on a token file that others can read. */
MUST_CHECK bool endpoint_find(const struct endpoint_inputs *inputs, struct endpoint *ret, struct err *err);
/* Turns to the socket in a service's directory, when one answers there; else nothing changes. */
MUST_CHECK bool endpoint_use_socket(struct endpoint *endpoint, const char *directory);
/* Also holds a secret. */
void endpoint_wipe(struct endpoint *endpoint);

/* "http://host:port", "host:port", "https://…", "unix:/path". Pure. */
MUST_CHECK bool endpoint_parse(struct str text, struct endpoint *ret, struct err *err);
/* For people: the URL, or unix:PATH. */
void endpoint_name(const struct endpoint *endpoint, struct buf *out);
const char *endpoint_source_name(enum endpoint_source source);
/* Nobody else is on the way: a socket, or this machine. */
bool endpoint_is_local(const struct endpoint *endpoint);

/* The file that `winnow login` keeps the token in: CONFIG_DIR/tokens/<address as a file name>. */
void endpoint_token_path(const struct endpoint *endpoint, const char *config_dir, struct buf *out);
/* The first line of a file that is ours (or root's) and that nobody else can read. */
MUST_CHECK bool endpoint_read_token(const char *path, char ret[ENDPOINT_TOKEN_MAX], struct err *err);
/* The default directory of the service: WINNOW_DATA, /var/lib/winnow for root, else $XDG_DATA_HOME/winnow. */
void endpoint_data_dir(struct buf *out);
/* $XDG_CONFIG_HOME/winnow, else ~/.config/winnow. */
void endpoint_config_dir(struct buf *out);

#endif
