"""Jobs of a Slurm cluster: submitted, found again, watched, and the worker that runs in each."""
