-- Clients that write params and tags to one run share an UPDATE and its commit. Each waited for the row and then for the disk, and whoever
-- had waited was woken by every commit of another.

-- What each of these may write to the run, in their order, and each as if it were alone: null when it is written, else what forbids it, as
-- run_takes() raises it, or WN404 when there is no such run.
create function run_write_many(which uuid, params jsonb[], tags jsonb[], passes int[]) returns setof text language plpgsql as $$
declare
  was record;
  new_params jsonb := '{}';
  new_tags jsonb := '{}';
  refusals text[] := array_fill(null::text, array[cardinality(passes)]);
begin
  -- || '{}': unpacked once, not by each who looks
  select r.deleted_at, r.executor, r.attempt, r.params || '{}' as params into was from run r where r.id = which for no key update;
  if not found then
    return query select 'WN404' from unnest(passes);
    return;
  end if;
  for i in 1 .. cardinality(passes) loop
    begin
      perform run_takes(was.deleted_at, was.executor, was.attempt, passes[i], was.params, params[i]),
        run_takes(was.deleted_at, was.executor, was.attempt, passes[i], new_params, params[i]);
      new_params := params[i] || new_params;
      new_tags := new_tags || case when tags[i] ->> 'mlflow.runName' = '' then tags[i] - 'mlflow.runName' else tags[i] end;
    exception when others then
      if sqlstate not like 'WN%' then
        raise;
      end if;
      refusals[i] := sqlstate;
    end;
  end loop;
  if new_params <> '{}' or new_tags <> '{}' then
    update run r set
      params = case when new_params = '{}' then r.params else new_params || r.params end,
      name = coalesce(new_tags ->> 'mlflow.runName', r.name),
      tags = case when new_tags = '{}' then r.tags else r.tags || (new_tags - 'mlflow.runName') end
    where r.id = which;
  end if;
  return query select * from unnest(refusals);
end
$$;
