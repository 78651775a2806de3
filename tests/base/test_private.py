"""What others may have laid in a shared temporary folder is not trusted."""

import os

import pytest

from sdd.base.private import open_regular, own_folder


def test_a_folder_is_made_for_its_user_alone(tmp_path):
    folder = own_folder(tmp_path / "mine")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_folder(folder) == folder


def test_a_folder_of_others_or_another_thing_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "file").write_text("")
    for name in ("open", "link", "file"):
        with pytest.raises(OSError, match=f"{name} is no.*set TMPDIR"):
            own_folder(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(OSError, match="theirs is not this user's alone"):
        own_folder(tmp_path / "theirs")


def test_a_link_or_a_pipe_is_not_opened(tmp_path):
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError):
            open_regular(tmp_path / name, os.O_RDWR | os.O_CREAT)
    assert target.read_text() == "precious"
    os.close(open_regular(tmp_path / "new", os.O_RDWR | os.O_CREAT))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
