"""A bundled day of posts about three invented rival food-box companies, to try Gapwatch on.

`sample_day` gives the events, `sample_brands_path` the brands they are about, `incidents` what
happens in the day. The texts are written for the purpose and labelled by hand.
"""

from pipeline.sample.incidents import Incident, incidents
from pipeline.sample.stream import labelled_day, sample_day
from pipeline.sample.texts import SampleText, load_texts, sample_brands_path

__all__ = [
    "Incident",
    "SampleText",
    "incidents",
    "labelled_day",
    "load_texts",
    "sample_brands_path",
    "sample_day",
]
