"""SASRec: self-attention over the sequence of a user's items (Kang and McAuley, ICDM 2018)."""
