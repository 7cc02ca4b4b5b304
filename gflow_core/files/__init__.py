"""What lies on disk: whole files, locks, run folders, checkpoints, caches."""
