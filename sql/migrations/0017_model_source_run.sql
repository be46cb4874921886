-- The run that a logged model comes from is what the client says, known here or not: models of runs elsewhere are logged, too.

drop view logged_model_view;

alter table logged_model alter column source_run type text using replace(source_run::text, '-', '');

create view logged_model_view as
  select m.id, m.experiment_id, m.created, m.updated, m.status, m.source_run, m.name, m.model_type, m.status_message,
    coalesce(m.artifact_uri, e.artifact_location || '/models/m-' || replace(m.id::text, '-', '') || '/artifacts') as artifact_uri,
    m.params, m.tags,
    -- as MLflow shows them
    (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('key', x.key, 'value', x.value, 'timestamp', x.time, 'step', x.step,
       'model_id', 'm-' || replace(x.model::text, '-', ''), 'run_id', replace(x.run::text, '-', ''), 'dataset_name', x.dataset_name,
       'dataset_digest', x.dataset_digest)) order by x.time, x.step, x.key)
     from logged_model_metric x where x.model = m.id) as metrics,
    (select jsonb_agg(jsonb_build_object('name', r.name, 'version', v.version::text) order by r.name, v.version)
     from model_version v join registered_model r on r.id = v.model
     where v.model_id = 'm-' || replace(m.id::text, '-', '') and v.model_id <> '' and v.deleted_at is null) as registrations
  from logged_model m join experiment e on e.id = m.experiment_id
  where m.deleted_at is null;
