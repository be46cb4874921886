-- Who deletes an experiment deletes the runs in it, also the one that stands for a sweep, for MLflow's clients. While the sweep itself is not in
-- the trash, that run is not deleted for good: its trials named a parent that was gone.

create or replace function run_purge(gone uuid, before bigint, files text) returns boolean language plpgsql as $$
begin
  perform from run r where r.id = gone and r.deleted_at <= before
    and not exists (select from sweep s where s.id in (r.id, r.sweep_id) and s.deleted_at is null and not s.single) for update;
  if not found then
    return false;
  end if;
  delete from metric_tail where run = gone;
  delete from metric_chunk where run = gone;
  delete from metric_tail where run = gone; -- and what it put together
  delete from run_metric where run = gone;
  delete from run_unindexed where run = gone;
  delete from log_piece where run = gone;
  delete from log_stream where run = gone;
  insert into doomed (path, job) values (files, gone);
  delete from run where id = gone;
  return true;
end
$$;
