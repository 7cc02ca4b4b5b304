"""What turns a loss into a step: optimizers, schedules, players, averages, replicas."""
