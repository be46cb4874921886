/* Other tools' sweep files, rewritten as a tree in our grammar. Its nodes stand where the original stood, so later mistakes still point
 * into the user's file; what has no counterpart here is told in a warning. */
#ifndef WINNOW_SWEEPER_SWEEP_IMPORT_H
#define WINNOW_SWEEPER_SWEEP_IMPORT_H

#include "sweeper/file/sweep_spec.h"

/* FORMAT_WINNOW also for W&B's, which needs no rewriting. */
enum sweep_format sweep_import_format(const struct ynode *root);
/* False: mistakes were added to `errors`, or (none added) memory is short. */
MUST_CHECK bool sweep_import(enum sweep_format format, struct arena *arena, const struct ynode *root, struct ynode **ret,
                             struct spec_problems *errors, struct spec_problems *warnings);

#endif
