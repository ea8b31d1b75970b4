"""Gaussian diffusion on vectors: schedule, process, timestep sampler and loss, apart.

Nothing here knows users, items or networks. Timesteps `t` are 0-based: t = 0 is the paper's
step 1, the least noisy one. Shapes: B rows, D dimensions, T steps.

Source: Wang et al., "Diffusion Recommender Model", SIGIR 2023 (arXiv 2304.04971), sections 2
and 3; Ho et al., "Denoising Diffusion Probabilistic Models", 2020 (arXiv 2006.11239).
"""
