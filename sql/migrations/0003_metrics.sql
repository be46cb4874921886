-- Metric points, in chunks. A row for each point costs 100 to 300 bytes and limits ingest to some 0.4 million points a second; chunks cost
-- about 8 bytes and 9 million and more (the forms of their bytes: storage/metrics/chunk_code.h, storage/metrics/chunk_buckets.h).
--
--   metric_tail   what was written and is not sealed: one row for each write, with the points of all its series. Append only: writers never
--                 wait for each other, however many meet on one run.
--   metric_chunk  up to 4,096 points of one series of one attempt, in order, with what readers ask of it without opening it. The chunks
--                 of a series and attempt never overlap in (step, time, value).
--
-- Sealing moves the points of a run from the first into the second, in one transaction: readers see each point in one place or in both,
-- never in none, and see it once (storage/metrics/series_view.h). Series too short for chunks of their own are put together into one row of
-- metric_tail that is not `fresh`, so a finished run with five short metrics is one row of some hundred bytes.
--
-- There is no foreign key to run: checking it would lock the run's row for every write. Who removes a run for good removes these rows in
-- the same transaction.

create table metric_key (
  id int generated always as identity primary key,
  name text collate "C" not null unique
);

create sequence metric_tail_id;
create table metric_tail (
  run uuid not null,
  id bigint not null,
  attempt int not null,
  points int not null,
  fresh boolean not null default true,
  data bytea not null,
  primary key (run, id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_scale_factor = 0.05,
  toast.autovacuum_vacuum_cost_delay = 0); -- rows come and go: what is sealed is deleted
alter table metric_tail alter column data set storage external; -- compressed already
create index metric_tail_fresh on metric_tail (run) where fresh;

create table metric_chunk (
  run uuid not null,
  key int not null,
  id bigint generated always as identity,
  attempt int not null,
  points int not null,
  nans int not null,
  first_step bigint not null,
  first_time bigint not null,
  last_step bigint not null,
  last_time bigint not null,
  low_time bigint not null,
  high_time bigint not null,
  min_step bigint not null,
  max_step bigint not null,
  first double precision not null,
  last double precision not null,
  min double precision not null,
  max double precision not null,
  step_coarse bytea, -- cells by step and by time, few and many; null where the chunk is too short for them
  time_coarse bytea,
  step_fine bytea,
  time_fine bytea,
  data bytea not null,
  primary key (run, key, id)
) with (toast_tuple_target = 8160); -- the cells stay in the row, the points do not
alter table metric_chunk alter column data set storage external;
alter table metric_chunk alter column step_coarse set storage main;
alter table metric_chunk alter column time_coarse set storage main;
alter table metric_chunk alter column step_fine set storage main;
alter table metric_chunk alter column time_fine set storage main;

-- Removes what was just sealed, or nothing: raises WN420 when some of it is not there any more, so that the transaction that would seal
-- it a second time does not happen.
create function metric_tail_take(of_run uuid, ids bigint[]) returns void language plpgsql as $$
declare
  taken bigint;
begin
  delete from metric_tail where run = of_run and id = any(ids);
  get diagnostics taken = row_count;
  if taken <> cardinality(ids) then
    raise exception 'unsealed points are not there any more' using errcode = 'WN420';
  end if;
end
$$;

create function metric_chunk_take(of_run uuid, keys int[], ids bigint[]) returns void language plpgsql as $$
declare
  taken bigint;
begin
  delete from metric_chunk c using unnest(keys, ids) t (key, id) where c.run = of_run and c.key = t.key and c.id = t.id;
  get diagnostics taken = row_count;
  if taken <> cardinality(ids) then
    raise exception 'chunks are not there any more' using errcode = 'WN420';
  end if;
end
$$;
