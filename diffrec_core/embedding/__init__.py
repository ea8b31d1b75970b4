"""Item embeddings: LightGCN on the two-way user-item graph, BPR, and k-means over them.

Source: He et al., "LightGCN", SIGIR 2020 (arXiv 2002.02126); Rendle et al., "BPR", UAI 2009.
Shapes: U users, I items, N = U + I nodes (users first), D embedding dimensions.
"""
