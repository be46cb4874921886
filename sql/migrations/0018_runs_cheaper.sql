-- What a client logs to a run with params or tags costs less: one UPDATE that looks at the row it changes, where a lock, a copy of the whole
-- row into the function and an UPDATE were three. And a run that is noted in run_unindexed is there, since what notes it has just written
-- it: the check took a lock on the run's row, which is a write of its own.

-- Raises what forbids a write of params and tags to this row (sql/queries/run.sql, run_write). True otherwise.
create function run_takes(deleted_at bigint, executor text, attempt int, pass int, old jsonb, given jsonb) returns boolean language plpgsql as $$
begin
  if deleted_at is not null then
    raise exception 'the run is deleted' using errcode = 'WN410';
  end if;
  perform run_allow(executor, attempt, pass);
  if given <> '{}' and old <> '{}' and exists (
       select from jsonb_each_text(given) p where old ? p.key and not param_same(old ->> p.key, p.value)) then
    raise exception 'a param has another value' using errcode = 'WN409';
  end if;
  return true;
end
$$;

create function run_is_there(written boolean) returns boolean language plpgsql as $$
begin
  if not written then
    raise exception 'no such run' using errcode = 'WN404';
  end if;
  return true;
end
$$;

drop function run_write(uuid, jsonb, jsonb, int);

alter table run_unindexed drop constraint run_unindexed_run_fkey;

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
  delete from run_unindexed where run = gone;
  delete from log_piece where run = gone;
  delete from log_stream where run = gone;
  insert into doomed (path, job) values (files, gone);
  delete from run where id = gone;
  return true;
end
$$;
