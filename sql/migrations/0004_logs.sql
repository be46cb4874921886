-- What runs print. A piece of a stream, the points read from it and where the stream goes on are stored in one transaction, so neither a crash
-- nor a repeated delivery loses or doubles a line or a point.
--
-- The reader's state is worth some kilobytes, a line some bytes: it is written down now and then, and what came after it is read again
-- when the service starts anew (the points of that are known to be stored).
--
-- No foreign key to run, as for metric points: who removes a run for good removes these in the same transaction.

create table log_piece (
  run uuid not null,
  attempt int not null,
  stream smallint not null, -- 0 stdout, 1 stderr
  start bigint not null,    -- of its first byte in the stream
  size int not null,        -- bytes, uncompressed
  time bigint not null,     -- when it came, ms
  lost bigint not null default 0, -- bytes of the stream just before it that were given up
  packed boolean not null,  -- data is zstd
  data bytea not null,
  primary key (run, attempt, stream, start)
) with (autovacuum_vacuum_scale_factor = 0.05);
alter table log_piece alter column data set storage external;

create table log_stream (
  run uuid not null,
  attempt int not null,
  stream smallint not null,
  next bigint not null default 0,     -- the stream goes on here
  state_at bigint not null default 0, -- the reader's state after the bytes before this
  state bytea,
  summary text,                       -- what was recognised
  series int not null default 0,
  primary key (run, attempt, stream)
) with (fillfactor = 50);
