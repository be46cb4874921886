-- What is asked of a sweep's normal form again and again stands beside it: taken out by the database whenever the normal form is written, so
-- that no reader parses all of it. Null where it cannot be read. Each of these functions is complete in itself: a restore has no search path.
create function spec_said(spec text, variadic path text[]) returns text language plpgsql immutable as $$
begin
  return spec::json #>> path;
exception when others then
  return null;
end
$$;

-- The names of the parameters in the order of the file; with each its declaration if an object is in it, whose order counts as well, else null.
create function params_order(spec text) returns text language plpgsql immutable as $$
begin
  return (
    select coalesce(json_object_agg(p.name, case when strpos(substr(p.declared::text, 2), '{') > 0 then p.declared end order by p.place), '{}')
    from json_each(spec::json -> 'parameters') with ordinality p (name, declared, place));
exception when others then
  return null;
end
$$;

alter table sweep
  add column params_order text generated always as (params_order(spec)) stored,
  add column metrics_from text generated always as (spec_said(spec, 'metrics_from')) stored,
  add column metric_name text generated always as (spec_said(spec, 'metric', 'name')) stored,
  add column metric_goal text generated always as (spec_said(spec, 'metric', 'goal')) stored;
