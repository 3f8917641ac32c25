"""Which methods are valid under partial observability, and what a learned state knows: computed, not sampled."""
