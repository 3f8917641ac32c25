"""Tables, pages and comparisons of records, whatever their track."""
