import os

import pytest
from pydantic import BaseModel

from inat_ray.config.errors import RunFailedError, UserError, readable


class Two(BaseModel):
    number: int


def validate():
    Two.model_validate_json('{"number": "x"}')


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda: {}["a"], "a.json: cannot be read (KeyError: 'a'); make it again"),
        (b"\xff".decode, "a.json: cannot be read (UnicodeDecodeError: 'utf-8' codec"),
        (validate, "a.json: cannot be read (number: Input should be a valid integer"),
    ],
)
def test_whatever_a_reader_raises_is_told_with_what_was_read(read, told):
    with pytest.raises(UserError) as caught, readable("a.json", remedy="make it again"):
        read()
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("error", [UserError("said"), RunFailedError("said")])
def test_what_is_told_already_stays_as_it_is(error):
    with pytest.raises(type(error), match="said"), readable("a.json", remedy="make it again"):
        raise error


def test_a_pipe_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    told = pytest.raises(UserError, match="pipe: is no file; make it again")
    with told, readable(tmp_path / "pipe", remedy="make it again"):
        raise AssertionError("it was read")
