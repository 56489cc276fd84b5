"""Read and write weights files as named numpy arrays; no framework is needed."""
