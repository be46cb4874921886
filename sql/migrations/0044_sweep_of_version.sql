-- A version tells the sweep that its run is a trial of.
create or replace view model_version_view as
  select m.name, v.version, v.created, v.updated, v.stage, v.status, v.run_id, v.model_id, v.source, v.storage_location, v.kept_path,
    v.description, v.user_id, v.run_link, v.status_message, v.size, v.digest, v.tags, v.metrics,
    (select array_agg(a.alias order by a.alias) from model_alias a where a.model = v.model and a.version = v.version) as aliases,
    v.model as model_key,
    (select r.sweep_id from run r where r.id = case when v.run_id ~ '^[0-9a-f]{32}$' then v.run_id::uuid end) as sweep_id
  from model_version v join registered_model m on m.id = v.model
  where v.deleted_at is null;
