"""The lecture's statements as measured facts."""
