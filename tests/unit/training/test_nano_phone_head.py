"""What the GPT is asked about phones while training."""

from __future__ import annotations

import numpy as np

from training.nano.phone_head import now_and_next


def test_every_code_has_its_phone_and_the_next_different_one() -> None:
    found = now_and_next(np.array([0, 0, 5, 5, 7, 0, 0]))
    assert found[:, 0].tolist() == [0, 0, 5, 5, 7, 0, 0]
    assert found[:, 1].tolist() == [5, 5, 7, 7, 0, 0, 0]


def test_one_code_is_enough() -> None:
    assert now_and_next(np.array([3])).tolist() == [[3, 0]]
