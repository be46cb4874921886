CREATE SCHEMA winnow;

CREATE TABLE winnow.migration (
    name text NOT NULL,
    sha256 text NOT NULL,
    winnow text NOT NULL,
    applied timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE winnow.service_epoch (
    epoch bigint NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    data_dir text NOT NULL,
    started timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended timestamp with time zone
);

ALTER TABLE winnow.service_epoch ALTER COLUMN epoch ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME winnow.service_epoch_epoch_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE winnow.token (
    id uuid NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created timestamp with time zone DEFAULT now() NOT NULL,
    expires timestamp with time zone,
    revoked timestamp with time zone,
    last_used timestamp with time zone,
    CONSTRAINT token_hash_check CHECK ((length(hash) = 32))
);

ALTER TABLE ONLY winnow.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (name);

ALTER TABLE ONLY winnow.service_epoch
    ADD CONSTRAINT service_epoch_pkey PRIMARY KEY (epoch);

ALTER TABLE ONLY winnow.token
    ADD CONSTRAINT token_hash_key UNIQUE (hash);

ALTER TABLE ONLY winnow.token
    ADD CONSTRAINT token_pkey PRIMARY KEY (id);
