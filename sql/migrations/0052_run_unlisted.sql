-- Runs that no list of runs shows: those that stand for a sweep, and what is in the trash. They are few, and an experiment's run_count is what it has
-- without them. Who makes a run makes no entry here.
create index run_unlisted on run (experiment_id, kind) where kind = 1 or deleted_at is not null;
