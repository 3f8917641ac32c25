"""Running what is missing of a table, chunk by chunk. Knows no track by name."""
