-- Who made a report, so that the same one from another source of the trial is passed over after a restart too. Null: not known.
alter table report add column source bigint;
