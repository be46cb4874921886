-- What a job's token may write is its run and what descends from it, so somebody has to know what descends from a run.

-- Is the run that one, or does its line of parents (the tag mlflow.parentRunId) lead there? Sixteen steps at most, since tags can form a
-- circle.
create function run_descends(descendant uuid, ancestor uuid) returns boolean language sql stable as $$
  with recursive line (id, step) as (
    select descendant, 0
    union all
    select case when r.tags ->> 'mlflow.parentRunId' ~ '^[0-9a-fA-F]{32}$' then (r.tags ->> 'mlflow.parentRunId')::uuid end, l.step + 1
    from line l join run r on r.id = l.id where l.id <> ancestor and l.step < 16)
  select exists (select from line where id = ancestor)
$$;

-- Does the token of this attempt of a run write nothing any more? Also when the run is gone.
create function attempt_is_over(job uuid, of_attempt int) returns boolean language sql stable as $$
  select not coalesce((select r.executor is null or r.attempt = of_attempt from run r where r.id = job), false)
$$;
