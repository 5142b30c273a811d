"""The worker: one for each Hydra job, with its queue and the training processes it supervises."""
