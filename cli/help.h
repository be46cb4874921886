/* What the table says, for people: help, manual pages. Pure. */
#ifndef WINNOW_CLI_HELP_H
#define WINNOW_CLI_HELP_H

#include "base/buf.h"
#include "cli/verb.h"

void help_program(const struct verb_table *table, bool colours, struct buf *out);
void help_noun(const struct verb_table *table, const struct noun *noun, bool colours, struct buf *out);
void help_verb(const struct verb_table *table, const struct verb *verb, bool colours, struct buf *out);
/* "winnow sweep create FILE [flags]" */
void help_usage(const struct verb *verb, struct buf *out);

/* Manual pages in troff's man macros. */
void man_verb(const struct verb_table *table, const struct verb *verb, struct buf *out);
/* Writes every page into `directory`, made when it is not there. */
MUST_CHECK bool man_write_all(const struct verb_table *table, const char *directory, size_t *ret_count, struct err *err);

#endif
