"""`c360 lake`: what the customer log holds as Parquet tables of a data lake, each row exactly once, and the erased taken out again."""
