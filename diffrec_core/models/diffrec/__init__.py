"""DiffRec, L-DiffRec, T-DiffRec and LT-DiffRec: one implementation, two switches.

`latent` runs the diffusion on the codes of one variational autoencoder per item cluster (L-);
`recency` weights the histories (T-). Source: Wang et al., "Diffusion Recommender Model", SIGIR
2023 (arXiv 2304.04971), section 3.
"""
