-- Ask and tell, and what a trial's point was made from.
--
-- lease_until was never written (leases count the service's time, not the wall's), and asked said too little to make a point again.
alter table run
  drop column lease_until,
  drop column asked,
  add column lease_ms bigint,   -- how long a worker may be silent, as it asked for; null: the sweep's own
  add column coords bytea,      -- the trial's values as doubles, in the order of the space: read at a start
  add column made_by smallint,  -- the method (enum sampler_type), -1: a person
  add column made_tells int,    -- how many results it knew
  add column made_pending int,  -- how many trials were pending
  add column at_tells int;      -- how many results there were when the trial was added: a point may have been thought of before

-- The results of other sweeps and runs that a sweep started from: value and point of each, as doubles.
alter table sweep add column prior bytea;
