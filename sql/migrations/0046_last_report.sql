-- What a trial reported last of the goal, and at which step, where its value is something else: its best report, or a mean of several.
alter table run add column last_value double precision, add column last_step bigint;
