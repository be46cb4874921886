#include "tracker/names.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/json.h"
#include "base/rng.h"

/* ---- lengths ---- */

static bool begins_char(char c) {
  return ((unsigned char)c & 0xC0) != 0x80;
}

size_t text_length(struct str utf8) {
  size_t n = 0;
  for (size_t i = 0; i < utf8.n; i++)
    n += begins_char(utf8.p[i]);
  return n;
}

struct str text_cut(struct str utf8, size_t max) {
  if (utf8.n <= max)
    return utf8;
  size_t n = 0;
  for (size_t i = 0; i < utf8.n; i++)
    if (begins_char(utf8.p[i]) && n++ == max)
      return str_slice(utf8, 0, i);
  return utf8;
}

bool text_fits(struct str utf8, size_t max, const char *what, struct err *err) {
  if (utf8.n <= max || text_length(utf8) <= max)
    return true;
  return err_set(err, ERR_INVALID, "'%s' exceeds the maximum length of %zu characters", what, max);
}

/* ---- how values are shown ---- */

static uint32_t next_char(struct str text, size_t *i) {
  unsigned char c = (unsigned char)text.p[(*i)++];
  if (c < 0x80)
    return c;
  unsigned more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
  uint32_t point = c & (0x3FU >> more);
  for (; more && *i < text.n; more--)
    point = point << 6 | ((unsigned char)text.p[(*i)++] & 0x3F);
  return point;
}

void json_quote_ascii(struct buf *out, struct str text) {
  buf_putc(out, '"');
  for (size_t i = 0; i < text.n;) {
    uint32_t c = next_char(text, &i);
    if (c == '"' || c == '\\')
      buf_printf(out, "\\%c", (int)c);
    else if (c == '\n' || c == '\t' || c == '\r' || c == '\b' || c == '\f')
      buf_puts(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : c == '\b' ? "\\b" : "\\f");
    else if (c < 0x20 || (c > 0x7E && c < 0x10000))
      buf_printf(out, "\\u%04x", c);
    else if (c >= 0x10000)
      buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10), 0xDC00 + ((c - 0x10000) & 0x3FF));
    else
      buf_putc(out, (char)c);
  }
  buf_putc(out, '"');
}

