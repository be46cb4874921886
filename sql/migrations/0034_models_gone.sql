-- What happened to a model could not be read any more once the model was deleted: whose events they are was told by its row.
create table model_gone (
  name text not null,
  created bigint not null,
  last_version integer not null,
  last_event bigint not null -- that it was deleted
);

create index model_gone_by_name on model_gone (name);
