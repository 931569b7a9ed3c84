"""JSON made to the shape of a record, and at times not quite to it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from hypothesis import strategies as st
from msgspec import inspect

from tests.unit.receivers.hostile import HOSTILE

JUNK: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.just([]), st.just({}), st.just([[[]]]),
)  # fmt: skip
"""Values of the wrong type."""

TEXTS: Final = st.one_of(
    st.text(max_size=60),
    st.sampled_from(HOSTILE),
    st.builds(
        lambda piece, times: piece * times,
        st.text(min_size=1, max_size=6),
        st.sampled_from([1, 2, 17, 300, 5_000]),
    ),
)
"""Words, what hostile authors write, and the same again and again."""

TIMES: Final = st.builds(
    lambda moment, zone: moment.isoformat() + zone,
    st.one_of(
        st.datetimes(datetime(2024, 1, 1), datetime(2027, 1, 1)),
        st.datetimes(),
        st.sampled_from([datetime.min, datetime.max, datetime(1970, 1, 1)]),
    ),
    st.sampled_from(["Z", "Z", "+23:59", "-23:59"]),
)
"""Times of our days, and of no day."""

_COUNTS: Final = st.one_of(
    st.integers(0, 300), st.integers(), st.sampled_from([2**31, 2**53, 2**63 - 1, 2**64, -1])
)
_OUR_COUNTS: Final = st.integers(0, 300) | st.integers(0, 10**9)
_OUR_NUMBERS: Final = st.floats(0, 1) | st.floats(0, 10**6)
_NUMBERS: Final = st.one_of(
    st.floats(0, 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1e-300, 1e300]),
)


def documents(
    kind: Any, *, counted: bool = False, **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[bytes]:
    """Encoded JSON in the shape of a type.

    Args:
        counted: Numbers are such as we count ourselves, none that only an enemy would write.
        fields: What fields of these names hold.
    """
    return _like(inspect.type_info(kind), fields, counted).map(encoded)


def encoded(value: Any) -> bytes:
    """As JSON; what UTF-8 cannot hold is escaped, and so are other things now and then."""
    return json.dumps(value, ensure_ascii=len(str(value)) % 2 == 0).encode("utf-8", "replace")


def _like(
    info: Any, given: dict[str, st.SearchStrategy[Any]], counted: bool
) -> st.SearchStrategy[Any]:
    """Values of a type; one in a few is of another."""

    def of(info: Any) -> st.SearchStrategy[Any]:
        return st.integers(0, 40).flatmap(lambda roll: JUNK if roll == 40 else true_to(info))

    def true_to(info: Any) -> st.SearchStrategy[Any]:
        match info:
            case inspect.StructType():
                return struct(info)
            case inspect.Metadata():
                return of(info.type)
            case inspect.StrType():
                return st.from_regex(info.pattern) | TEXTS if info.pattern else TEXTS
            case inspect.IntType():
                return _OUR_COUNTS if counted else _COUNTS
            case inspect.FloatType():
                return _OUR_NUMBERS if counted else _NUMBERS
            case inspect.BoolType():
                return st.booleans()
            case inspect.NoneType():
                return st.none()
            case inspect.DateTimeType():
                return TIMES
            case inspect.LiteralType():
                return st.sampled_from(info.values)
            case inspect.BytesType() | inspect.ByteArrayType():
                return st.text("ABCDabcd0123+/=", max_size=24)
            case inspect.ListType() | inspect.VarTupleType():
                return st.lists(of(info.item_type), max_size=4)
            case inspect.TupleType():
                return st.tuples(*map(of, info.item_types))
            case inspect.DictType():
                return st.dictionaries(keys(info.key_type), of(info.value_type), max_size=4)
            case inspect.UnionType():
                return st.one_of(*map(of, info.types))
            case _:
                return JUNK

    def keys(info: Any) -> st.SearchStrategy[str]:
        match info:
            case inspect.IntType():
                return st.integers(-1, 2**40).map(str)
            case inspect.LiteralType():
                return st.sampled_from(info.values)
            case _:
                return st.text(max_size=12)

    def struct(info: inspect.StructType) -> st.SearchStrategy[Any]:
        fields = {
            field.encode_name: given[field.name] if field.name in given else of(field.type)
            for field in info.fields
        }
        if info.array_like:
            head = [] if info.tag is None else [info.tag]
            return st.tuples(*fields.values()).map(lambda values: [*head, *values])
        needed = {field.encode_name for field in info.fields if field.required}
        tag = {} if info.tag is None else {info.tag_field: info.tag}
        return st.fixed_dictionaries(
            {name: value for name, value in fields.items() if name in needed},
            optional={name: value for name, value in fields.items() if name not in needed},
        ).map(lambda values: tag | values)

    return of(info)
