from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deployments.voices.profile import VoiceProfile, split_key, voice_key

SHA = "ab" * 32
ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float16, np.float64, np.int64, np.int32, np.uint8, np.bool_, ">f4"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


@pytest.mark.slow
@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name != "__metadata__"), ARRAYS, min_size=1))
def test_bytes_and_pickles_keep_everything(arrays: dict[str, np.ndarray]) -> None:
    try:
        profile = VoiceProfile(arrays, voice_key(SHA, "m", "1"))
        copies = [
            VoiceProfile.from_bytes(profile.to_bytes(), profile.key),
            pickle.loads(pickle.dumps(profile)),
        ]
    except UnicodeEncodeError:
        return
    for copy in copies:
        assert copy.key == profile.key
        assert copy.nbytes == profile.nbytes == sum(array.nbytes for array in arrays.values())
        assert set(copy.arrays) == set(arrays)
        for name, array in arrays.items():
            assert copy[name].shape == array.shape
            np.testing.assert_array_equal(copy[name], array)
            assert not copy[name].flags.writeable


def test_layout_and_protection() -> None:
    source = np.arange(6, dtype=np.float32).reshape(2, 3)
    profile = VoiceProfile({"turned": source.T, "plain": source})
    assert profile["turned"].flags.c_contiguous
    np.testing.assert_array_equal(VoiceProfile.from_bytes(profile.to_bytes(), "")["turned"], source.T)
    assert np.shares_memory(profile["plain"], source)
    with pytest.raises(ValueError, match="read-only"):
        profile["plain"][0, 0] = 1
    source[0, 0] = 7  # the owner's array stays writable
    with pytest.raises(KeyError, match=r"only \['plain', 'turned'\]"):
        profile["other"]
    assert "plain" in profile
    assert "other" not in profile


@pytest.mark.parametrize(
    "arrays", [{}, {"": np.zeros(1)}, {"__metadata__": np.zeros(1)}, {"a": np.array(["x"])}]
)
def test_impossible_profiles(arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="profile"):
        VoiceProfile(arrays)


@given(st.binary(max_size=200))
def test_damaged_bytes(data: bytes) -> None:
    with pytest.raises(ValueError, match="profile"):
        VoiceProfile.from_bytes(data, "")


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=2, max_size=2, unique=True))
def test_keys_differ_with_their_inputs(makers: list[tuple[str, str, str]]) -> None:
    first, second = (voice_key(SHA, *made_by) for made_by in makers)
    assert first != second
    assert split_key(first)[0] == split_key(second)[0] == SHA
    assert first != voice_key("cd" * 32, *makers[0])


@pytest.mark.parametrize("key", ["", SHA, f"{SHA}-", f"../{SHA}-{'0' * 32}", f"{SHA}-{'0' * 32}\n"])
def test_malformed_keys(key: str) -> None:
    with pytest.raises(ValueError, match="not a voice key"):
        split_key(key)
