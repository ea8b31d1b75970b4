"""Autoencoders of histories with a multinomial likelihood: what Mult-VAE and Mult-DAE share."""
