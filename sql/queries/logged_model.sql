-- Logged models. One as it is read has the columns of logged_model_view, in its order:
-- id, experiment, created, updated, status, source run, name, type, status message, artifact URI, params, tags, metrics, registrations.

-- What writes one takes at its end who asks, for logged_model_allow(): it raises what forbids the write.

-- name: logged_model_create (uuid, int8, int8, text, text, text, jsonb, jsonb, uuid, int4) -> (text, bool) repeatable
-- Id, experiment, now, name, type, source run or null, params, tags, who asks. The experiment's location and whether it is deleted; no row: there is none.
with e as (select id, artifact_location, deleted_at is not null as deleted from experiment where id = $2),
made as (
  insert into logged_model (id, experiment_id, created, updated, name, model_type, source_run, params, tags)
  select $1, e.id, $3, $3, $4, $5, $6, $7, $8 from e where not e.deleted and logged_model_allow($6, $9, $10)
  on conflict (id) do nothing returning 1)
select artifact_location, deleted from e;

-- name: logged_model_get (uuid)
--   -> (uuid, int8, int8, int8, int2, text, text, text, text, text, jsonb, jsonb, jsonb, jsonb) repeatable
select * from logged_model_view where id = $1;

-- name: logged_model_search (text, text[], int8[], float8[], uuid[])
--   -> (uuid, int8, int8, int8, int2, text, text, text, text, text, jsonb, jsonb, jsonb, jsonb, text[]) repeatable
select m.*, f.page_key
from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
cross join lateral (select * from logged_model_view x where x.id = f.id offset 0) m
order by f.place;

-- name: logged_model_page (text, text[], int8[], float8[], uuid[], int8)
--   -> (uuid, int8, int8, int8, int2, text, text, text, text, text, jsonb, jsonb, jsonb, jsonb, text[], bool, uuid, int8, int4) repeatable
-- In one piece: as run_page, but of the models beyond everything is null. A metric is written in some 256 bytes.
with f as (
  select f.*, sum(w.weight) over (order by f.place rows unbounded preceding) <= $6 as fits
  from find_rows($1, $2, $3, $4, $5) with ordinality f (id, n, v, page_key, place)
  cross join lateral (
    select weight_of(x.params) + weight_of(x.tags) + 256 * (select count(*) from logged_model_metric y where y.model = x.id) as weight
    from logged_model x where x.id = f.id and x.deleted_at is null offset 0) w)
select m.*, f.page_key, f.fits, f.id, f.n, f.v
from f left join lateral (select * from logged_model_view x where x.id = f.id and f.fits offset 0) m on true
order by f.place;

-- name: logged_model_finish (uuid, int2, int8, uuid, int4) -> (uuid)
update logged_model set status = $2, updated = $3
where id = $1 and deleted_at is null and logged_model_allow(source_run, $4, $5) returning id;

-- name: logged_model_delete (uuid, int8, uuid, int4) -> (uuid)
-- One that is in the trash stays as it is: who asks again, having heard no answer, is told the same.
update logged_model set deleted_at = coalesce(deleted_at, $2), updated = case when deleted_at is null then $2 else updated end
where id = $1 and logged_model_allow(source_run, $3, $4) returning id;

-- name: logged_model_set_tags (uuid, jsonb, int8, uuid, int4) -> (uuid)
update logged_model set tags = tags || $2, updated = $3
where id = $1 and deleted_at is null and logged_model_allow(source_run, $4, $5) returning id;

-- name: logged_model_delete_tag (uuid, text, uuid, int4) -> (bool)
-- Whether the tag was there; no row: there is no such model.
with m as (
  select id, tags ? $2 as had from logged_model where id = $1 and deleted_at is null and logged_model_allow(source_run, $3, $4) for update),
done as (update logged_model x set tags = x.tags - $2 from m where x.id = m.id and m.had returning 1)
select had from m;

-- name: logged_model_add_params (uuid, jsonb, uuid, int4) -> (bool)
-- Whether they were added: false when one has another value. No row: there is no such model.
with m as (
  select id, not exists (select from jsonb_each_text($2) p where params ? p.key and params ->> p.key <> p.value) as fits
  from logged_model where id = $1 and deleted_at is null and logged_model_allow(source_run, $3, $4) for update),
done as (update logged_model x set params = x.params || $2 from m where x.id = m.id and m.fits returning 1)
select fits from m;

-- name: logged_model_add_metric (uuid, uuid, int8, int8, float8, text, text, text, uuid, int4) -> ()
-- Model, run, step, time, value, key, dataset's name and digest. The same again is nothing new.
insert into logged_model_metric (model, run, step, time, value, key, dataset_name, dataset_digest)
select $1, $2, $3, $4, $5, $6, $7, $8 where logged_model_allow((select source_run from logged_model where id = $1), $9, $10)
on conflict do nothing;

-- name: logged_model_registered (uuid, text, int4, int8) -> (uuid)
-- Notes a version of the registry in the tag mlflow.modelVersions.
update logged_model set updated = $4, tags = tags || jsonb_build_object('mlflow.modelVersions',
  (coalesce(nullif(tags ->> 'mlflow.modelVersions', ''), '[]')::jsonb || jsonb_build_array(jsonb_build_object('name', $2, 'version', $3)))::text)
where id = $1 and deleted_at is null returning id;
