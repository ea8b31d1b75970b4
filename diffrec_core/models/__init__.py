"""The models: diffusion or not, latent or not, one contract (`base.Recommender`)."""
