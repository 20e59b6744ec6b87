import pytest

from inat_ray.storage.disk import files_below, remove, replacing


def test_a_file_is_replaced_once_it_is_whole(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    with replacing(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_halfway_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(TypeError), replacing(path) as partial:
        partial.write_text("aft") + "er"
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path):
    kept = tmp_path / "kept"
    (kept / "deep").mkdir(parents=True)
    (kept / "deep" / "file").write_text("x")
    link = tmp_path / "link"
    link.symlink_to(kept)
    remove(link)
    assert not link.is_symlink()
    assert (kept / "deep" / "file").exists()
    remove(kept)
    assert not kept.exists()
    remove(kept)


def test_files_are_found_at_any_depth_and_links_are_not_followed(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("four")
    (tmp_path / "outside").write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside")
    sizes = {path: status.st_size for path, status in files_below(folder)}
    assert set(sizes) == {folder / "deep" / "file", folder / "link"}
    assert sizes[folder / "deep" / "file"] == 4
