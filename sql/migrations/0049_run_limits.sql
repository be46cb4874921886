-- A run is read and written as a whole, and there was no end to how many metrics, params and tags it could have: with enough of them nothing
-- could be told of it any more, nor stored.

-- Params (WN431) or tags (WN432) of a run as they are to be: themselves, or it raises, beyond 20,000 of them (none has less than nine bytes) or
-- 32 MiB. A run that has more already takes what does not give it more still.
create function run_words_fit(words jsonb, old jsonb, refusal text) returns jsonb language plpgsql as $$
declare
  bytes constant int := pg_column_size(words);
begin
  if bytes <= 180000 then
    return words;
  end if;
  if (bytes > 33554432 and bytes > pg_column_size(old || '{}'))
      or (select count(*) > greatest(20000, (select count(*) from jsonb_object_keys(old))) from jsonb_object_keys(words)) then
    raise exception 'the run has too many params or tags' using errcode = refusal;
  end if;
  return words;
end
$$;

-- Would a write with these keys give a run with these metrics more than it may have? None of what it has is refused, however many those are.
create function run_metrics_exceed(metrics jsonb, keys jsonb, most bigint) returns boolean language plpgsql immutable strict as $$
begin
  if pg_column_size(metrics) + pg_column_size(keys) <= most then -- a metric is some bytes
    return false;
  end if;
  return (select count(*) > most from jsonb_object_keys(metrics || keys)) and not metrics ?& array(select jsonb_object_keys(keys));
end
$$;

drop function run_write_many(uuid, jsonb[], jsonb[], int[], int[], int[], bytea[]);

create function run_write_many(which uuid, params jsonb[], tags jsonb[], passes int[], attempts int[], points int[], batches bytea[],
  keys jsonb[], most bigint)
returns table (tail_id bigint, tail_attempt int, tail_status smallint, refusal text) language plpgsql as $$
declare
  was record;
  new_params jsonb := '{}';
  new_tags jsonb := '{}';
  is_wide boolean;
  refusals text[] := array_fill(null::text, array[cardinality(passes)]);
begin
  -- || '{}': unpacked once, not by each who looks
  select r.deleted_at, r.executor, r.attempt, r.params || '{}' as params, r.tags || '{}' as tags, r.metrics into was
  from run r where r.id = which for no key update;
  if not found then
    return query select 0::bigint, 0, 1::smallint, 'WN404' from unnest(passes);
    return;
  end if;
  is_wide := pg_column_size(was.params) + pg_column_size(was.tags)
    + (select sum(pg_column_size(t.words)) from unnest(params || tags) t (words)) > 180000;
  for i in 1 .. cardinality(passes) loop
    begin
      perform run_takes(was.deleted_at, was.executor, was.attempt, passes[i], was.params, params[i]),
        run_takes(was.deleted_at, was.executor, was.attempt, passes[i], new_params, params[i]);
      if points[i] > 0 and attempts[i] > 0 and attempts[i] <> was.attempt then
        raise exception 'the attempt is over' using errcode = 'WN412';
      end if;
      if points[i] > 0 and run_metrics_exceed(was.metrics, keys[i], most) then
        raise exception 'the run has too many metrics' using errcode = 'WN430';
      end if;
      if is_wide and params[i] <> '{}' then
        perform run_words_fit(params[i] || new_params || was.params, was.params, 'WN431');
      end if;
      if is_wide and jsonb_strip_nulls(tags[i]) <> '{}' then
        perform run_words_fit(jsonb_strip_nulls(was.tags || new_tags || tags[i]) - 'mlflow.runName', was.tags, 'WN432');
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
