"""The classifier: six labels of a social post, from normalisation to calibrated probabilities."""