void python_repr(struct buf *out, struct str text) {
  char quote = str_find(text, '\'') != SIZE_MAX && str_find(text, '"') == SIZE_MAX ? '"' : '\'';
  buf_putc(out, quote);
  for (size_t i = 0; i < text.n; i++) {
    char c = text.p[i];
    if (c == quote || c == '\\')
      buf_printf(out, "\\%c", c);
    else if (c == '\n' || c == '\t' || c == '\r')
      buf_puts(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
    else if ((unsigned char)c < 0x20 || c == 0x7F)
      buf_printf(out, "\\x%02x", (unsigned)c);
    else
      buf_putc(out, c);
  }
  buf_putc(out, quote);
}

bool invalid_value(struct err *err, const char *path, struct str value, const char *why) {
  AUTO_BUF struct buf shown = BUF_INIT(4 * KIB);
  json_quote_ascii(&shown, text_cut(value, 300));
  return err_set(err, ERR_INVALID, "Invalid value %s for parameter '%s' supplied%s%s", buf_text(&shown), path, why ? ": " : ".",
                 why ? why : "");
}

/* ---- keys ---- */

static bool is_ascii_word(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

/* Letters and digits of all scripts: PCRE2 knows them. */
static bool wide_matches(struct str text) {
  static pcre2_code *code; /* compiled once, kept */
  if (!code) {
    int error;
    PCRE2_SIZE at;
    code = pcre2_compile((PCRE2_SPTR) "\\A[/\\p{L}\\p{N}_.\\- :]*\\z", PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &error, &at, NULL);
    if (!code)
      return false;
  }
  pcre2_match_data *match = pcre2_match_data_create(1, NULL);
  bool ok = match && pcre2_match(code, (PCRE2_SPTR)text.p, text.n, 0, 0, match, NULL) >= 0;
  pcre2_match_data_free(match);
  return ok;
}

static bool key_chars_ok(struct str key) {
  for (size_t i = 0; i < key.n; i++) {
    if ((unsigned char)key.p[i] >= 0x80)
      return wide_matches(key);
    if (!is_ascii_word(key.p[i]) && (key.p[i] == 0 || !strchr("/.- :", key.p[i])))
      return false;
  }
  return true;
}

void path_normal(struct str path, struct buf *out) {
  size_t slashes = 0;
  while (slashes < path.n && path.p[slashes] == '/')
    slashes++;
  const char *root = slashes == 0 ? "" : slashes == 2 ? "//" : "/";
  size_t root_n = strlen(root);
  buf_puts(out, root);
  struct str rest = path, part;
  size_t depth = 0; /* parts that ".." may take back */
  while (str_split(&rest, '/', &part)) {
    if (part.n == 0 || str_is(part, "."))
      continue;
    if (str_is(part, "..")) {
      if (depth > 0) {
        size_t cut = out->n;
        while (cut > root_n && out->p[cut - 1] != '/')
          cut--;
        buf_cut(out, cut > root_n ? cut - 1 : root_n);
        depth--;
        continue;
      }
      if (root_n)
        continue;
    } else {
      depth++;
    }
    if (out->n > root_n)
      buf_putc(out, '/');
    buf_add_str(out, part);
  }
  if (out->n == 0)
    buf_putc(out, '.');
}

static bool refuse_path(struct err *err, const char *path, struct str name, struct str resolved) {
  AUTO_BUF struct buf why = BUF_INIT(4 * KIB);
  buf_puts(&why,
           "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would "
           "resolve to ");
  python_repr(&why, text_cut(resolved, 300));
  return invalid_value(err, path, name, buf_text(&why));
}

bool key_check(struct str key, const char *path, struct err *err) {
  if (!key_chars_ok(key))
    return invalid_value(err, path, key,
                         "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and "
                         "slashes (/).");
  bool plain = key.n > 0;
  for (size_t i = 0; plain && i < key.n; i++)
    plain = key.p[i] != '/' && key.p[i] != '.';
  if (plain)
    return true;
  AUTO_BUF struct buf normal = BUF_INIT(64 * KIB);
  path_normal(key, &normal);
  struct str norm = buf_str(&normal);
  if (str_eq(norm, key) && !str_is(norm, ".") && !str_starts(norm, STR("..")) && !str_starts(norm, STR("/")))
    return true;
  return refuse_path(err, path, key, norm);
}

static bool matches_id(struct str id, size_t max) {
  if (id.n == 0 || id.n > max || !isalnum((unsigned char)id.p[0]))
    return false;
  for (size_t i = 1; i < id.n; i++)
    if (!is_ascii_word(id.p[i]) && id.p[i] != '-')
      return false;
  return true;
}

bool run_id_check(struct str id, const char *path, struct err *err) {
  return matches_id(id, 256) || invalid_value(err, path, id, NULL);
}

/* ---- what decoding may bring out ---- */

/* Decodes what can be decoded; false when nothing changed. */
static bool decode_once(char *text, size_t *n) {
  size_t to = 0;
  for (size_t i = 0; i < *n; i++) {
    int high = i + 2 < *n && text[i] == '%' ? hex_digit(text[i + 1]) : -1;
    int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low >= 0) {
      text[to++] = (char)(high << 4 | low);
      i += 2;
    } else {
      text[to++] = text[i];
    }
  }
  bool changed = to != *n;
  *n = to;
  return changed;
}

enum { DECODE_ROUNDS = 10 };

/* Holds `bad` of the text in any form that repeated decoding gives it? Deeper than the rounds is bad as well. */
static bool bad_in_any_form(struct str text, bool (*bad)(struct str)) {
  char copy[ARTIFACT_PATH_MAX];
  size_t n = text.n;
  if (n > sizeof copy)
    return true;
  if (n)
    memcpy(copy, text.p, n);
  for (int i = 0; i < DECODE_ROUNDS; i++) {
    if (bad(str_n(copy, n)))
      return true;
    if (!decode_once(copy, &n))
      return false;
  }
  return true;
}

/* ---- names ---- */

bool experiment_name_check(struct str name, struct err *err) {
  if (name.n == 0)
    return err_set(err, ERR_INVALID, "Invalid experiment name: ''");
  if (text_length(name) > EXPERIMENT_NAME_MAX)
    return err_set(err, ERR_INVALID, "'name' exceeds the maximum length of %d characters", EXPERIMENT_NAME_MAX);
  return true;
}

/* "s3" of s3://bucket; empty when there is none. */
static struct str scheme_of(struct str uri) {
  size_t n = 0;
  while (n < uri.n && (isalnum((unsigned char)uri.p[n]) || memchr("+-.", uri.p[n], 3)))
    n++;
  return str_slice(uri, 0, n < uri.n && uri.p[n] == ':' ? n : 0);
}

/* Params as Python's urlparse() sees them, which MLflow's server asks and which its client loses: what is behind a semicolon in the last
 * part of a path, and with these schemes alone. (A semicolon in a host's name is taken for one of a path.) */
static bool has_url_params(struct str path) {
  static const char *const schemes[] = {"",     "ftp",   "hdl",   "http", "https", "imap", "mms",  "prospero",
                                        "rtsp", "rtsps", "rtspu", "sftp", "shttp", "sip",  "sips", "tel"};
  struct str scheme = scheme_of(path), params = path;
  bool may_have = false;
  for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
    may_have |= str_eq_nocase(scheme, str_of(schemes[i]));
  for (size_t i = 0; i < path.n; i++)
    if (path.p[i] == '/')
      params = str_slice(path, i + 1, path.n);
  size_t semicolon = str_find(params, ';');
  return may_have && semicolon != SIZE_MAX && semicolon + 1 < params.n;
}

static bool has_two_dots(struct str text) {
  return str_find_str(text, STR("..")) != SIZE_MAX;
}

bool artifact_location_check(struct str uri, struct err *err) {
  if (str_starts(uri, STR("runs:")))
    return err_set(err, ERR_INVALID, "Artifact location cannot be a runs:/ URI. Given: '%.*s'", STR_ARG(str_slice(uri, 0, 300)));
  if (text_length(uri) > ARTIFACT_LOCATION_MAX)
    return err_set(err, ERR_INVALID, "Invalid artifact path length. The length of the artifact path cannot be greater than %d characters.",
                   ARTIFACT_LOCATION_MAX);
  size_t query = MIN_OF(str_find(uri, '?'), uri.n);
  if (str_find(uri, '#') != SIZE_MAX || has_url_params(str_slice(uri, 0, query)))
    return err_set(err, ERR_INVALID, "'artifact_location' URL can't include fragments or params.");
  if (bad_in_any_form(str_slice(uri, query, uri.n), has_two_dots))
    return err_set(err, ERR_INVALID, "Invalid query string");
  for (size_t i = 0; i < uri.n; i++)
    if ((unsigned char)uri.p[i] < 0x20 || uri.p[i] == 0x7F)
      return err_set(err, ERR_INVALID, "'artifact_location' URL can't include control characters.");
  return true;
}

bool artifact_location_resolve(struct str location, const char *directory, struct buf *out, struct err *err) {
  bool has_scheme = scheme_of(location).n > 0;
  bool is_file = has_scheme && str_starts(location, STR("file:"));
  struct str path = is_file ? str_slice(location, 5, location.n) : location;
  if ((!has_scheme || is_file) && !str_starts(path, STR("/"))) {
    buf_printf(out, "%s%s/", is_file ? "file://" : "", directory);
    location = path;
  }
  buf_add_str(out, location);
  return buf_ok(out, err);
}

bool model_name_check(struct str name, const char *path, struct err *err) {
  if (name.n && memchr(name.p, 0, name.n))
    return invalid_value(err, path, name, NULL);
  if (str_trim(name).n == 0)
    return err_set(err, ERR_INVALID, "Missing value for required parameter '%s': it is blank", path);
  if (str_is(name, ".") || str_is(name, ".."))
    return refuse_path(err, path, name, name);
  if (name.n > MODEL_NAME_BYTES_MAX)
    return err_set(err, ERR_INVALID, "'%s' exceeds the maximum length of %d bytes", path, MODEL_NAME_BYTES_MAX);
  return text_fits(name, MODEL_NAME_MAX, path, err);
}

bool logged_model_name_check(struct str name, struct err *err) {
  static const char refused[] = "/:.%\"'";
  bool bad = name.n == 0;
  for (size_t i = 0; i < name.n && !bad; i++)
    bad = name.p[i] == 0 || strchr(refused, name.p[i]) != NULL;
  if (bad)
    return err_set(err, ERR_INVALID,
                   "Invalid model name ('%.*s') provided. Model name must be a non-empty string and cannot contain the following "
                   "characters: ('/', ':', '.', '%%', '\"', \"'\")",
                   STR_ARG(str_slice(name, 0, 200)));
  return text_fits(name, 500, "name", err);
}

bool alias_form_check(struct str alias, struct err *err) {
  if (alias.n == 0)
    return err_set(err, ERR_INVALID, "Registered model alias name cannot be empty.");
  for (size_t i = 0; i < alias.n; i++)
    if (!is_ascii_word(alias.p[i]) && alias.p[i] != '-' && !((unsigned char)alias.p[i] >= 0x80 && wide_matches(alias)))
      return err_set(err, ERR_INVALID, "Invalid alias name: '%.*s'. Names may only contain alphanumerics, underscores (_), and dashes (-).",
                     STR_ARG(str_slice(alias, 0, 200)));
  return text_fits(alias, ALIAS_MAX, "Registered model alias name", err);
}

bool alias_check(struct str alias, struct err *err) {
  if (!alias_form_check(alias, err))
    return false;
  int64_t number;
  if (str_eq_nocase(alias, STR("latest")))
    return err_set(err, ERR_INVALID, "'latest' alias name (case insensitive) is reserved.");
  if ((alias.p[0] == 'v' || alias.p[0] == 'V') && alias.n > 1 && isdigit((unsigned char)alias.p[1]) &&
      (str_to_i64(str_slice(alias, 1, alias.n), &number) || strspn(alias.p + 1, "0123456789") >= alias.n - 1))
    return err_set(err, ERR_INVALID, "Version alias name '%.*s' is reserved.", STR_ARG(alias));
  return true;
}

/* ---- paths ---- */

static bool climbs(struct str path) {
  for (size_t from = 0, i = 0; i <= path.n; i++)
    if (i == path.n || path.p[i] == '/' || path.p[i] == '\\') {
      if (str_is(str_slice(path, from, i), ".."))
        return true;
      from = i + 1;
    }
  return false;
}

static bool leads_out(struct str path) {
  bool is_rooted = path.n && path.p[0] == '/';
  bool has_drive = path.n >= 3 && isalpha((unsigned char)path.p[0]) && path.p[1] == ':' && strchr("/\\", path.p[2]);
  return is_rooted || has_drive || str_starts_nocase(path, STR("file:")) || climbs(path);
}

/* Of the path as it is meant alone: "%23" in a name is a per cent sign and two digits, and log_image() makes such names. */
static bool has_odd_bytes(struct str path) {
  for (size_t i = 0; i < path.n; i++)
    if ((unsigned char)path.p[i] < 0x20 || path.p[i] == 0x7F || path.p[i] == '\\' || path.p[i] == '#')
      return true;
  return false;
}

static bool path_check(struct str path, bool (*bad)(struct str), struct str *ret, struct err *err) {
  while (path.n && path.p[path.n - 1] == '/')
    path.n--;
  if (path.n > ARTIFACT_PATH_MAX)
    return err_set(err, ERR_INVALID, "Invalid path: it has more than %d bytes", ARTIFACT_PATH_MAX);
  bool ok = str_is_utf8(path) && !has_odd_bytes(path) && !bad_in_any_form(path, bad);
  struct str rest = path, part;
  while (ok && path.n && str_split(&rest, '/', &part)) {
    if (part.n > ARTIFACT_NAME_MAX)
      return err_set(err, ERR_INVALID, "Invalid path: a name in it has more than %d bytes", ARTIFACT_NAME_MAX);
    ok = part.n > 0 && !str_is(part, ".") && !str_starts(part, STR(".winnow-"));
  }
  if (!ok)
    return err_set(err, ERR_INVALID, "Invalid path");
  *ret = path;
  return true;
}

bool artifact_path_check(struct str path, struct str *ret, struct err *err) {
  return path_check(path, leads_out, ret, err);
}

bool artifact_below_check(struct str path, struct str *ret, struct err *err) {
  return path_check(path, climbs, ret, err);
}

struct str path_from_here(struct str path) {
  while (str_starts(path, STR("./")) || (path.n > 1 && str_ends(path, STR("/")))) {
    bool begins = str_starts(path, STR("./"));
    path = str_slice(path, begins ? 2 : 0, begins ? path.n : path.n - 1);
    while (begins && str_starts(path, STR("/")))
      path = str_slice(path, 1, path.n);
  }
  return str_is(path, ".") ? STR("") : path;
}

void path_tidy(struct str path, struct buf *out) {
  struct str rest = path, part;
  bool is_rooted = str_starts(path, STR("/"));
  size_t start = out->n + is_rooted;
  if (is_rooted)
    buf_putc(out, '/');
  while (str_split(&rest, '/', &part)) {
    if (part.n == 0 || str_is(part, "."))
      continue;
    if (out->n > start)
      buf_putc(out, '/');
    buf_add_str(out, part);
  }
}

static bool uri_climbs(struct str uri) {
  struct str rest = uri, part;
  while (str_split(&rest, '/', &part))
    if (str_is(part, "..") || str_find_str(part, STR("..\\")) != SIZE_MAX || str_find_str(part, STR("\\..")) != SIZE_MAX)
      return true;
  size_t query = str_find(uri, '?');
  if (query != SIZE_MAX && str_find_str(str_slice(uri, query, uri.n), STR("..")) != SIZE_MAX)
    return true;
  for (size_t i = 0; i < uri.n; i++)
    if ((unsigned char)uri.p[i] < 0x20 || uri.p[i] == 0x7F)
      return true;
  return false;
}

bool source_uri_check(struct str uri, struct err *err) {
  if (!bad_in_any_form(uri, uri_climbs))
    return true;
  return err_set(
      err, ERR_INVALID,
      "Invalid model version source: '%.*s'. If supplying a source as an http, https, local file path, ftp, objectstore, or mlflow "
      "artifact URI, an absolute path must be provided without relative path references present.",
      STR_ARG(str_slice(uri, 0, 200)));
}

bool run_uri_parse(struct str uri, struct id *ret_run, struct str *ret_path) {
  if (!str_starts(uri, STR("runs:/")))
    return false;
  struct str rest = str_slice(uri, strlen("runs:/"), uri.n);
  size_t slash = str_find(rest, '/');
  if (!id_parse(str_slice(rest, 0, slash), ret_run))
    return false;
  *ret_path = slash == SIZE_MAX ? STR("") : str_slice(rest, slash + 1, rest.n);
  return true;
}

/* ---- generated names ---- */

static const char *const adjectives[] = {
    "able",   "agile",  "airy",   "amber",  "ample",  "apt",    "arch",   "azure",  "bold",   "brave",   "breezy", "bright",
    "brisk",  "broad",  "calm",   "candid", "chic",   "clean",  "clear",  "clever", "coral",  "cosy",    "crisp",  "curious",
    "dapper", "daring", "deep",   "deft",   "dreamy", "eager",  "early",  "easy",   "elated", "epic",    "exact",  "fair",
    "fancy",  "fast",   "fine",   "firm",   "fleet",  "fond",   "frank",  "fresh",  "gentle", "glad",    "golden", "grand",
    "green",  "handy",  "happy",  "hardy",  "honest", "humble", "ideal",  "jolly",  "keen",   "kind",    "lively", "loyal",
    "lucid",  "lucky",  "mellow", "merry",  "mild",   "neat",   "nimble", "noble",  "open",   "patient", "plucky", "polite",
    "proud",  "quick",  "quiet",  "rapid",  "rare",   "ready",  "rich",   "robust", "rosy",   "serene",  "sharp",  "shiny",
    "silent", "silver", "sleek",  "smart",  "smooth", "snug",   "solid",  "sound",  "spry",   "steady",  "still",  "stout",
    "sunny",  "swift",  "tidy",   "trim",   "true",   "upbeat", "vivid",  "warm",   "whole",  "wise",    "witty",  "zesty",
};
static const char *const nouns[] = {
    "ant",   "ape",   "asp",   "auk",   "badger",  "bass",   "bat",   "bear",  "beaver", "bee",   "bird",   "bison",  "boar",
    "buck",  "calf",  "carp",  "cat",   "chimp",   "chub",   "clam",  "cod",   "colt",   "conch", "cow",    "crab",   "crane",
    "crow",  "cub",   "deer",  "dog",   "dolphin", "donkey", "dove",  "duck",  "eagle",  "eel",   "elk",    "falcon", "fawn",
    "finch", "fish",  "flea",  "foal",  "fox",     "frog",   "gnat",  "gnu",   "goat",   "goose", "grouse", "grub",   "gull",
    "hare",  "hawk",  "hen",   "heron", "hog",     "horse",  "hound", "ibex",  "jay",    "kite",  "kit",    "lamb",   "lark",
    "lion",  "lynx",  "mare",  "mink",  "mole",    "moose",  "moth",  "mouse", "mule",   "newt",  "otter",  "owl",    "ox",
    "panda", "perch", "pig",   "pike",  "pony",    "quail",  "rat",   "raven", "ray",    "robin", "seal",   "shad",   "shark",
    "sheep", "shrew", "skunk", "sloth", "smelt",   "snail",  "snake", "sow",   "sponge", "squid", "stag",   "stork",  "swan",
    "toad",  "trout", "vole",  "wasp",  "whale",   "wolf",   "worm",  "wren",  "yak",    "zebra",
};

void random_name(struct rng *rng, char out[48]) {
  snprintf(out, 48, "%s-%s-%u", adjectives[rng_below(rng, ARRAY_LEN(adjectives))], nouns[rng_below(rng, ARRAY_LEN(nouns))],
           (unsigned)rng_below(rng, 1000));
}
