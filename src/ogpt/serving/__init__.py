"""Text over HTTP: the engine that batches requests from many clients."""
