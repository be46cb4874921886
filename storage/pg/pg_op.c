#include "storage/pg/pq.h"

#include "storage/pg/pg_op.h"

#include "base/mem.h"

bool pg_args_check(const struct pg_args *args, struct err *err) {
  const struct stmt_info *info = stmt_info(args->stmt);
  if (!info)
    return err_set(err, ERR_INTERNAL, "there is no statement %d", (int)args->stmt);
  switch (args->fail) {
  case ERR_NONE:
    break;
  case ERR_NO_MEMORY:
    return err_no_memory(err);
  case ERR_TOO_LARGE:
    return err_set(err, ERR_TOO_LARGE, "the arguments of %s are too large", info->name);
  case ERR_INVALID:
    return err_set(err, ERR_INVALID, "a text is not valid UTF-8, or holds a NUL character, or a time is out of range (%s)", info->name);
  default:
    return err_set(err, ERR_INTERNAL, "argument %u of %s (%s) does not fit its type", args->count + 1, info->name, info->where);
  }
  if (args->count != info->param_count)
    return err_set(err, ERR_INTERNAL, "%s (%s) takes %u arguments, got %u", info->name, info->where, info->param_count, args->count);
  return true;
}

void pg_args_to_wire(const struct pg_args *args, struct pg_wire_args *ret) {
  const struct stmt_info *info = stmt_info(args->stmt);
  for (unsigned i = 0; i < args->count; i++) {
    bool is_null = args->params[i].size < 0;
    ret->types[i] = pg_type_oid(info->params[i]);
    ret->values[i] = is_null ? NULL : buf_text(&args->bytes) + args->params[i].at;
    ret->lengths[i] = is_null ? 0 : args->params[i].size;
    ret->formats[i] = 1;
  }
}

static struct pg_op *make(size_t count, pg_done_fn *done, void *ctx, struct err *err) {
  struct pg_op *op = mem_zalloc(sizeof *op);
  if (!op) {
    err_no_memory(err);
    return NULL;
  }
  op->count = count;
  op->parts = &op->one_part;
  if (count > 1) {
    op->parts = mem_array(count, sizeof *op->parts);
    if (!op->parts) {
      mem_free(op);
      err_no_memory(err);
      return NULL;
    }
  }
  op->done = done;
  op->ctx = ctx;
  op->repeatable = true;
  return op;
}

static bool describe(struct pg_op *op, struct err *err) {
  for (size_t i = 0; i < op->count; i++) {
    if (!pg_args_check(&op->stmts[i], err))
      return false;
    const struct stmt_info *info = stmt_info(op->stmts[i].stmt);
    op->parts[i].shape = info;
    op->repeatable = op->repeatable && info->repeatable;
    op->bytes += sizeof *op + op->stmts[i].bytes.n;
  }
  return true;
}

struct pg_op *pg_op_new(struct pg_args *args, pg_done_fn *done, void *ctx, struct err *err) {
  struct pg_op *op = make(1, done, ctx, err);
  if (!op) {
    pg_args_release(args);
    return NULL;
  }
  op->one = *args;
  buf_init(&args->bytes, 0); /* moved */
  op->stmts = &op->one;
  if (describe(op, err))
    return op;
  pg_op_free(op);
  return NULL;
}

static bool batch_check(const struct pg_batch *batch, struct err *err) {
  if (batch->fail == ERR_NO_MEMORY)
    return err_no_memory(err);
  if (batch->fail != ERR_NONE)
    return err_set(err, ERR_TOO_LARGE, "more than %d statements in one transaction", PG_BATCH_MAX);
  return batch->count || err_set(err, ERR_INTERNAL, "a batch of no statements");
}

struct pg_op *pg_op_new_batch(struct pg_batch *batch, pg_done_fn *done, void *ctx, struct err *err) {
  struct pg_op *op = batch_check(batch, err) ? make(batch->count, done, ctx, err) : NULL;
  if (!op) {
    pg_batch_release(batch);
    return NULL;
  }
  op->stmts = batch->items;
  batch->items = NULL;
  batch->count = 0;
  pg_batch_release(batch);
  if (describe(op, err))
    return op;
  pg_op_free(op);
  return NULL;
}

void pg_op_rewind(struct pg_op *op) {
  for (size_t i = 0; i < op->count; i++) {
    PQclear(op->parts[i].rows);
    op->parts[i].rows = NULL;
  }
  op->outcome = PG_DONE;
  op->failure.err.code = ERR_NONE;
  op->failure.sqlstate[0] = 0;
}

void pg_op_free(struct pg_op *op) {
  if (!op)
    return;
  pg_op_rewind(op);
  for (size_t i = 0; i < op->count; i++)
    pg_args_release(&op->stmts[i]);
  if (op->stmts != &op->one)
    mem_free(op->stmts);
  if (op->parts != &op->one_part)
    mem_free(op->parts);
  mem_free(op);
}

void pg_op_fail(struct pg_op *op, enum pg_outcome outcome, const struct err *err) {
  if (op->outcome != PG_DONE)
    return;
  op->outcome = outcome;
  op->failure.err = *err;
}

void pg_op_finish(struct pg_op *op) {
  for (size_t i = 0; i < op->count; i++) {
    op->parts[i].outcome = op->outcome;
    op->parts[i].failure = &op->failure;
  }
  struct pg_reply reply = op->parts[0];
  reply.parts = op->parts;
  reply.part_count = op->outcome == PG_DONE ? op->count : 0;
  if (op->outcome != PG_DONE)
    reply.rows = NULL;
  if (op->done)
    op->done(op->ctx, &reply);
  pg_op_free(op);
}
