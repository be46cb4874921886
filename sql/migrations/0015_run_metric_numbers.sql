-- A third of what a run costs on disk was the index of its last metrics: each row named its metric by text, twice, and its run twice. Now
-- metrics have numbers (those of the chunks), the index that leads searches ends with the value, and the runs are in one of their own, where
-- the rows of one run share an entry. No foreign key: its check cost as much as the row.
--
-- The rows are made again in the background; until then a search reads the packed columns.
drop table run_metric;
create table run_metric (
  value double precision not null,
  run uuid not null,
  experiment_id int not null,
  key int not null -- of metric_key
);
create index run_metric_by_value on run_metric (experiment_id, key, value);
create index run_metric_by_run on run_metric (run);
insert into run_unindexed (run) select id from run where metrics <> '{}' on conflict do nothing;

-- The last values of a run are kept as text, {"loss": "0.25 10 1795287390000"}: last value, step, time, and where there are more points least,
-- greatest, count. As numbers of jsonb they took twice the room, and 1e300 came back with 301 digits. Arrays, [0.25, 10, 1795287390000], were
-- written before and are read as well.
create function metric_value(packed text) returns double precision language sql immutable parallel safe as $$
  select btrim(split_part(packed, ' ', 1), '[,"')::double precision
$$;
create or replace function metric_last(metrics jsonb, key text) returns double precision language sql immutable parallel safe as $$
  select btrim(split_part(metrics ->> key, ' ', 1), '[,"')::double precision
$$;

-- Null: no run that is indexed has such a metric.
create function metric_key_id(name text) returns int language sql stable parallel safe as $$
  select k.id from metric_key k where k.name = $1
$$;

-- Moves the last metrics of some runs that are not yet in run_metric there. How many runs it were. A run being written is left for later; who
-- writes run.metrics adds to run_unindexed afterwards, so that what is read here under the run's lock is all there is.
create function run_index_metrics(most int) returns bigint language plpgsql as $$
declare
  moved uuid[];
begin
  select array_agg(x.id) into moved
    from (select r.id from run_unindexed u join run r on r.id = u.run limit most for no key update of r skip locked) x;
  if moved is null then
    return 0;
  end if;
  insert into metric_key (name)
    select distinct m.key from run r cross join lateral jsonb_object_keys(r.metrics) m (key)
    where r.id = any(moved) and not exists (select from metric_key k where k.name = m.key)
    order by m.key on conflict do nothing;
  delete from run_metric where run = any(moved);
  insert into run_metric (value, run, experiment_id, key)
    select metric_value(m.value), r.id, r.experiment_id::int, k.id
    from run r cross join lateral jsonb_each_text(r.metrics) m join metric_key k on k.name = m.key
    where r.id = any(moved);
  delete from run_unindexed where run = any(moved);
  return cardinality(moved);
end
$$;

create or replace function run_purge(gone uuid, before bigint, files text) returns boolean language plpgsql as $$
begin
  perform from run r where r.id = gone and r.deleted_at <= before
    and not exists (select from sweep s where s.id = r.sweep_id and s.deleted_at is null) for update;
  if not found then
    return false;
  end if;
  delete from metric_tail where run = gone;
  delete from metric_chunk where run = gone;
  delete from metric_tail where run = gone; -- and what it put together
  delete from run_metric where run = gone;
  delete from log_piece where run = gone;
  delete from log_stream where run = gone;
  insert into doomed (path, job) values (files, gone);
  delete from run where id = gone;
  return true;
end
$$;

-- A run is made small and grows, by its params and its last metrics, so it leaves its first places on the pages: for the next runs.
alter table run set (autovacuum_vacuum_scale_factor = 0.05);
