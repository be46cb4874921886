-- The ground: which services have been active on this database, and the credentials it accepts.
-- The schema `winnow` and the table of migrations are made before the first migration, by storage/migrate.c.

-- One row for every time a service became the active one. The newest epoch is the one whose writes count.
create table service_epoch (
  epoch bigint generated always as identity primary key,
  host text not null,
  pid int not null,
  data_dir text not null,
  started timestamptz not null default clock_timestamp(),
  ended timestamptz
);

-- A token is shown once; what is kept is the SHA-256 of its text.
create table token (
  id uuid primary key,
  name text not null,
  hash bytea not null unique check (length(hash) = 32),
  scopes text[] not null,
  created timestamptz not null default now(),
  expires timestamptz,
  revoked timestamptz,
  last_used timestamptz
);
