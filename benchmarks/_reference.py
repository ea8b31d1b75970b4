"""The numbers to compare with, on the paper's MovieLens-1M split."""

from typing import NamedTuple

SOURCES = """\
[1] Measured with the authors' code (github.com/YiyanXu/DiffRec, commit d35a6c6) and the settings
of their checkpoints on two CPU cores, at the best Recall@20 on `valid`. [2] Measured with that
formula or library on two CPU cores. [3] As published, not measured again: the paper (arXiv
2304.04971), issue 13 of the authors' repository, the read-me of GiffCF."""


class Reference(NamedTuple):
    """One row: `what` says which settings and names its source in brackets, `fit` is seconds."""

    protocol: str
    model: str
    what: str
    recall_10: float | None
    recall_20: float
    ndcg_10: float | None
    ndcg_20: float | None
    fit: str = ""


REFERENCES = (
    Reference("A", "popularity", "measured [2]", 0.0535, 0.0993, 0.0587, 0.0721),
    Reference("A", "PureSVD", "20 factors [2]", 0.0945, 0.1624, 0.0826, 0.1056, "0.6"),
    Reference("A", "gf_cf", "α .1, 128 [2]", 0.0957, 0.1625, 0.0844, 0.1062),
    Reference("A", "ials", "64 factors [2]", 0.0963, 0.1654, 0.0819, 0.1062, "2.4"),
    Reference("A", "item_knn", "cosine, k 100 [2]", 0.1021, 0.1702, 0.0905, 0.1135, "0.2"),
    Reference("A", "t_item_knn", "linear from 0 to 1 [2]", 0.1222, 0.2021, 0.1078, 0.1354),
    Reference("A", "rp3beta", "α .8, β .6 [2]", 0.0996, 0.1663, 0.0884, 0.1101, "0.3"),
    Reference("A", "mult_vae", "paper [3]", 0.1007, 0.1726, 0.0825, 0.1076),
    Reference("A", "GiffCF", "its read-me [3]", 0.1308, 0.2024, 0.1002, 0.1272),
    Reference("A", "ease", "λ 1000 [2]", 0.1066, 0.1816, 0.0910, 0.1165, "2.1"),
    Reference("A", "t_ease", "linear from 0 to 1 [2]", 0.1345, 0.2202, 0.1172, 0.1471),
    Reference("A", "t_ease", "half-life 5 [2]", 0.1574, 0.2480, 0.1506, 0.1787),
    Reference("A", "lightgcn", "RecBole, 30 epochs [2]", None, 0.1373, None, None, "756"),
    Reference("A", "diffrec", "authors' code, 3 seeds [1]", 0.1004, 0.1702, 0.0862, 0.1098),
    Reference("A", "diffrec", "paper [3]", 0.1058, 0.1787, 0.0901, 0.1148),
    Reference("A", "t_diffrec", "authors' code [1]", 0.1227, 0.1988, 0.1028, 0.1292),
    Reference("A", "l_diffrec", "authors' code [1]", 0.0913, 0.1587, 0.0799, 0.1030),
    Reference("A", "l_diffrec", "T 100, issue 13 [3]", 0.0981, 0.1730, 0.0825, 0.1085),
    Reference("A", "lt_diffrec", "authors' code [1]", 0.1084, 0.1830, 0.0926, 0.1187),
    Reference("C", "popularity", "measured [2]", 0.0422, 0.0820, 0.0761, 0.0842),
    Reference("C", "ease", "λ 1000 [2]", 0.0847, 0.1473, 0.1102, 0.1273, "2.1"),
    Reference("C", "t_ease", "linear from 0 to 1 [2]", 0.1018, 0.1714, 0.1271, 0.1468),
    Reference("C", "t_ease", "half-life 3 [2]", 0.1214, 0.1925, 0.1604, 0.1752),
)
