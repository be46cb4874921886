-- Runs that are launched by themselves, the queue as people have changed it, and nodes.
--
-- single: the sweep is no sweep to people but one launched run. It has the run's id, no parent run, and is in no list; the run has neither
-- sweep_id nor trial. So a job by itself goes through the same rows, engine and queue as a trial.
alter table sweep add column single boolean not null default false;

alter table run
  add column held boolean not null default false, -- a person holds it back in the queue
  add column queue_priority bigint,               -- null: the sweep's
  add column queue_since bigint;                  -- its place in the queue is that of this time; null: when it was created

create table node (
  name text primary key,
  drained boolean not null,
  reason text,
  changed bigint not null,
  actor text not null
);
