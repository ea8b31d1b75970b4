"""The steps: each reads its section of params.yaml and its inputs, calls the library, writes."""

import os

# Threads of torch that wait for each other sleep instead of spinning: with anything else running
# on the machine, spinning makes small matrix products several times slower. It has to be set
# before torch is loaded, hence here; it does not change results.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
