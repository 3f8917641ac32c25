"""A language model on texts of a user's own."""
