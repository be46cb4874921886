-- What is read from jobs and what they leave.
--
-- Metric files that jobs write: how far a file has been read and its reader's state are stored in the transaction that stores the points of
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

-- Sweeps whose best trial becomes a model version. The wish is written with the sweep, each version with the trial it came from, so whatever
-- dies in between, each is made once.
create table sweep_register (
  sweep uuid primary key references sweep on delete cascade,
  done boolean not null default false -- the sweep is over and there is nothing left to make
);
create index sweep_register_open on sweep_register (sweep) where not done;
create table sweep_version (
  sweep uuid not null references sweep on delete cascade,
  run uuid not null,
  model text not null,
  version int not null,
  kept boolean not null default false, -- its files are linked
  primary key (sweep, run)
);

-- Which points of a run came from its output: those whose key stands here and whose time is that of a piece. Reading it anew replaces them.
-- `=key`, or `@key` when a pattern reads the time too: then all of that key.
alter table log_stream add column keys text[] not null default '{}';
