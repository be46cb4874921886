#include "tracker/search/filter_lex.h"

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static bool is_word_char(char c) {
  return isalnum((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool ends_word(char c) {
  return is_blank(c) || strchr("=<>!'();,", c) != NULL;
}

static bool is_quote(char c) {
  return c == '`' || c == '"' || c == '\'';
}

/* The end (past the closing quote) of what is quoted at `from`, or SIZE_MAX. A doubled single or double quote is content. */
static size_t quoted_end(struct str text, size_t from) {
  char quote = text.p[from];
  for (size_t i = from + 1; i < text.n; i++) {
    if (text.p[i] != quote)
      continue;
    if (quote != '`' && i + 1 < text.n && text.p[i + 1] == quote) {
      i++;
      continue;
    }
    return i + 1;
  }
  return SIZE_MAX;
}

static size_t digits_end(struct str text, size_t from) {
  while (from < text.n && isdigit((unsigned char)text.p[from]))
    from++;
  return from;
}

/* The end of a number that begins at `from`, or `from` when there is none. */
static size_t number_end(struct str text, size_t from) {
  size_t at = from;
  if (at < text.n && text.p[at] == '-')
    at++;
  size_t whole = digits_end(text, at), fraction = whole;
  if (whole < text.n && text.p[whole] == '.')
    fraction = digits_end(text, whole + 1);
  if (whole == at && fraction <= whole + 1) /* no digit on either side of the dot */
    return from;
  size_t end = fraction;
  if (end < text.n && (text.p[end] == 'e' || text.p[end] == 'E')) {
    size_t sign = end + 1;
    if (sign < text.n && (text.p[sign] == '+' || text.p[sign] == '-'))
      sign++;
    size_t exponent = digits_end(text, sign);
    if (exponent > sign)
      end = exponent;
  }
  return end < text.n && !ends_word(text.p[end]) ? from : end;
}

static size_t list_end(struct str text, size_t from) {
  size_t depth = 0;
  for (size_t i = from; i < text.n; i++) {
    if (is_quote(text.p[i])) {
      size_t end = quoted_end(text, i);
      if (end == SIZE_MAX)
        return SIZE_MAX;
      i = end - 1;
    } else if (text.p[i] == '(') {
      depth++;
    } else if (text.p[i] == ')' && --depth == 0) {
      return i + 1;
    }
  }
  return SIZE_MAX;
}

static size_t operator_length(struct str rest) {
  static const char *const operators[] = {"==", "!=", "<>", "<=", ">=", "=", "<", ">", "~=", "~", "!~"};
  for (size_t i = 0; i < ARRAY_LEN(operators); i++)
    if (str_starts(rest, str_of(operators[i])))
      return strlen(operators[i]);
  return 0;
}

static size_t comment_length(struct str rest) {
  if (str_starts(rest, STR("--"))) {
    size_t line = str_find(rest, '\n');
    return line == SIZE_MAX ? rest.n : line;
  }
  if (str_starts(rest, STR("/*"))) {
    size_t end = str_find_str(rest, STR("*/"));
    return end == SIZE_MAX ? rest.n : end + 2;
  }
  return 0;
}

/* Parts between dots, each bare or quoted. */
static struct filter_token read_word(struct filter_lexer *lexer) {
  struct str text = lexer->text;
  size_t from = lexer->at, at = from;
  bool clean = !isdigit((unsigned char)text.p[at]) && text.p[at] != '.', part_begins = true;
  while (at < text.n) {
    char c = text.p[at];
    if (part_begins && is_quote(c)) {
      size_t end = quoted_end(text, at);
      if (end == SIZE_MAX)
        break;
      at = end;
      part_begins = false;
      if (at < text.n && is_word_char(text.p[at])) /* `a`desc: two words */
        break;
      continue;
    }
    if (ends_word(c) || is_quote(c))
      break;
    if (c != '.' && !is_word_char(c))
      clean = false;
    part_begins = c == '.';
    at++;
  }
  lexer->at = at;
  return (struct filter_token){clean ? TOKEN_NAME : TOKEN_DIRTY, str_slice(text, from, at), from};
}

static struct filter_token take(struct filter_lexer *lexer, enum filter_token_kind kind, size_t end) {
  struct filter_token token = {kind, str_slice(lexer->text, lexer->at, end), lexer->at};
  lexer->at = end;
  return token;
}

static struct filter_token read_quoted(struct filter_lexer *lexer, bool value) {
  char quote = lexer->text.p[lexer->at];
  size_t end = quoted_end(lexer->text, lexer->at);
  if (end == SIZE_MAX)
    return take(lexer, TOKEN_STRAY, lexer->at + 1);
  if (quote == '\'' || (value && quote == '"'))
    return take(lexer, TOKEN_STRING, end);
  return value ? take(lexer, TOKEN_TICKED, end) : read_word(lexer);
}

struct filter_token filter_next(struct filter_lexer *lexer, bool value) {
  struct str text = lexer->text;
  while (lexer->at < text.n && is_blank(text.p[lexer->at]))
    lexer->at++;
  if (lexer->at >= text.n)
    return (struct filter_token){TOKEN_END, STR_NONE, text.n};
  struct str rest = str_slice(text, lexer->at, text.n);
  char c = rest.p[0];
  size_t n;
  if ((n = comment_length(rest)) > 0)
    return take(lexer, TOKEN_STRAY, lexer->at + n);
  if ((n = operator_length(rest)) > 0)
    return take(lexer, TOKEN_OP, lexer->at + n);
  if ((n = number_end(text, lexer->at)) > lexer->at)
    return take(lexer, TOKEN_NUMBER, n);
  if (is_quote(c))
    return read_quoted(lexer, value);
  if (c == ';')
    return take(lexer, TOKEN_SEMICOLON, lexer->at + 1);
  if (c == '(') {
    size_t end = list_end(text, lexer->at);
    return end == SIZE_MAX ? take(lexer, TOKEN_STRAY, lexer->at + 1) : take(lexer, TOKEN_LIST, end);
  }
  if (ends_word(c))
    return take(lexer, TOKEN_STRAY, lexer->at + 1);
  return read_word(lexer);
}

struct str filter_unquote(struct str text) {
  if (text.n >= 2 && is_quote(text.p[0]) && text.p[text.n - 1] == text.p[0])
    return str_slice(text, 1, text.n - 1);
  return text;
}

size_t filter_first_dot(struct str name) {
  for (size_t i = 0; i < name.n; i++) {
    if (name.p[i] == '.')
      return i;
    if (is_quote(name.p[i])) {
      size_t end = quoted_end(name, i);
      if (end == SIZE_MAX)
        return SIZE_MAX;
      i = end - 1;
    }
  }
  return SIZE_MAX;
}
