-- A passage is numbered by its row: the number of its source, and 20 bits for its place there. A source that changes
-- gets another number, so what stands under a number never changes; it is there, or it is not.

CREATE TABLE holdings (
    here boolean PRIMARY KEY DEFAULT true CHECK (here),  -- one line
    model text NOT NULL,
    dimension integer NOT NULL,
    generation bigint NOT NULL DEFAULT 0,                -- counts the changes
    changed timestamptz NOT NULL DEFAULT now(),
    sources bigint NOT NULL DEFAULT 0,
    turns bigint NOT NULL DEFAULT 0,
    passages bigint NOT NULL DEFAULT 0,
    sentences bigint NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0                     -- terms of all passages, each time they are there
) WITH (fillfactor = 50);

CREATE SEQUENCE source_number;

CREATE TABLE source (
    number bigint PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    root text NOT NULL,
    path text NOT NULL,
    digest text NOT NULL,
    title text NOT NULL,
    kind text NOT NULL,
    url text,
    date text,
    people json NOT NULL,
    warnings json NOT NULL,
    naming json NOT NULL,                                -- the names that the document uses, with their turns
    canonical json NOT NULL,                             -- whose names they are
    turns integer NOT NULL,
    passages integer NOT NULL,
    seconds float8,                                      -- from the first words to the last, null without a clock
    sentences integer NOT NULL,
    tokens bigint NOT NULL,
    format integer NOT NULL                              -- which On Record read it: another reads it again
);

CREATE TABLE turn (
    source bigint NOT NULL,
    number integer NOT NULL,
    name text,                                           -- as the document has it
    speaker text,
    text text NOT NULL,
    cues json NOT NULL,
    attribution text NOT NULL,
    heading json NOT NULL,
    note text NOT NULL,
    PRIMARY KEY (source, number)
);

CREATE TABLE passage (
    row bigint,
    id text NOT NULL,
    words integer NOT NULL,
    middle float8 NOT NULL,                              -- position of the middle word in the source
    sentences integer[] NOT NULL,                        -- turn, begin and end of each
    digest uuid NOT NULL,
    vector halfvec({dimension}) NOT NULL,
    sentence_vectors bytea NOT NULL,                     -- int8, one row for each sentence
    PRIMARY KEY (row) INCLUDE (words, middle)            -- where the hundreds that a search finds stand
);
ALTER TABLE passage ALTER sentence_vectors SET STORAGE EXTERNAL;
CREATE INDEX passage_digest ON passage (digest);
CREATE INDEX passage_vector ON passage USING hnsw (vector halfvec_ip_ops);

CREATE TABLE speaker (
    name text COLLATE "C" PRIMARY KEY,
    aliases json NOT NULL,
    roles json NOT NULL
);

CREATE TABLE spoken (
    speaker text COLLATE "C" NOT NULL,
    row bigint NOT NULL,
    words integer NOT NULL,
    PRIMARY KEY (speaker, row) INCLUDE (words)
);
CREATE INDEX spoken_row ON spoken (row);

CREATE TABLE term (
    term text COLLATE "C" PRIMARY KEY,
    passages bigint NOT NULL
) WITH (fillfactor = 70);

-- For each term and block of 256 rows, three bytes for each passage that has the term. All of a term is read from the
-- index, in which it lies together: from the table, a page for each block.
CREATE TABLE posting (
    term text COLLATE "C" NOT NULL,
    block bigint NOT NULL,
    entries bytea NOT NULL
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX posting_term ON posting (term, block) INCLUDE (entries);
CREATE INDEX posting_block ON posting (block);

-- What ingests have to do, a line for each source: write it, write it again under other names, or remove it.
CREATE TABLE job (
    source_id text COLLATE "C" PRIMARY KEY,
    work text NOT NULL CHECK (work IN ('write', 'rename', 'remove')),
    root text NOT NULL,
    path text NOT NULL,
    digest text NOT NULL DEFAULT '',
    document json,                                       -- what is to be written, as it was read
    naming json,
    canonical json,                                      -- null until the names of all documents are settled
    worker text,
    lease timestamptz
);
CREATE INDEX job_file ON job (root, path);
CREATE INDEX source_file ON source (root, path);
