"""One readable loop: options, stages, optimisers, schedules, checkpoints and the run folder."""
