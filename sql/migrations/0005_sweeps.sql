-- Sweeps, and what their engine keeps with each trial.
--
-- A trial is a row of run; what the engine needs to go on after a restart stands in further columns of it. A sweep also has a parent run of
-- kind 1 under its own id, for MLflow's clients.
--
-- Times are milliseconds since 1970.

-- state: 0 RUNNING 1 PAUSED 2 DRAINING 3 FINISHED 4 STOPPED 5 FAILED; why: see sweeper/engine.h
-- version: of the row, as the engine counts; an older write does not undo a newer one
create table sweep (
  id uuid primary key,
  experiment_id bigint not null,
  created bigint not null,
  ended bigint,
  deleted_at bigint,
  version bigint not null,
  elapsed_ms bigint not null default 0,
  slot_ms bigint not null default 0,
  seed bigint not null,
  state smallint not null default 0,
  why smallint not null default 0,
  exhausted boolean not null default false,
  name text not null,
  directory text not null, -- where it was submitted: relative paths of the file are beneath it
  source text not null,    -- the file as it was sent
  spec text not null,      -- its normal form, which the service reads; text, because the order of parameters counts
  edits jsonb not null default '{}', -- what was changed since: run_cap, max_parallel, max_time, priority, notes
  warnings jsonb not null default '[]',
  summary jsonb            -- the sweep as the API shows it, once it is over
) with (fillfactor = 80);
create index sweep_by_created on sweep (created desc, id);
create index sweep_live on sweep (id) where state < 3;

-- What trials reported to stop rules and the goal, in the order it was taken in: n counts within the sweep.
create table report (
  sweep uuid not null,
  n bigint not null,
  trial int not null,
  attempt int not null,
  step bigint not null,
  value double precision not null,
  epoch double precision, -- null: none
  key text not null,
  primary key (sweep, n)
);

alter table run
  add column version bigint not null default 0,
  add column cause smallint not null default 0,   -- enum engine_cause
  add column dead boolean not null default false, -- the attempt is known to be over
  add column retries int not null default 0,
  add column told int,      -- how many results the sampler knew when it learned of this one
  add column point jsonb;   -- the trial's values, typed as the space says
