"""Alembic's entry point: one schema at a time, over the connection that `shared.store.migrate` hands in."""

from alembic import context

settings = context.config.attributes
context.configure(connection=settings["connection"], version_table_schema=settings["schema"])
with context.begin_transaction():
    context.run_migrations()
