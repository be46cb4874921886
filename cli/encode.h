/* JSON values written in other ways. Pure. Control and bidirectional characters are always escaped, so that the result may be shown. */
#ifndef WINNOW_CLI_ENCODE_H
#define WINNOW_CLI_ENCODE_H

#include "base/json.h"

/* JSON over several lines; `indent` 0 writes it on one. Numbers as they are in the tree, shortest form. */
void encode_json(struct buf *out, const json_t *value, unsigned indent);
/* A YAML 1.2 document; text that another reader could take for something else is quoted. */
void encode_yaml(struct buf *out, const json_t *value);
/* One CSV cell, quoted as RFC 4180 says. A text that a spreadsheet would run as a formula gets an apostrophe in front. */
void encode_csv_text(struct buf *out, struct str text);
/* A number is written as it is, a text as above, arrays and objects as JSON, null as nothing. */
void encode_csv_value(struct buf *out, const json_t *value);

/* "1.5 GB" */
void encode_size(struct buf *out, double bytes);
/* "3m 20s", "450ms" */
void encode_duration(struct buf *out, int64_t ms);
/* "3m ago", "in 2h" */
void encode_age(struct buf *out, int64_t then_ms, int64_t now_ms);
/* For people: six significant digits. */
void encode_number(struct buf *out, double value);

#endif
