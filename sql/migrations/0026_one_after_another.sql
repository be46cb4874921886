-- Changes of one model, or of an experiment and its runs, come one after another. A single statement sees what was there when it began, also
-- after it has waited for another change: two versions moved to a stage at once both stayed there, an alias outlived its version, a run was
-- made in an experiment that was just deleted. In a function each statement sees what is there by then.

create function model_lock(which text) returns bigint language sql as $$
  select id from registered_model where name = which for no key update
$$;

-- The version, if there is one. Stages are 0 None, 1 Staging, 2 Production, 3 Archived.
create function version_to_stage(which text, number int, to_stage smallint, archive_others boolean, at bigint, who text) returns setof int
language plpgsql as $$
declare
  held bigint := model_lock(which);
  names constant text[] := array['None', 'Staging', 'Production', 'Archived'];
  was smallint;
begin
  select v.stage into was from model_version v where v.model = held and v.version = number and v.deleted_at is null;
  if not found then
    return;
  end if;
  update model_version v set stage = to_stage, updated = at where v.model = held and v.version = number;
  if archive_others then
    with others as (
      update model_version v set stage = 3, updated = at
      where v.model = held and v.version <> number and v.stage = to_stage and v.deleted_at is null returning v.version)
    insert into event (time, kind, actor, subject, from_state, to_state)
    select at, 'model.stage', who, which || '/' || o.version, names[to_stage + 1], names[4] from others o order by o.version;
  end if;
  update registered_model m set updated = at where m.id = held;
  insert into event (time, kind, actor, subject, from_state, to_state)
  values (at, 'model.stage', who, which || '/' || number, names[was + 1], names[to_stage + 1]);
  return next number;
end
$$;

-- The version, and where our own copy of it lies.
create function version_remove(which text, inout number int, at bigint, who text, out kept text) returns setof record
language plpgsql as $$
declare
  held bigint := model_lock(which);
begin
  update model_version v set deleted_at = at, updated = at where v.model = held and v.version = number and v.deleted_at is null
  returning v.kept_path into kept;
  if not found then
    return;
  end if;
  delete from model_alias a where a.model = held and a.version = number;
  update registered_model m set updated = at where m.id = held;
  insert into event (time, kind, actor, subject) values (at, 'model.deleted', who, which || '/' || number);
  return next;
end
$$;

-- The version, if there is one. An alias is no change of the model's: `updated` stays.
create function alias_to_version(which text, name_of text, number int, at bigint, who text) returns setof int language plpgsql as $$
declare
  held bigint := model_lock(which);
  was int;
begin
  perform from model_version v where v.model = held and v.version = number and v.deleted_at is null;
  if not found then
    return;
  end if;
  select a.version into was from model_alias a where a.model = held and a.alias = name_of;
  insert into model_alias (model, alias, version) values (held, name_of, number)
  on conflict (model, alias) do update set version = excluded.version;
  insert into event (time, kind, actor, subject, from_state, to_state, reason)
  values (at, 'model.alias', who, which || '/' || number, was::text, number::text, name_of);
  return next number;
end
$$;

-- With its active runs. Who makes a run holds the experiment's row until the run is there; it waits only while those are taken along that came
-- in between, not for all. Foreign keys, as a sweep's transaction has them, wait for none of that.
create function experiment_remove(which bigint, at bigint) returns setof bigint language plpgsql as $$
begin
  perform from experiment e where e.id = which and e.deleted_at is null;
  if not found then
    return;
  end if;
  update run r set deleted_at = at where r.experiment_id = which and r.deleted_at is null;
  perform from experiment e where e.id = which and e.deleted_at is null for no key update;
  if not found then
    return;
  end if;
  update run r set deleted_at = at where r.experiment_id = which and r.deleted_at is null;
  update experiment e set deleted_at = at, updated = at where e.id = which;
  return next which;
end
$$;
