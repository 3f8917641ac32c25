"""Where the rows of a table run: in this process, on a Ray cluster, or as jobs of Slurm.

`base` is what the runner knows. `local` runs rows here; `remote` has them run elsewhere, and knows of that no more than
`pool` says: `ray` and `slurm` are two pools. `job` is what a worker is given and answers, `worker` what it does.
"""
