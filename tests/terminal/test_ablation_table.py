import io

from rich.console import Console

from inat_ray.terminal.ablation_table import ablation_table

ABLATION = {"none": [0.90, 0.94, 0.92], "head_only": [0.80, 0.82, 0.81], "freeze_fc": [0.99]}


def rows_of(table) -> list[list[str]]:
    console = Console(width=100, file=io.StringIO())
    console.print(table)
    lines = [line.split() for line in console.file.getvalue().splitlines() if line.strip()]
    return lines[3:]


def test_a_change_is_a_row_with_the_difference_that_it_makes_over_the_same_seeds(study, history_of):
    table = ablation_table(history_of(study(ABLATION, method="ablation")))
    assert rows_of(table) == [
        ["3", "92.0", "±", "2.0", "%", "2.00", "nothing"],
        ["3", "81.0", "±", "1.0", "%", "-11.0", "±", "0.6", "2.00", "freeze=head_only"],
        ["1", "99.0", "%", "+9.0", "2.00", "freeze=freeze_fc"],
    ]


def test_a_loss_differs_in_its_own_unit(study, history_of):
    records = study(ABLATION, method="ablation", metric="val_loss", goal="minimize")
    rows = {row[-1]: row for row in rows_of(ablation_table(history_of(records)))}
    assert rows["freeze=head_only"][4:7] == ["+0.1100", "±", "0.0058"]
