"""What is kept of a run, where it comes from, and what numbers it supports."""
