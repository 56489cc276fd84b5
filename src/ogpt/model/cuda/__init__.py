"""The CUDA decoder: static weights and cache, kernels, graphs, sampling."""
