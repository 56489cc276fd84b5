"""The engine of every training: objective, step, schedule, loop, optimizer state."""
