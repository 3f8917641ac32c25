"""The kinds of tables: what a cell of each is, how a row is run, what its columns mean."""
