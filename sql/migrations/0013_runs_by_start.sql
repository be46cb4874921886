-- Runs come in the order of their start. An index that descends splits its first page in half for each new one and stays half empty; the same
-- rows ascending fill it, and are read backwards.
drop index run_by_start;
create index run_by_start on run (experiment_id, start_time, id desc);
