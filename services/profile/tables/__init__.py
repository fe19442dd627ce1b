"""What profile keeps in PostgreSQL besides its log: each module its tables, with what writes and what reads them."""
