-- Ask and tell: how long a worker may be silent, as it asked for.
--
-- lease_until was never written: leases count the service's time, not the wall's.
alter table run
  drop column lease_until,
  add column lease_ms bigint; -- null: the sweep's own
