/* The words of the search language. Pure: a cursor moves over borrowed text. */
#ifndef WINNOW_TRACKER_FILTER_LEX_H
#define WINNOW_TRACKER_FILTER_LEX_H

#include "base/str.h"

enum filter_token_kind {
  TOKEN_END,
  TOKEN_NAME,   /* word, word.word, `quoted`, word."quoted": an identifier, or a keyword */
  TOKEN_DIRTY,  /* a word with characters that need quotes: a-b */
  TOKEN_STRING, /* 'text' or "text" where a value stands */
  TOKEN_TICKED, /* `text` where a value stands */
  TOKEN_NUMBER,
  TOKEN_OP,   /* = == != <> < <= > >= ~ ~= !~ */
  TOKEN_LIST, /* ( ... ) with its brackets */
  TOKEN_SEMICOLON,
  TOKEN_STRAY, /* anything else: an unclosed quote, a comment, a comma */
};

struct filter_token {
  enum filter_token_kind kind;
  struct str text; /* as written */
  size_t at;
};

struct filter_lexer {
  struct str text;
  size_t at;
};

/* `value`: double quotes make a string, not a name. */
struct filter_token filter_next(struct filter_lexer *lexer, bool value);
/* Without the quotes around it, if there are any. */
struct str filter_unquote(struct str text);
/* The place of the first dot outside quotes, or SIZE_MAX. */
size_t filter_first_dot(struct str name);

#endif
