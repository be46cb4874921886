-- Metric files that jobs write. How far a file has been read and its reader's state are stored in the transaction that stores the points of
-- a piece, so neither a crash nor a repeated delivery loses or doubles a point. The bytes of files are not kept.
create table log_file (
  run uuid not null,
  attempt int not null,
  source smallint not null, -- its place in metrics_from
  path text not null,
  next bigint not null,     -- bytes read of the file as it is now
  state bytea not null,
  primary key (run, attempt, source, path)
) with (fillfactor = 50);
