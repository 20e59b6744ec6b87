import threading
from collections import Counter

import pytest
from PIL import Image

from inat_ray.config.errors import UserError
from inat_ray.config.experiment import DataConfig
from inat_ray.data import photographs
from inat_ray.data.photographs import decoded_batches, photographs_in

CONFIG = DataConfig(image_size=32)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 50), "green").save(path)
    return path


def test_folders_are_read_at_any_depth_and_each_file_counts_once(tmp_path):
    a, b = picture(tmp_path / "b" / "c" / "a.png"), picture(tmp_path / "b.JPG")
    picture(tmp_path / ".hidden" / "d.png")
    (tmp_path / "e.txt").write_text("")
    assert photographs_in([b, tmp_path]) == [b, a]


def test_what_is_passed_over_is_counted_and_said_where_there_is_nothing_else(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.psd").write_text("")
    counts = Counter()
    assert len(photographs_in([tmp_path], counts)) == 1
    assert counts == {".psd": 1}
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"no photographs found; ignored: 1 \.psd"):
        photographs_in([tmp_path])


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tmp_path):
    path = picture(tmp_path / "a.png").rename(tmp_path / "photograph")
    assert photographs_in([path]) == [path]
    [[photograph]] = decoded_batches([path], config=CONFIG, batch_size=4)
    assert photograph.pixels.shape == (40, 40, 3)


def test_links_to_folders_are_not_followed(tmp_path):
    picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "here" / "b").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="no photographs"):
        photographs_in([tmp_path / "here"])


def test_a_place_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither a file nor a folder"):
        photographs_in([tmp_path.__class__("/dev/null")])


def test_order_is_kept_and_what_is_gone_meanwhile_has_a_reason(tmp_path):
    paths = [picture(tmp_path / f"{n}.png") for n in range(7)]
    paths[3].unlink()
    batches = list(decoded_batches(paths, config=CONFIG, batch_size=3))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    found = [photograph for batch in batches for photograph in batch]
    assert [photograph.path for photograph in found] == paths
    assert [p.path for p in found if p.pixels is None] == [paths[3]]
    assert found[3].reason == "cannot be read: No such file or directory"


def test_no_more_than_two_batches_are_decoded_ahead(tmp_path, monkeypatch):
    """However many photographs a folder has, they are not in memory at once."""
    read, lock = [], threading.Lock()

    def decode(path, **_):
        with lock:
            read.append(path)
        return photographs.Photograph(path)

    monkeypatch.setattr(photographs, "_decode", decode)
    paths = [tmp_path / f"{n}.png" for n in range(1000)]
    for number, _ in enumerate(decoded_batches(paths, config=CONFIG, batch_size=10), start=1):
        assert len(read) <= 10 * (number + 1)
    assert len(read) == 1000
