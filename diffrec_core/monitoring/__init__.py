"""Is the nightly pipeline well? Pure checks of the data and of the champion."""
