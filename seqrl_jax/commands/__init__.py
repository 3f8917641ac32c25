"""What each command of `seqrl` does, from its parsed options."""
