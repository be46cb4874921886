-- Where the files of a version lie of which a copy is yet to be made: what a stop or a kill interrupts, the next start goes on with.
alter table model_version add column keep_from text;
create index model_version_to_keep on model_version (model, version) where keep_from is not null and deleted_at is null;

-- A tag is a text: MLflow's clients take no number.
update model_version set tags = jsonb_set(tags, '{winnow.trial}', to_jsonb(tags ->> 'winnow.trial')) where jsonb_typeof(tags -> 'winnow.trial') = 'number';
