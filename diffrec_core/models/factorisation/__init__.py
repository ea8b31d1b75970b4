"""Matrix factorisation: iALS and BPR-MF, with users folded in from their histories."""
