-- A sampler learns how a trial ended the first time; what a person's retry makes of it changes nothing for it. After a start it was told the
-- later end instead, with the later reports, so the next points were others. What it was told is kept now, of trials that were tried again.
create table run_first_end (
  run uuid primary key references run on delete cascade,
  state smallint not null,
  value double precision,
  value_step bigint not null,
  reports bigint not null -- of the sweep: those below this number came before
);
