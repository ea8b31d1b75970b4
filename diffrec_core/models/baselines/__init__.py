"""Models to beat: cheap, strong, and under the same contract as every other."""
