-- An upload that replaces a file is renamed into its place, and then its row is written: who died in between left the bytes of one file with
-- the size and the digest of the other. Now it is announced first. What stands here when the service starts is looked at: if the file that
-- lies there is the announced one, its row follows; else it has never come.
create table artifact_coming (
  path text collate "C" primary key,
  size bigint not null,
  sha256 bytea not null check (length(sha256) = 32),
  created bigint not null
);
