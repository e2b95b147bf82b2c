from reporting_factory import measured, over_ranks, record, scaling, sweep, troubled
from rich.console import Console

from tnbench.reporting.terminal import summary_table

TAIL = "cnn8/digits/finetune/single"


def shown(records, width=100):
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(summary_table(records))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def golden_records():
    records = []
    for seed, (dense, tt) in enumerate(((99.0, 97.0), (99.5, 97.5), (100.0, 99.5))):
        records.append(measured(f"dense/full/{TAIL}#{seed}", top1=dense))
        records.append(measured(f"tt/x4/{TAIL}#{seed}", top1=tt, compression=4, latency=0.5))
    for row in records:
        row.samples["forward_ms"] = [0.5 if row.case.startswith("dense") else 0.25] * 6
    records.append(record(f"tt/x1000000/{TAIL}#0", status="skipped", reason="no layer can be that small"))
    return records


GOLDEN = """\
cnn8 on digits, finetune
method  rank      compression  budget %       top-1 %  drop  MACs ÷  latency ms  train s  n  not ok
dense   full            1.00×         –  99.50 ± 1.24  0.00   1.00×       0.500    0.600  3
tt      x4              4.00×   -75.0 ≠  98.00 ± 3.29  1.50   3.03×       0.250    0.300  3
tt      x1000000            –         –             –     –       –           –        –  0       1

7 cases: 6 ok, 1 skipped
  skipped  tt/x1000000/cnn8/digits/finetune/single#0
  no layer can be that small"""


def test_the_summary_is_as_it_was():
    assert shown(golden_records()) == GOLDEN


def test_no_records():
    assert shown([]) == "no records yet"


def test_speedups_are_told_as_they_are():
    text = shown(scaling())
    assert "0.640×" in text
    assert "0.52" in text
    assert "resnet20  threads:2" in text
    assert "n = 1: the interval is within one launch" in text
    assert text.index("ddp:2") < text.index("Speed of a training step")


def over_two_ranks():
    tail = "resnet20/digits/finetune"
    one = over_ranks(f"dense/full/{tail}/threads:1#0", 100.0)
    return one, over_ranks(f"dense/full/{tail}/ddp:2#0", 80.0, processes=2)


def test_a_machine_that_others_used_is_told_beside_the_speedup():
    one, two = over_two_ranks()
    assert "*" not in shown([one, two], 120)
    two.metrics["core_share"] = 40.0
    text = shown([one, two], 120)
    assert "ddp:2 *" in text
    assert "* others used the machine meanwhile, so this says little" in text


def test_without_its_base_a_speedup_is_missed_and_not_left_out_silently():
    one, two = over_two_ranks()
    assert "no speedup without its base: run the same cases with threads:1" in shown([two], 120)
    assert "no speedup" not in shown([one, two], 120)


def test_brackets_in_cases_and_reasons_are_text():
    text = shown(troubled())
    assert "cp[iters=9,solver=als]/x4" in text
    assert "got [/red] & <b>bold</b>" in text
    assert "1 skipped, 1 failed, 1 timeout, 1 oom, 1 diverged, 1 crashed, 1 interrupted" in text


def test_equal_reasons_are_said_once():
    records = [record(f"tt/x3/{TAIL}#{seed}", status="failed", reason="broken") for seed in range(4)]
    text = shown(records)
    assert text.count("broken") == 1
    assert "#0 and 3 more" in text


def test_settings_stand_apart_and_the_titles_say_why():
    text = shown([*sweep(seeds=1, ranks=(2,)), *sweep(seeds=1, ranks=(2,), settings={"epochs": 5})])
    assert "cnn8 on digits, finetune (epochs=1)" in text
    assert "cnn8 on digits, finetune (epochs=5)" in text


def test_a_case_that_ended_early_stands_with_those_it_was_run_with():
    imported = {"baseline": {"digest": "c" * 64, "origin": "imported", "source": "r20.th"}}
    records = [
        measured(f"tt/x2/{TAIL}#0", top1=98.0, provenance=imported),
        record(f"tt/x4/{TAIL}#0", status="failed", reason="broken", identity={"baseline": "c" * 64}),
    ]
    assert shown(records).count("cnn8 on digits, finetune") == 1


def test_a_hundred_columns_are_enough():
    lines = shown([*sweep(), *scaling(), *troubled()]).splitlines()
    assert max(map(len, lines)) <= 100
    assert not any("…" in line for line in lines)
