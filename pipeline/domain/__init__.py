"""What Gapwatch knows about brands, talk and time, free of Kafka, files and clocks.

Everything here is a function of its arguments: the same events in the same order give the same
answers, which is what makes a replay exact.
"""
