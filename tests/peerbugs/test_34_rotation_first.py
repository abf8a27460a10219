"""Old checkpoints that go before the new one is known to be good may leave none.

Peers: SimpleTuner#2989 (a limit of 0 deleted all), transformers#25136 (rotation first), #27138 and
#37260 (order by the clock: the newest was deleted), unsloth-zoo#782.
"""

import os

import pytest
from tests.checkpoint.trial import every_cut, save, shown, steps

from chiasm.base import files
from chiasm.checkpoint.state import latest_state
from chiasm.checkpoint.weights import CheckpointError


@pytest.mark.parametrize("keep", [1, 3])
def test_never_fewer_than_keep_verify(tmp_path, keep):
    root = tmp_path / "root"
    for step in range(1, keep + 1):
        save(root, step, keep=keep)
    for cut in every_cut(root, lambda: save(root, keep + 1, keep=keep)):
        assert cut.whole >= keep, cut


def test_a_new_one_that_does_not_verify_removes_nothing(tmp_path, monkeypatch):
    save(tmp_path, 1, keep=1)
    plain = files.Disk.append

    def lies(disk, descriptor, data):
        plain(disk, descriptor, bytes(len(data)))

    monkeypatch.setattr(files.Disk, "append", lies)
    with pytest.raises(CheckpointError):
        save(tmp_path, 2, keep=1)
    assert shown(latest_state(tmp_path, [].append)) == 1


def test_a_limit_of_none_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(ValueError, match="at least 1"):
        save(tmp_path, 2, keep=0)
    assert steps(tmp_path) == ["step-000001"]


def test_the_order_is_the_steps_not_the_clocks(tmp_path):
    for step in (8, 9, 10):
        os.utime(save(tmp_path, step, keep=9), (0, 10**9 - step))
    save(tmp_path, 11, keep=2)
    assert steps(tmp_path) == ["step-000010", "step-000011"]
