"""What identity keeps in PostgreSQL: each module its tables, with what writes and what reads them."""
