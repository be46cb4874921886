-- What lies below a location: a query or a fragment stays at the end of a URI, and one slash stands between: of "mlflow-artifacts:/" and a
-- run's id a host was made, "mlflow-artifacts://<id>", so that the files of all its runs lay in one place. Of a location without a scheme
-- everything is a path.
create function uri_below(location text, rest text) returns text language sql immutable parallel safe as $$
  select case when location ~ '^[[:alpha:]][[:alnum:]+.-]*:.*[?#]' then regexp_replace(location, '/*(?=[?#])', '/' || rest)
    else rtrim(location, '/') || '/' || rest end
$$;

-- A run as it is read.
create or replace view run_view as
  select r.id, r.experiment_id, r.start_time, r.created, r.end_time, r.deleted_at, r.heartbeat, r.attempt, r.state, r.kind, r.has_links, r.slots,
    r.exit_code, r.signal, r.trial, r.sweep_id, r.name, r.user_id,
    coalesce(r.artifact_uri, uri_below(e.artifact_location, replace(r.id::text, '-', '') || '/artifacts')) as artifact_uri,
    r.executor, r.node, r.state_reason, r.command, r.params, r.tags, r.metrics,
    -- as MLflow shows them
    case when r.has_links then (
      select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'tags', (select jsonb_agg(jsonb_build_object('key', t.key, 'value', t.value)) from jsonb_each_text(x.tags) t),
        'dataset', jsonb_build_object('name', d.name, 'digest', d.digest, 'source_type', d.source_type, 'source', d.source,
          'schema', d.schema, 'profile', d.profile))) order by x.position)
      from run_dataset x join dataset d on d.id = x.dataset where x.run = r.id) end as dataset_inputs,
    case when r.has_links then (
      select jsonb_agg(jsonb_build_object('model_id', 'm-' || replace(x.model::text, '-', '')) order by x.position)
      from run_model x where x.run = r.id and not x.made) end as model_inputs,
    case when r.has_links then (
      select jsonb_agg(jsonb_build_object('model_id', 'm-' || replace(x.model::text, '-', ''), 'step', x.step) order by x.position)
      from run_model x where x.run = r.id and x.made) end as model_outputs
  from run r join experiment e on e.id = r.experiment_id;

create or replace view logged_model_view as
  select m.id, m.experiment_id, m.created, m.updated, m.status, m.source_run, m.name, m.model_type, m.status_message,
    coalesce(m.artifact_uri, uri_below(e.artifact_location, 'models/m-' || replace(m.id::text, '-', '') || '/artifacts')) as artifact_uri,
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
