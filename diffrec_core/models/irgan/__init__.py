"""IRGAN: a generator and a discriminator of relevance (Wang et al., SIGIR 2017)."""
