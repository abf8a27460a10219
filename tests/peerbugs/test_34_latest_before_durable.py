"""A checkpoint that gets its name before its bytes are on the disk is empty after a power cut.

Peers: KempnerForge#102 (`latest` moved before the data was durable, the one before deleted). Here
the name is the pointer: a folder called step-N is latest by being there.
"""

import pytest
from tests.base.power_cut import Recorder
from tests.checkpoint.trial import every_cut, save

from chiasm.base import files


@pytest.mark.parametrize("keep", [1, 2])
def test_what_bears_a_checkpoints_name_is_durable(tmp_path, keep):
    root = tmp_path / "root"
    for step in (1, 2):
        save(root, step, keep=keep)
    for cut in every_cut(root, lambda: save(root, 3, keep=keep)):
        assert cut.damaged == 0 and cut.whole >= keep, cut
        assert cut.found == 3 or not cut.saved, cut


def test_every_file_is_synced_before_the_name_and_the_name_before_anything_goes(tmp_path):
    save(tmp_path, 1)
    recorder = Recorder(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "disk", recorder)
        save(tmp_path, 2, keep=1)
    kinds = [kind for kind, _, _ in recorder.calls]
    named = next(n for n, (_, _, to) in enumerate(recorder.calls) if to == "step-000002")
    written = {name for kind, name, _ in recorder.calls if kind == "create"}
    synced = {name for kind, name, _ in recorder.calls[:named] if kind == "sync"}
    assert len(written) == 4 and written < synced
    assert recorder.calls[named + 1] == ("sync", ".", "")
    assert kinds.index("unlink") > named + 1
