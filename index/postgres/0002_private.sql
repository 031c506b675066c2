-- A source may be for some groups alone.

ALTER TABLE source ADD access text[] NOT NULL DEFAULT '{}';  -- those groups, in order; empty: everybody
DELETE FROM job;                                             -- what is read again says whose it is
