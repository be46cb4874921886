-- A write that is left in the tail as it is was marked so: a second version of the row and of its places in two indexes, 200 bytes of a run
-- of ten thousand. Now it is only written. Which rows a process that begins has to look at, it knows from a mark: up to that id every row is
-- at rest, its run in run.metrics, and what was to be sealed is. It moves while the service works (storage/metrics/metric_mark.c).
--
-- `fresh` says that a row is a write, not what sealing put together.
create table metric_mark (id bigint not null);
insert into metric_mark (id)
  select coalesce((select min(id) - 1 from metric_tail where fresh), (select max(id) from metric_tail), 0);
drop index metric_tail_fresh;
create index metric_tail_by_id on metric_tail using brin (id) with (pages_per_range = 16);

-- Moves the last metrics of some runs that are not yet in run_metric there. How many runs it were. A run being written is left for later; who
-- writes run.metrics adds to run_unindexed afterwards, so that what is read here under the run's lock is all there is. In the
-- order of their ids, which fills the pages of the index by run.
create or replace function run_index_metrics(most int) returns bigint language plpgsql as $$
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
    where r.id = any(moved) order by r.id;
  delete from run_unindexed where run = any(moved);
  return cardinality(moved);
end
$$;
