-- Calls that hold params or tags and points at once share a statement as those of params and tags alone do, each whole or not at all; so do
-- those that remove tags.

drop function run_write_many(uuid, jsonb[], jsonb[], int[]);

create function run_write_many(which uuid, params jsonb[], tags jsonb[], passes int[], attempts int[], points int[], batches bytea[])
returns table (tail_id bigint, tail_attempt int, tail_status smallint, refusal text) language plpgsql as $$
declare
  was record;
  new_params jsonb := '{}';
  new_tags jsonb := '{}';
  refusals text[] := array_fill(null::text, array[cardinality(passes)]);
begin
  -- || '{}': unpacked once, not by each who looks
  select r.deleted_at, r.executor, r.attempt, r.params || '{}' as params into was from run r where r.id = which for no key update;
  if not found then
    return query select 0::bigint, 0, 1::smallint, 'WN404' from unnest(passes);
    return;
  end if;
  for i in 1 .. cardinality(passes) loop
    begin
      perform run_takes(was.deleted_at, was.executor, was.attempt, passes[i], was.params, params[i]),
        run_takes(was.deleted_at, was.executor, was.attempt, passes[i], new_params, params[i]);
      if points[i] > 0 and attempts[i] > 0 and attempts[i] <> was.attempt then
        raise exception 'the attempt is over' using errcode = 'WN412';
      end if;
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
      name = case when new_tags -> 'mlflow.runName' = 'null' then '' else coalesce(new_tags ->> 'mlflow.runName', r.name) end,
      tags = case when new_tags = '{}' then r.tags else jsonb_strip_nulls(r.tags || (new_tags - 'mlflow.runName')) end
    where r.id = which;
  end if;
  return query
    with given as (
      select t.place, t.points, t.data, t.refused, case when t.attempt <= 0 then was.attempt else t.attempt end as attempt,
        case when t.points > 0 and t.refused is null then nextval('metric_tail_id') end as id
      from unnest(attempts, points, batches, refusals) with ordinality t (attempt, points, data, refused, place)),
    added as (
      insert into metric_tail (run, id, attempt, points, data)
      select which, g.id, g.attempt, g.points, g.data from given g where g.id is not null)
    select coalesce(g.id, 0), g.attempt, case when g.refused is null then 0 else 5 end::smallint, g.refused from given g order by g.place;
end
$$;

-- A logged model is written by who may write the run that made it, however its id is spelled. `pass` is the caller's for the run `caller`; of
-- others it has none.
create function logged_model_allow(source_run text, caller uuid, pass int) returns boolean language plpgsql as $$
declare
  digits text := replace(source_run, '-', '');
begin
  if pass >= 0 and digits ~ '^[0-9a-fA-F]{32}$' then
    perform run_allow(r.executor, r.attempt, case when r.id = caller then pass else 0 end) from run r where r.id = digits::uuid;
  end if;
  return true;
end
$$;
