from tests.docs.settings_page import PAGE, settings_page


def test_the_page_of_settings_is_what_the_schema_gives():
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run `make schema`"
