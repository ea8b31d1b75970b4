"""LightGCN: graph convolution on users and items (He et al., SIGIR 2020, arXiv 2002.02126)."""
