"""The store in PostgreSQL with pgvector, for several machines: the only files that import psycopg and pgvector."""

from __future__ import annotations

from importlib.util import find_spec

from index.errors import StoreError

if missing := [name for name in ("psycopg", "psycopg_pool", "pgvector") if find_spec(name) is None]:
    raise StoreError(f"an index in PostgreSQL needs {' and '.join(missing)}: pip install 'onrecord[postgres]'")
