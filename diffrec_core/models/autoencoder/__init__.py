"""Mult-VAE and Mult-DAE, autoencoders of histories (Liang et al., WWW 2018)."""
