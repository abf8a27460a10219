"""A checkpoint that is written in place bears its name before it is complete.

Peers: lightning#688 and #20012, metaseq#53, speculators#739; the Hugging Face Trainer, where 12 of
52 resumes after `kill -9` needed a person to delete the newest directory; ezpz#196, VeOmni#1176
and #1181, where writing over an existing directory mixed the old and the new one.
"""

from tests.checkpoint.trial import every_cut, save

from chiasm.checkpoint.state import load_state


def test_no_cut_leaves_a_checkpoint_that_is_not_complete(tmp_path):
    save(tmp_path / "root", 1)
    for cut in every_cut(tmp_path / "root", lambda: save(tmp_path / "root", 2)):
        assert cut.damaged == 0 and cut.found in (1, 2), cut


def test_no_cut_in_writing_a_step_again_loses_or_mixes_it(tmp_path):
    root = tmp_path / "root"
    save(root, 1, shows=10, keep=1)
    for cut in every_cut(root, lambda: save(root, 1, shows=11, keep=1)):
        assert cut.found in (10, 11), cut


def test_writing_a_step_again_leaves_no_file_of_the_first_time(tmp_path):
    path = save(tmp_path, 1)
    (path / "old.safetensors").write_bytes(b"from the first time")
    save(tmp_path, 1)
    assert not (path / "old.safetensors").exists()
    assert set(load_state(path)[0]) == {"model", "random"}
