"""The engine that every training shares: step, schedule, loop, checkpoint."""
