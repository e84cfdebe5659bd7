"""How a training run shows itself, on a terminal and in a pipe.

PYTHONPATH=. python -m pytest tests/cli/test_train_progress.py
"""

import io

from rich.console import Console

from onegen.cli.train_progress import TrainProgress

NUMBERS = {
    "loss": 0.5,
    "loss/text2image": 0.75,
    "loss/depth2image": 0.25,
    "samples_per_second": 12.0,
    "tokens_per_second": 3456.0,
    "mfu": 0.4,
    "eta_seconds": 65.0,
}


def test_a_pipe_gets_lines_and_nothing_else():
    output = io.StringIO()
    with TrainProgress(output) as progress:
        progress.note("going on from run/checkpoints/step-00000010")
        progress.step(11, 20)
        progress.numbers(12, 20, NUMBERS, "step 12/20, loss 0.5000")
    assert output.getvalue().splitlines() == ["going on from run/checkpoints/step-00000010", "step 12/20, loss 0.5000"]


def test_a_terminal_sees_losses_by_task_pace_and_what_is_left():
    progress = TrainProgress(io.StringIO())
    progress.numbers(12, 2000, NUMBERS, "")
    progress.numbers(12, 2000, {"validation/loss": 0.6, "validation/text2image": 0.9}, "")
    progress.step(13, 2000)
    shown = Console(file=io.StringIO(), width=120)
    shown.print(progress._table())
    text = shown.file.getvalue()
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["all"] == ["0.5000", "0.6000"]
    assert rows["text2image"] == ["0.7500", "0.9000"]
    assert rows["depth2image"] == ["0.2500"]
    assert "step 13/2,000" in text
    assert "12.0 samples/s, 3,456 tokens/s, MFU 40.0%, 1:05 left" in text
