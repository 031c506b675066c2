"""The store on a PostgreSQL server with pgvector, for many machines: the only files that import its client."""
